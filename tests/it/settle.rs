//! Room sessions and live sessions, which are computed from what events say of them, and the gaps that are found.

use std::time::{Duration, Instant};

use protocol::UnixMillis;

use crate::support::{APP, Database, NOW, Server, eventually, on_both_stores, settings};

/// An hour before the servers' present.
const T: i64 = NOW.0 - 3_600_000;

type Event = (&'static str, String);

pub(crate) fn create(room: &str, at: i64) -> Event {
    let (command, time) = ("Room.CallbackAfterCreateRoom", T + at);
    let body = format!(
        r#"{{"CallbackCommand":"{command}","Operator_Account":"ann","RoomInfo":{{"RoomId":"{room}","RoomName":"Team","RoomType":"Meeting","Owner_Account":"ann","MaxMemberCount":300,"CreateTime":{}}},"EventTime":{time}}}"#,
        time / 1000
    );
    (command, body)
}

pub(crate) fn destroy(room: &str, at: i64) -> Event {
    let (command, time) = ("Room.CallbackAfterDestroyRoom", T + at);
    let body = format!(
        r#"{{"CallbackCommand":"{command}","Operator_Account":"bob","RoomId":"{room}","EventTime":{time}}}"#
    );
    (command, body)
}

fn moves(command: &'static str, kind: &str, room: &str, accounts: &str, at: i64) -> Event {
    let body = format!(
        r#"{{"CallbackCommand":"{command}","Operator_Account":"x","RoomId":"{room}","Type":"{kind}","MemberList_Account":["{}"],"EventTime":{}}}"#,
        accounts.split(' ').collect::<Vec<_>>().join(r#"",""#),
        T + at
    );
    (command, body)
}

pub(crate) fn enter(room: &str, accounts: &str, at: i64) -> Event {
    moves("Room.CallbackAfterMemberEnter", "Enter", room, accounts, at)
}

fn leave(room: &str, accounts: &str, at: i64) -> Event {
    moves("Room.CallbackAfterMemberLeave", "Leave", room, accounts, at)
}

pub(crate) async fn post(server: &Server, events: &[Event]) {
    for (command, body) in events {
        server.post_body(command, body.clone()).await;
    }
}

/// Waits until the query gives these texts.
pub(crate) async fn comes(database: &Database, sql: &str, expected: &[&str]) {
    let mut last = Vec::new();
    for _ in 0..600 {
        last = database.texts(sql).await;
        if last == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{sql}\nexpected {expected:#?}\nand found {last:#?}");
}

/// A time as s after `T`, in SQL.
fn after(database: &Database, column: &str) -> String {
    let ms = if database.is_postgres() {
        format!("(extract(epoch from {column}) * 1000)::bigint")
    } else {
        column.to_owned()
    };
    format!("coalesce(cast(({ms} - {T}) / 1000 as text), '-')")
}

/// The sessions of all rooms, each on a line: room, state, created, destroyed and ended in s after `T`, and its figures.
fn sessions(database: &Database) -> String {
    let at = |column| after(database, column);
    format!(
        "select room_id || ' ' || state || ' ' || {} || ' ' || {} || ' ' || {} || ' | ' || members || ' ' || members_peak || ' ' ||
             visitors || ' ' || entries || ' ' || leaves_missing || ' ' || enters_missing
         from room_sessions order by room_id, session",
        at("created_at"),
        at("destroyed_at"),
        at("ended_at")
    )
}

/// Every column of room sessions and live sessions, row by row.
pub(crate) async fn everything(database: &Database) -> Vec<String> {
    whole(database, &["room_sessions", "live_sessions"]).await
}

/// Every column of tables of sessions, row by row.
pub(crate) async fn whole(database: &Database, tables: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for table in tables {
        let sql = if database.is_postgres() {
            format!(
                "select row_to_json(t)::text from {table} t order by sdk_app_id, room_id collate \"C\", session, 1"
            )
        } else {
            let columns =
                database.texts(&format!("select name from pragma_table_info('{table}')")).await;
            let columns: Vec<String> =
                columns.iter().map(|name| format!("coalesce(cast({name} as text), '-')")).collect();
            format!(
                "select {} from {table} order by sdk_app_id, room_id, session, 1",
                columns.join(" || ' ' || ")
            )
        };
        all.extend(database.texts(&sql).await);
    }
    all
}

fn create_live(room: &str) -> Event {
    let command = "Live.CallbackAfterCreateRoom";
    let body = format!(
        r#"{{"CallbackCommand":"{command}","Operator_Account":"ann","RoomInfo":{{"RoomId":"{room}","RoomName":"Jazz","Owner_Account":"ann","RoomType":"Live"}},"EventTime":{T}}}"#
    );
    (command, body)
}

/// SQL that puts so many gifts of three coins into the room, two in each second after `T`, by 70 senders in turn.
fn gifts(database: &Database, room: &str, count: u32) -> String {
    let last = count - 1;
    let (numbers, at, id, receivers) = if database.is_postgres() {
        let numbers = format!("generate_series(0, {last}) as n(n)");
        let at = format!("timestamptz 'epoch' + ({T} + n / 2 * 1000) * interval '1 millisecond'");
        (numbers, at, "gen_random_uuid()", "'[\"ann\"]'::json")
    } else {
        let numbers = format!(
            "(with recursive c(n) as (select 0 union all select n + 1 from c where n < {last}) select n from c)"
        );
        (numbers, format!("{T} + n / 2 * 1000"), "printf('%036d', n)", "'[\"ann\"]'")
    };
    format!(
        "insert into gifts (sdk_app_id, room_id, at, event_id, sender, receivers, gift_id, count, coins)
         select {APP}, '{room}', {at}, {id}, 'user-' || (n % 70), {receivers}, 'rose', 1, 3 from {numbers}"
    )
}

/// Gaps as they are listed, each with whether it still is so.
const GAPS: &str =
    "select kind || ' ' || subject || case when resolved_at is null then '' else ' resolved' end
     from anomalies order by kind, subject";

on_both_stores! {
    async fn a_room_is_settled_within_seconds(database: Database) {
        let server = Server::start(&database).await;
        post(&server, &[create("r", 0), enter("r", "ann bob cai", 10_000), leave("r", "bob", 20_000)]).await;
        comes(&database, &sessions(&database), &["r open 0 - - | 2 3 3 3 0 0"]).await;
        post(&server, &[enter("r", "bob", 30_000), leave("r", "ann bob", 40_000), destroy("r", 50_000)]).await;
        comes(&database, &sessions(&database), &["r ended 0 50 50 | 0 3 3 4 1 0"]).await;
        let rest = "select family || ' ' || name || ' ' || owner || ' ' || created_by || ' ' || destroyed_by || ' ' || max_members from room_sessions";
        comes(&database, rest, &["room Team ann ann bob 300"]).await;
        let curve: Vec<(i64, i64)> = serde_json::from_str(&database.texts("select cast(occupancy as text) from room_sessions").await[0]).unwrap();
        let expected = [(10, 3), (20, 2), (30, 3), (40, 1), (50, 0)].map(|(at, members)| (T + at * 1000, members));
        assert_eq!(curve, expected);
    }

    async fn rooms_settled_together_equal_rooms_settled_alone(database: Database) {
        let server = Server::start(&database).await;
        for number in 0..40 {
            let room = format!("r{number:02}");
            post(&server, &[create(&room, number), enter(&room, "ann bob", 10_000), leave(&room, "ann", 20_000)]).await;
        }
        // More than a room's share of what is read at once: of who came, in one moment and in others, of changes and of gifts.
        post(&server, &[create("hot", 0)]).await;
        for (number, at) in [30_000, 30_000, 30_000, 30_000, 30_000, 30_000, 30_000, 31_000, 32_000].into_iter().enumerate() {
            let accounts: Vec<String> = (0..100).map(|account| format!("a{number}{account:02}")).collect();
            post(&server, &[enter("hot", &accounts.join(" "), at)]).await;
        }
        for number in 1..=40 {
            let (command, time) = ("Room.CallbackAfterUpdateRoomInfo", T + number * 1000);
            let body = format!(
                r#"{{"CallbackCommand":"{command}","Operator_Account":"ann","RoomInfo":{{"RoomId":"hot","RoomName":"name {number}"}},"EventTime":{time}}}"#
            );
            post(&server, &[(command, body)]).await;
        }
        database.execute(&gifts(&database, "show", 700)).await;
        post(&server, &[create_live("show")]).await;
        let mut expected = vec!["hot open 0 - - | 900 900 900 900 0 0".to_owned()];
        expected.extend((0..40).map(|number| format!("r{number:02} open 0 - - | 1 2 2 2 0 0")));
        expected.push("show open 0 - - | 0 0 0 0 0 0".to_owned());
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        comes(&database, &sessions(&database), &expected).await;
        let figures = "select gifts || ' ' || gift_coins || ' ' || gift_senders from live_sessions";
        comes(&database, figures, &["700 2100 70"]).await;
        comes(&database, "select name from room_sessions where room_id = 'hot'", &["name 40"]).await;
        // One that is settling a room would take what is queued for its own.
        server.stop().await;
        let each = everything(&database).await;
        let queue = format!(
            "begin; delete from room_sessions;
             insert into settle_queue (sdk_app_id, room_id, day, slot) select distinct sdk_app_id, room_id, {}, 0 from room_changes;
             commit",
            T / 86_400_000
        );
        database.execute(&queue).await;
        let _server = Server::start(&database).await;
        eventually("all rooms are settled again", || async { everything(&database).await == each }).await;
    }

    async fn a_refused_room_does_not_block_its_batch(database: Database) {
        let server = Server::start(&database).await;
        database.execute(if database.is_postgres() {
            "alter table room_sessions add constraint poison check (room_id <> 'm')"
        } else {
            "create trigger poison before insert on room_sessions when new.room_id = 'm' begin select raise(abort, 'no'); end"
        }).await;
        post(&server, &["a", "m", "z"].map(|room| create(room, 0))).await;
        comes(&database, &sessions(&database), &["a open 0 - - | 0 0 0 0 0 0", "z open 0 - - | 0 0 0 0 0 0"]).await;
    }

    async fn a_late_create_adopts_events_without_a_session(database: Database) {
        let server = Server::start(&database).await;
        post(&server, &[enter("r", "ann", 10_000), destroy("r", 50_000)]).await;
        comes(&database, &sessions(&database), &["r ended - 50 50 | 0 1 1 1 1 0"]).await;
        comes(&database, GAPS, &["leaves_missing r", "room_without_create r"]).await;
        post(&server, &[create("r", 0)]).await;
        // What came before any create is of no session any more.
        comes(&database, &sessions(&database), &["r ended 0 50 50 | 0 1 1 1 1 0"]).await;
        let gaps = "select kind || ' ' || case when resolved_at is null then session - {T} else -1 end from anomalies order by 1";
        let gaps = gaps.replace("{T}", &T.to_string());
        comes(&database, &gaps, &["leaves_missing -1", "leaves_missing 0", "room_without_create -1"]).await;
    }

    async fn a_room_id_that_is_used_again_has_a_session_each_time(database: Database) {
        let server = Server::start(&database).await;
        post(&server, &[
            destroy("r", 1_000_000), enter("r", "bob", 910_000), create("r", 900_000),
            create("r", 0), enter("r", "ann", 10_000), destroy("r", 50_000), leave("r", "ann", 55_000),
        ]).await;
        comes(&database, &sessions(&database), &[
            "r ended 0 50 50 | 0 1 1 1 0 0",
            "r ended 900 1000 1000 | 0 1 1 1 1 0",
        ]).await;
        // One between them, whose create and destroy come a day too late.
        post(&server, &[destroy("r", 600_000), create("r", 500_000)]).await;
        comes(&database, &sessions(&database), &[
            "r ended 0 50 50 | 0 1 1 1 0 0",
            "r ended 500 600 600 | 0 0 0 0 0 0",
            "r ended 900 1000 1000 | 0 1 1 1 1 0",
        ]).await;
    }

    async fn incomplete_rooms_give_consistent_sessions(database: Database) {
        let server = Server::start(&database).await;
        post(&server, &[
            leave("leave", "ann", 10_000),
            destroy("destroyed", 20_000),
            create("twice", 0), destroy("twice", 20_000), destroy("twice", 30_000),
            create("replaced", 0), enter("replaced", "ann", 10_000), create("replaced", 500_000),
        ]).await;
        comes(&database, &sessions(&database), &[
            "destroyed ended - 20 20 | 0 0 0 0 0 0",
            "leave open - - - | 0 0 1 0 0 1",
            "replaced ended 0 - 10 | 0 1 1 1 1 0",
            "replaced open 500 - - | 0 0 0 0 0 0",
            "twice ended 0 20 20 | 0 0 0 0 0 0",
        ]).await;
        comes(&database, GAPS, &[
            "enters_missing leave", "leaves_missing replaced", "room_without_create destroyed",
            "room_without_create leave", "room_without_destroy replaced",
        ]).await;
        assert_eq!(database.texts("select cast(count(*) as text) from room_sessions where inferred").await, ["1"]);
    }

    async fn a_live_room_has_its_gifts_admins_and_metadata(database: Database) {
        let server = Server::start(&database).await;
        let live = |command: &'static str, at: i64, rest: &str| {
            (command, format!(r#"{{"CallbackCommand":"{command}","Operator_Account":"ann","RoomId":"l","EventTime":{},{rest}}}"#, T + at))
        };
        let gift = |sender: &str, at: i64, count: i64, coins: i64| {
            let command = "Live.CallbackBeforeSendGift";
            (command, format!(
                r#"{{"CallbackCommand":"{command}","RoomId":"l","GiftWater":{{"From_Account":"{sender}","To_Account":["ann"],"Time":{},"GiftId":"rose","Count":{count},"Coins":{coins}}}}}"#,
                (T + at) / 1000
            ))
        };
        let create = ("Live.CallbackAfterCreateRoom", format!(
            r#"{{"CallbackCommand":"Live.CallbackAfterCreateRoom","Operator_Account":"ann","RoomInfo":{{"RoomId":"l","RoomName":"Jazz","Owner_Account":"ann","RoomType":"Live"}},"EventTime":{T}}}"#
        ));
        post(&server, &[
            create,
            live("Live.CallbackAfterMemberStateChanged", 5000, r#""EventType":"Online","EventCause":"Enter","MemberList":[{"Member_Account":"bob"},{"Member_Account":"cai"}]"#),
            gift("bob", 10_000, 3, 10), gift("cai", 11_000, 1, 99), gift("bob", 12_000, 3, 10),
            live("Live.CallbackAfterDestroyRoom", 60_000, r#""EventType":"DestroyByUser","RoomInfo":{"RoomName":"Jazz"},"Statistic":{"TotalViewers":7,"TotalGiftsSent":8,"TotalGiftCoins":200,"TotalUniqueGiftSenders":2,"TotalLikesReceived":5}"#),
        ]).await;
        comes(&database, "select family || ' ' || state || ' ' || members_peak from room_sessions", &["live ended 2"]).await;
        let figures = "select gifts || ' ' || gift_coins || ' ' || gift_senders || ' ' || total_viewers || ' ' || total_likes || ' ' || cast(top_senders as text) from live_sessions";
        comes(&database, figures, &[
            r#"7 159 2 7 5 [{"account":"cai","gifts":1,"coins":99},{"account":"bob","gifts":6,"coins":60}]"#,
        ]).await;
    }

    async fn rooms_and_sessions_are_independent_of_event_order(database: Database) {
        use protocol::AppId;
        use protocol::simulate::{Generator, Kind, Options};
        let other = if database.is_postgres() { Database::postgres().await } else { Database::sqlite() };
        let (one, two) = tokio::join!(Server::start(&database), Server::start(&other));
        let start = UnixMillis(T);
        let app = AppId::parse(APP).unwrap();
        let mut generator = Generator::new(11, app, start, Options::tiny());
        let mut deliveries = Vec::new();
        for kind in [Kind::Conference, Kind::Show, Kind::Show, Kind::Conference] {
            let start = generator.next_start();
            deliveries.extend(generator.scenario(kind, start).deliveries);
        }
        for delivery in &deliveries {
            one.post(&delivery.delivery(app)).await;
        }
        // Backwards, and each third one twice.
        for (place, delivery) in deliveries.iter().enumerate().rev() {
            for _ in 0..=usize::from(place % 3 == 0 && !delivery.command.contains("Before")) {
                two.post(&delivery.delivery(app)).await;
            }
        }
        for database in [&database, &other] {
            comes(database, "select cast(count(*) as text) from settle_queue", &["0"]).await;
        }
        let settled = everything(&database).await;
        assert!(settled.len() >= 5, "{settled:#?}");
        assert_eq!(settled, everything(&other).await);
    }

    async fn a_room_with_100_000_members_delays_no_event(database: Database) {
        let server = Server::start(&database).await;
        post(&server, &[create("hot", 0)]).await;
        let (numbers, at, id) = if database.is_postgres() {
            ("generate_series(0, 99999) as n(n)".to_owned(), format!("timestamptz 'epoch' + ({T} + n * 10) * interval '1 millisecond'"), "gen_random_uuid()")
        } else {
            ("(with recursive c(n) as (select 0 union all select n + 1 from c where n < 99999) select n from c)".to_owned(), format!("{T} + n * 10"), "printf('%036d', n)")
        };
        let marks = format!(
            "insert into room_marks (sdk_app_id, room_id, account, at, event_id, family, enters)
             select {APP}, 'hot', 'user-' || n, {at}, {id}, 'room', {} from {numbers}",
            if database.is_postgres() { "true" } else { "1" }
        );
        database.execute(&marks).await;
        let waiting = Instant::now();
        let mut slowest = Duration::ZERO;
        let settled = "select count(*) from room_sessions where room_id = 'hot' and members = 100000";
        let mut posted = 0;
        while database.count(settled).await == 0 {
            let begun = Instant::now();
            post(&server, &[enter("hot", "user-0", 2_000_000 + posted)]).await;
            slowest = slowest.max(begun.elapsed());
            posted += 1;
            assert!(waiting.elapsed() < Duration::from_mins(5), "not settled in five minutes");
        }
        assert!(slowest < Duration::from_secs(3), "an event waited for {slowest:?}");
        let points = database.texts("select cast(occupancy as text) from room_sessions").await;
        let points: Vec<(i64, i64)> = serde_json::from_str(&points[0]).unwrap();
        assert!((100..=240).contains(&points.len()), "{} points", points.len());
    }

    async fn a_call_without_an_end_is_overdue_until_its_next_event(database: Database) {
        let server = Server::start(&database).await;
        let call = |command: &'static str, at: i64, rest: &str| (command, format!(
            r#"{{"CallbackCommand":"{command}","EventTime":{},{rest}}}"#, T + at
        ));
        let start = |id: &str, at: i64| call("Call.CallbackAfterStartCall", at, &format!(
            r#""CallInfo":{{"CallId":"{id}","CallMediaType":"Video"}},"UserList":[{{"User_Account":"ann","Status":"Calling"}},{{"User_Account":"bob","Status":"Waiting"}}]"#
        ));
        let accept = |id: &str, at: i64| call("Call.CallbackAfterMemberChanged", at, &format!(
            r#""CallId":"{id}","UserList":[{{"User_Account":"ann","Status":"Calling"}},{{"User_Account":"bob","Status":"Calling"}}],"ChangedUserList":[{{"User_Account":"bob","ActionType":"Accept"}}]"#
        ));
        let end = |id: &str, at: i64| call("Call.CallbackAfterEndCall", at, &format!(
            r#""CallRecord":{{"CallId":"{id}","Caller_Account":"ann","MediaType":"Video","CallType":"SingleCall","StartTime":{0},"AcceptTime":{0},"EndTime":{0},"CallResult":"NormalEnd","CalleeList_Account":["bob"]}}"#, (T + at) / 1000
        ));
        // An hour ago: the one rings for ever, the other was taken.
        post(&server, &[start("rings", 0), start("talks", 0), accept("talks", 5000), accept("startless", 5000)]).await;
        let calls = "select call_id || ' ' || state || case when inferred then ' inferred' else '' end from calls order by 1";
        comes(&database, calls, &["rings overdue inferred", "startless active", "talks active"]).await;
        comes(&database, GAPS, &["call_without_end rings", "call_without_start startless"]).await;
        server.shows("trtc_anomalies_found_total{kind=\"call_without_end\"}", 1).await;
        // It was taken, and seven hours later nothing was heard of either.
        post(&server, &[accept("rings", 9000)]).await;
        comes(&database, calls, &["rings active", "startless active", "talks active"]).await;
        comes(&database, GAPS, &["call_without_end rings resolved", "call_without_start startless"]).await;
        server.clock.set(UnixMillis(T + 7 * 3_600_000));
        comes(&database, calls, &["rings overdue inferred", "startless overdue inferred", "talks overdue inferred"]).await;
        post(&server, &[end("talks", 20_000), end("rings", 20_000), start("startless", 0)]).await;
        comes(&database, GAPS, &[
            "call_without_end rings resolved", "call_without_end startless", "call_without_end talks resolved",
            "call_without_start startless resolved",
        ]).await;
        comes(&database, calls, &["rings ended", "startless overdue inferred", "talks ended"]).await;
        server.shows("trtc_anomalies{kind=\"call_without_end\"}", 1).await;
    }

    async fn a_silent_room_is_overdue_until_its_next_event(database: Database) {
        let server = Server::start(&database).await;
        post(&server, &[create("r", 0), enter("r", "ann bob", 10_000)]).await;
        comes(&database, &sessions(&database), &["r open 0 - - | 2 2 2 2 0 0"]).await;
        server.clock.set(UnixMillis(T + 30 * 3_600_000));
        comes(&database, &sessions(&database), &["r overdue 0 - 10 | 0 2 2 2 2 0"]).await;
        comes(&database, GAPS, &["leaves_missing r", "room_without_destroy r"]).await;
        post(&server, &[leave("r", "ann", 29 * 3_600_000)]).await;
        comes(&database, &sessions(&database), &["r open 0 - - | 1 2 2 2 0 0"]).await;
        comes(&database, GAPS, &["leaves_missing r resolved", "room_without_destroy r resolved"]).await;
    }

    async fn an_app_that_falls_silent_is_an_anomaly(database: Database) {
        let store = database.store().await;
        store.migrate().await.unwrap();
        store.close().await;
        let time = |at: i64| if database.is_postgres() { format!("timestamptz 'epoch' + {at} * interval '1 millisecond'") } else { at.to_string() };
        let count = |width: i64, at: i64, events: i64| format!(
            "insert into summed_event_counts values ({APP}, {width}, {}, 'c', '', 'call', {events}, 0, 0);", time(at)
        );
        // 120 in each hour of the last days, and nothing for half an hour.
        let hours = (1..=8 * 24).map(|hours| count(3600, NOW.0 - hours * 3_600_000, 120));
        let minutes = [30, 31, 49 * 60, 50 * 60].map(|minutes| count(60, NOW.0 - minutes * 60_000, 2));
        database.execute(&hours.chain(minutes).collect::<String>()).await;
        let server = Server::start(&database).await;
        comes(&database, GAPS, &["silence all"]).await;
        let detail = "no callback came for 29 minutes, in which 58 are usual at this time, by the median of the last 7 days";
        comes(&database, "select detail from anomalies", &[detail]).await;
        let series = format!("trtc_silence_seconds{{app=\"{APP}\"}}");
        assert_eq!(server.figures().await.value(&series), 29 * 60);
        // Minutes are kept for two days, hours for good.
        comes(&database, "select cast(count(*) as text) from event_counts where width_s = 60", &["2"]).await;
        assert_eq!(database.count("select count(*) from event_counts where width_s = 3600").await, 8 * 24);
        post(&server, &[create("r", 3_540_000)]).await;
        comes(&database, GAPS, &["silence all resolved"]).await;
    }

    async fn with_every_rule_off_nothing_is_overdue(database: Database) {
        let off = ["CALL_RINGING_OVERDUE_S", "CALL_ACTIVE_OVERDUE_S", "ROOM_IDLE_OVERDUE_S", "SILENCE_AFTER_S"];
        let off = off.map(|key| (format!("TRTC_GAPS__{key}"), "0".to_owned()));
        let off: Vec<(&str, &str)> = off.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let server = Server::start_with(settings(&database, &off)).await;
        server.clock.set(UnixMillis(T + 49 * 3_600_000));
        let ring = format!(
            r#"{{"CallbackCommand":"Call.CallbackAfterStartCall","EventTime":{T},"CallInfo":{{"CallId":"c","CallMediaType":"Video"}},"UserList":[{{"User_Account":"ann","Status":"Calling"}}]}}"#
        );
        post(&server, &[create("r", 0), ("Call.CallbackAfterStartCall", ring)]).await;
        comes(&database, "select cast(count(*) as text) from settle_queue", &["0"]).await;
        // A sweep has passed: the last thing it does is to delete old minutes.
        comes(&database, "select cast(count(*) as text) from event_counts where width_s = 60", &["0"]).await;
        comes(&database, &sessions(&database), &["r open 0 - - | 0 0 0 0 0 0"]).await;
        assert_eq!(database.texts("select state from calls").await, ["ringing"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_settles_rooms_and_another_takes_over() {
    let database = Database::postgres().await;
    let (one, two) = tokio::join!(Server::start(&database), Server::start(&database));
    for number in 0..10 {
        let room = format!("r{number}");
        post(&one, &[create(&room, 0), enter(&room, "ann", 1000)]).await;
        post(&two, &[enter(&room, "bob", 2000), leave(&room, "ann", 3000)]).await;
    }
    let settled =
        "select cast(count(*) as text) from room_sessions where members = 1 and members_peak = 2";
    comes(&database, settled, &["10"]).await;
    let settlers = "select count(distinct pid) from pg_locks where locktype = 'advisory' and objid = 1953657971
             and granted and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(database.count(settlers).await, 1);
    one.stop().await;
    post(&two, &[enter("r0", "cai", 4000)]).await;
    let settled = "select cast(count(*) as text) from room_sessions where members = 2";
    comes(&database, settled, &["1"]).await;
    two.stop().await;
    assert_eq!(database.count(settlers).await, 0);
}
