//! Rooms of the RTC Engine: events sent to the server become sessions, stays and publish intervals.

use futures_util::future::join_all;
use protocol::{AppId, Apps, Event, Query, UnixMillis};
use trtc_callbacks::projections::changes;

use crate::permutations::{Told, cases, disorder, store_all};
use crate::process::done;
use crate::settle::{comes, whole};
use crate::support::{APP, Database, NOW, Server, eventually, on_both_stores};

/// An hour before the servers' present.
const T: i64 = NOW.0 - 3_600_000;

/// An event of group 1 or 2: the room as JSON, and the rest of `EventInfo`.
pub(crate) fn event(number: u16, room: &str, user: &str, at: i64, more: &str) -> String {
    let (group, time) = (number / 100, T + at);
    let user = if user.is_empty() { String::new() } else { format!(r#","UserId":"{user}""#) };
    format!(
        r#"{{"EventGroupId":{group},"EventType":{number},"CallbackTs":{},"EventInfo":{{"RoomId":{room},"EventTs":{},"EventMsTs":{time}{user}{more}}}}}"#,
        time + 90,
        time.div_euclid(1000)
    )
}

/// What a recorder says of itself.
fn recorder(room: &str, user: &str, at: i64) -> String {
    event(301, room, user, at, r#","TaskId":"task","Payload":{"Status":0}"#)
}

/// Two rooms that are used three times each, half an hour and more apart, and a third one without create and dismissal. A
/// dozen robots are in them.
fn bodies(number: u64) -> Vec<String> {
    let mut all = Vec::new();
    for life in 0..3 {
        let at = |ms: i64| life * 2_000_000 + ms;
        for room in [format!("{}", 7000 + number), format!("\"hall-{number}\"")] {
            all.push(event(101, &room, "ann", at(0), ""));
            all.push(event(103, &room, "ann", at(150), r#","Role":20,"Reason":1"#));
            all.push(event(203, &room, "ann", at(300), ""));
            all.push(event(205, &room, "ann", at(301), ""));
            for guest in 0..4 {
                let (user, from) = (format!("g{guest}"), at(2000 + guest * 100));
                all.push(event(103, &room, &user, from, r#","Role":21,"Reason":1"#));
                all.push(event(105, &room, &user, from + 5000, r#","Role":20"#));
                all.push(event(201, &room, &user, from + 5100, ""));
                all.push(event(104, &room, &user, from + 90_000, r#","Role":20,"Reason":2"#));
                all.push(event(103, &room, &user, from + 95_000, r#","Role":21,"Reason":3"#));
            }
            let robot = format!("robot-{life}-{}-{number}", room.trim_matches('"'));
            all.push(event(103, &room, &robot, at(3000), r#","Role":21,"Reason":1"#));
            all.push(recorder(&room, &robot, at(3500)));
            all.push(recorder(&room, &format!("second-{robot}"), at(3600)));
            all.push(event(206, &room, "ann", at(60_000), r#","Reason":0"#));
            all.push(event(104, &room, "ann", at(100_000), r#","Role":20,"Reason":1"#));
            let text = format!("\"{}\"", room.trim_matches('"'));
            all.push(event(102, &text, "", at(120_000), ""));
        }
    }
    all.push(event(201, "\"lost\"", "ann", 700, ""));
    all.push(event(103, "\"lost\"", "bob", 900, r#","Role":20,"Reason":1"#));
    all.push(event(104, "\"lost\"", "bob", 90_000, r#","Role":20,"Reason":1"#));
    all
}

/// The same decoded, from a time on.
pub(crate) fn events(number: u64, start: UnixMillis) -> Vec<Event> {
    let app = AppId::parse(APP).unwrap();
    let apps = Apps::new().with(app, Vec::new());
    let event = |body: String| {
        let mut body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let at = body["EventInfo"]["EventMsTs"].as_i64().unwrap() - T + start.0;
        body["EventInfo"]["EventMsTs"] = at.into();
        body["EventInfo"]["EventTs"] = at.div_euclid(1000).into();
        body["CallbackTs"] = (at + 90).into();
        let body = body.to_string();
        let verified = apps.verify_rtc(app, [], body.as_bytes(), Query::default()).unwrap();
        let event = Event::decode(&verified, body.as_bytes(), UnixMillis(at + 300));
        assert_eq!(event.decode_error, None, "{body}");
        event
    };
    bodies(number).into_iter().map(event).collect()
}

/// The same with what they change, sorted.
pub(crate) fn told(number: u64, start: UnixMillis) -> Vec<Told> {
    let of = |event: Event| {
        let changes = changes(&event);
        (event, changes)
    };
    let mut told: Vec<Told> = events(number, start).into_iter().map(of).collect();
    told.sort_by_key(|(event, _)| event.id);
    told
}

/// Every column of all that is settled.
pub(crate) async fn everything(database: &Database) -> Vec<String> {
    whole(database, &["rtc_room_sessions", "rtc_stays", "rtc_publish_intervals"]).await
}

/// The open anomalies, and those that are resolved.
fn anomalies(database: &Database) -> String {
    lines(database, "anomalies", "kind subject resolved_at", "kind, subject").replace(
        &after(database, "resolved_at"),
        "case when resolved_at is null then 'open' else 'resolved' end",
    )
}

fn another(database: &Database) -> impl Future<Output = Database> + use<> {
    let is_postgres = database.is_postgres();
    async move { if is_postgres { Database::postgres().await } else { Database::sqlite() } }
}

const QUEUED: &str = "select cast(count(*) as text) from rtc_settle_queue";

pub(crate) async fn post(server: &Server, bodies: &[String]) {
    for body in bodies {
        let request = server.client.post(&server.url).header("SdkAppId", APP).body(body.clone());
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

/// A time as ms after `T`, in SQL.
fn after(database: &Database, column: &str) -> String {
    let ms = if database.is_postgres() {
        format!("(extract(epoch from {column}) * 1000)::bigint")
    } else {
        column.to_owned()
    };
    format!("coalesce(cast({ms} - {T} as text), '-')")
}

/// Columns of a table, row by row: those of times as ms after `T`.
fn lines(database: &Database, table: &str, columns: &str, order: &str) -> String {
    let text = |column: &str| match column {
        _ if column.ends_with("_at") || column.starts_with("occupied") => after(database, column),
        _ if column.starts_with("is_") => format!("case when {column} then 'yes' else 'no' end"),
        _ => format!("coalesce(cast({column} as text), '-')"),
    };
    let columns: Vec<String> = columns.split(' ').map(text).collect();
    format!("select {} from {table} order by {order}", columns.join(" || ' ' || "))
}

pub(crate) fn sessions(database: &Database) -> String {
    let columns = "room_id room_id_kind state started_at created_at ended_at dismissed_at people people_inside robots \
                   occupied_from occupied_until";
    lines(database, "rtc_room_sessions", columns, "room_id, room_id_kind, session")
}

pub(crate) fn stays(database: &Database) -> String {
    let columns = "room_id account is_robot started_at ended_at presumed_end_at enter_reason exit_reason enters flags";
    lines(database, "rtc_stays", columns, "room_id, started_at, account")
}

pub(crate) fn intervals(database: &Database) -> String {
    let columns = "room_id account track started_at ended_at ended_by";
    lines(database, "rtc_publish_intervals", columns, "room_id, started_at, track")
}

/// A call of two, of whom one loses the connection and comes back.
fn crashed_call(room: &str) -> Vec<String> {
    vec![
        event(101, room, "ann", 0, ""),
        event(103, room, "ann", 200, r#","Role":20,"TerminalType":2,"UserType":3,"Reason":1"#),
        event(103, room, "bob", 3000, r#","Role":20,"TerminalType":3,"UserType":3,"Reason":1"#),
        event(203, room, "ann", 3100, ""),
        event(201, room, "bob", 3200, ""),
        event(104, room, "bob", 150_000, r#","Role":20,"Reason":2"#),
        event(103, room, "bob", 160_000, r#","Role":20,"TerminalType":3,"UserType":3,"Reason":3"#),
        event(104, room, "bob", 200_000, r#","Role":20,"Reason":1"#),
        event(104, room, "ann", 201_000, r#","Role":20,"Reason":1"#),
        event(102, &format!("\"{}\"", room.trim_matches('"')), "", 201_005, ""),
    ]
}

on_both_stores! {
    async fn a_call_with_a_crash_and_a_reconnect_is_one_session(database: Database) {
        let server = Server::start(&database).await;
        post(&server, &crashed_call("77")).await;
        comes(&database, &sessions(&database), &["77 numeric ended 0 0 201005 201005 2 0 0 200 201000"]).await;
        comes(&database, &stays(&database), &[
            "77 ann no 200 201000 - 1 1 1 []",
            "77 bob no 3000 150000 60000 1 2 1 []",
            "77 bob no 160000 200000 - 3 1 1 [\"reentry\"]",
        ]).await;
        comes(&database, &intervals(&database), &[
            "77 ann audio 3100 201000 exit",
            "77 bob camera 3200 150000 exit",
        ]).await;
        comes(&database, QUEUED, &["0"]).await;
        assert_eq!(database.count("select count(*) from anomalies").await, 0);
    }

    async fn a_robot_that_shows_later_leaves_the_head_count(database: Database) {
        let server = Server::start(&database).await;
        let room = "\"show\"";
        let mut bodies = vec![
            event(101, room, "rec", 0, ""),
            event(103, room, "rec", 10, r#","Role":21,"Reason":1"#),
            event(103, room, "host", 1000, r#","Role":20,"Reason":1"#),
            event(201, room, "host", 1100, ""),
        ];
        for viewer in 0..30 {
            bodies.push(event(103, room, &format!("v{viewer}"), 2000 + viewer, r#","Role":21,"Reason":1"#));
        }
        for viewer in 0..10 {
            bodies.push(event(104, room, &format!("v{viewer}"), 9000 + viewer, r#","Role":21,"Reason":1"#));
        }
        post(&server, &bodies).await;
        comes(&database, &sessions(&database), &["show string open 0 0 - - 32 22 0 10 -"]).await;
        comes(&database, QUEUED, &["0"]).await;
        post(&server, &[recorder(room, "rec", 4000)]).await;
        comes(&database, &sessions(&database), &["show string open 0 0 - - 31 21 1 1000 -"]).await;
        let robots = "select account from rtc_stays where is_robot";
        comes(&database, robots, &["rec"]).await;
        comes(&database, "select cast(count(*) as text) from rtc_robots where is_new", &["0"]).await;
        // Known from the first event on, in another room.
        post(&server, &[event(103, "5", "rec", 5000, r#","Role":21,"Reason":1"#)]).await;
        comes(&database, "select account from rtc_stays where is_robot order by room_id", &["rec", "rec"]).await;
    }

    async fn what_is_missing_is_listed_and_resolved_when_it_comes(database: Database) {
        let server = Server::start(&database).await;
        post(&server, &[
            event(101, "88", "ann", 0, ""),
            event(103, "88", "ann", 10, r#","Role":20,"Reason":1"#),
            event(104, "88", "ann", 60_000, r#","Role":20,"Reason":1"#),
            event(103, "\"90\"", "ann", 500, r#","Role":20,"Reason":1"#),
            event(203, "\"90\"", "ann", 600, ""),
            event(102, "\"90\"", "", 70_000, ""),
            event(101, "5", "ann", 100, ""),
            event(101, "\"5\"", "ann", 200, ""),
            event(102, "\"5\"", "", 300, ""),
        ]).await;
        // An hour ago nobody was inside any more.
        comes(&database, &sessions(&database), &[
            "5 numeric ended 100 100 100 - 0 0 0 - -",
            "5 string ended 200 200 200 - 0 0 0 - -",
            "88 numeric ended 0 0 60000 - 1 0 0 10 60000",
            "90 string ended 500 - 70000 70000 1 0 0 500 70000",
        ]).await;
        comes(&database, &anomalies(&database), &[
            "rtc_dismiss_unattached 5 open",
            "rtc_exits_missing 90 open",
            "rtc_room_without_create 90 open",
            "rtc_room_without_dismiss 5 open",
            "rtc_room_without_dismiss 5 open",
            "rtc_room_without_dismiss 88 open",
            "rtc_stops_missing 90 open",
        ]).await;
        post(&server, &[
            event(102, "\"88\"", "", 60_010, ""),
            event(101, "\"90\"", "ann", 0, ""),
            event(104, "\"90\"", "ann", 69_000, r#","Role":20,"Reason":1"#),
            event(102, "5", "", 250, ""),
        ]).await;
        comes(&database, &sessions(&database), &[
            "5 numeric ended 100 100 250 250 0 0 0 - -",
            "5 string ended 200 200 300 300 0 0 0 - -",
            "88 numeric ended 0 0 60010 60010 1 0 0 10 60000",
            "90 string ended 0 0 70000 70000 1 0 0 500 69000",
        ]).await;
        comes(&database, "select cast(count(*) as text) from anomalies where resolved_at is null", &["0"]).await;
    }

    async fn a_session_that_is_overdue_is_closed_by_the_clock(database: Database) {
        let server = Server::start(&database).await;
        let now = NOW.0 - T;
        post(&server, &[
            event(101, "9", "ann", now - 60_000, ""),
            event(103, "9", "ann", now - 50_000, r#","Role":20,"Reason":1"#),
            event(104, "9", "ann", now - 40_000, r#","Role":20,"Reason":1"#),
            event(101, "10", "ann", now - 60_000, ""),
            event(103, "10", "ann", now - 50_000, r#","Role":20,"Reason":1"#),
        ]).await;
        let states = "select room_id || ' ' || state from rtc_room_sessions order by room_id";
        comes(&database, states, &["10 open", "9 open"]).await;
        comes(&database, QUEUED, &["0"]).await;
        server.clock.set(UnixMillis(NOW.0 + 16 * 60_000));
        comes(&database, states, &["10 open", "9 ended"]).await;
        comes(&database, &anomalies(&database), &["rtc_room_without_dismiss 9 open"]).await;
    }

    async fn rooms_are_settled_alike_in_any_order_and_with_repeats(database: Database) {
        let bodies = bodies(1);
        let server = Server::start(&database).await;
        post(&server, &bodies).await;
        let ended = "select cast(count(*) as text) from rtc_room_sessions where state = 'ended'";
        comes(&database, ended, &["6"]).await;
        comes(&database, QUEUED, &["0"]).await;
        let robots = "select cast(count(*) as text) from rtc_room_sessions where robots = 1";
        comes(&database, robots, &["6"]).await;
        let expected = everything(&database).await;
        assert!(expected.len() > 50, "{expected:#?}");
        let shuffled = (0..cases(3)).map(async |seed| {
            let database = another(&database).await;
            let server = Server::start(&database).await;
            let mut parts = disorder(bodies.len(), seed.into());
            let rest = parts.split_off(parts.len() / 2);
            let of = |parts: &[Vec<usize>]| -> Vec<String> {
                parts.iter().flatten().map(|place| bodies[*place].clone()).collect()
            };
            post(&server, &of(&parts)).await;
            eventually("a part is settled", async || !everything(&database).await.is_empty()).await;
            post(&server, &of(&rest)).await;
            comes(&database, QUEUED, &["0"]).await;
            assert_eq!(everything(&database).await, expected, "seed {seed}");
        });
        join_all(shuffled).await;
    }

    async fn a_room_with_too_many_events_is_cut_and_goes_on(database: Database) {
        let server = Server::start(&database).await;
        let marks = |room: &str, many: i64| {
            let (at, id) = if database.is_postgres() {
                (format!("timestamptz 'epoch' + ({T} + n) * interval '1 millisecond'"), "md5('role' || n)::uuid".to_owned())
            } else {
                (format!("{T} + n"), "printf('%08x-0000-0000-0000-000000000001', n)".to_owned())
            };
            format!(
                "insert into rtc_room_marks (sdk_app_id, room_id, at, event_id, room_id_kind, kind, precision, account, role)
                 with recursive numbers (n) as (select 0 union all select n + 1 from numbers where n < {many} - 1)
                 select {APP}, '{room}', {at}, {id}, 'string', 'role', 'millis', 'ann', 20 from numbers"
            )
        };
        database.execute(&marks("large", 9000)).await;
        database.execute(&marks("huge", 100_100)).await;
        let mut all = Vec::new();
        for room in ["\"large\"", "\"huge\""] {
            all.push(event(104, room, "ann", 200_000, r#","Role":20,"Reason":1"#));
            all.push(event(101, room, "bob", 3_000_000, ""));
            all.push(event(102, room, "", 3_000_100, ""));
            // As late as the first of them.
            all.push(event(103, room, "eve", -1, r#","Role":20,"Reason":1"#));
        }
        post(&server, &all).await;
        let found = lines(&database, "rtc_room_sessions", "room_id started_at ended_at people is_cut", "room_id, session");
        comes(&database, &found, &[
            "huge -1 99998 2 yes",
            "huge 3000000 3000100 0 no",
            "large -1 200000 2 no",
            "large 3000000 3000100 0 no",
        ]).await;
        let exits = "select room_id || ' ' || case when ended_at is null then 'open' else 'ended' end from rtc_stays where account = 'ann' order by 1";
        comes(&database, exits, &["huge ended", "large ended"]).await;
    }

    async fn an_erased_account_is_in_no_room(database: Database) {
        let server = Server::start(&database).await;
        post(&server, &crashed_call("77")).await;
        post(&server, &[recorder("77", "bob", 4000), event(101, "\"bob\"", "ann", 0, "")]).await;
        comes(&database, QUEUED, &["0"]).await;
        let repaired = if database.is_postgres() { "timestamptz 'epoch'" } else { "0" };
        database.execute(&format!(
            "insert into rtc_repaired_marks (sdk_app_id, room_id, at, mark_id, room_id_kind, kind, account, repaired_at)
             values ({APP}, 'x', {repaired}, '00000000-0000-0000-0000-000000000001', 'string', 'enter', 'bob', {repaired})"
        )).await;
        server.stop().await;
        let folder = tempfile::tempdir().unwrap();
        done(folder.path(), &["erase-user", "bob", "--yes", "--pseudonym", "gone", "--store", &database.url]);
        for (table, rows) in [
            ("rtc_room_marks", 5), ("rtc_robots", 1), ("rtc_stays", 2), ("rtc_publish_intervals", 1), ("rtc_repaired_marks", 1),
        ] {
            let of = |account: &str| format!("select count(*) from {table} where account = '{account}'");
            assert_eq!(database.count(&of("bob")).await, 0, "{table}");
            assert_eq!(database.count(&of("gone")).await, rows, "{table}");
        }
        // The room of that name is settled anew under its other one.
        let server = Server::start(&database).await;
        let rooms = "select distinct room_id from rtc_room_sessions order by room_id";
        comes(&database, rooms, &["77", "gone", "x"]).await;
        comes(&database, QUEUED, &["0"]).await;
        comes(&database, "select cast(count(*) as text) from rtc_stays where is_robot and account = 'gone'", &["3"]).await;
        server.stop().await;
    }

    async fn rooms_expire_with_their_sessions(database: Database) {
        let told = told(1, UnixMillis(T));
        store_all(&database, &told, &[(0..told.len()).collect()]).await;
        let folder = tempfile::tempdir().unwrap();
        done(folder.path(), &["rebuild", "--store", &database.url]);
        let count = async |table: &str| database.count(&format!("select count(*) from {table}")).await;
        let marks = count("rtc_room_marks").await;
        let tables = ["rtc_room_sessions", "rtc_stays", "rtc_publish_intervals"];
        let robots = count("rtc_robots").await;
        let before: Vec<i64> = join_all(tables.map(&count)).await;
        let store = database.store().await;
        // Within the first life of both rooms: it goes on.
        while store.delete_expired(UnixMillis(T + 60_000), 20).await.unwrap() > 0 {}
        assert_eq!(count("rtc_room_marks").await, marks);
        assert_eq!(join_all(tables.map(&count)).await, before);
        while store.delete_expired(UnixMillis(T + 1_000_000), 20).await.unwrap() > 0 {}
        let left: Vec<i64> = join_all(tables.map(&count)).await;
        assert_eq!(left[0], 4);
        assert!(left.iter().zip(&before).all(|(left, before)| left < before), "{before:?} {left:?}");
        // Robots are known as long as marks of theirs.
        assert_eq!((robots, count("rtc_robots").await), (12, 8));
        let first = "select cast(min(session) as text) from rtc_stays";
        assert_eq!(database.texts(first).await, [(T + 2_000_000).to_string()]);
        let right = everything(&database).await;
        if database.is_postgres() {
            // There, events expire with the partition of their month.
            let expired = T + 1_000_000;
            let sql = format!("delete from events where event_time < to_timestamp({expired} / 1000.0)");
            database.execute(&sql).await;
        }
        done(folder.path(), &["rebuild", "--store", &database.url]);
        assert_eq!(everything(&database).await, right);
        store.close().await;
    }
}
