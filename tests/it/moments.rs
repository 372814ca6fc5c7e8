//! Marks of one time: whatever their ids and the order in which they come, the state before decides which is first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::UnixMillis;
use protocol::{AppId, Apps, Event, Query};
use trtc_callbacks::projections::{Change, changes};
use trtc_callbacks::store::{
    DetailPage, EventInsert, List, Room, RoomFilter, Store, UserVisitFilter, Visit,
};

use crate::support::{APP, Database, NOW, Server, on_both_stores};

/// An hour before the servers' present.
const T: i64 = NOW.0 - 3_600_000;

/// A command, what its body holds beside the room, and its time after `T`.
type Said = (&'static str, String, i64);

fn app() -> AppId {
    AppId::parse(APP).unwrap()
}

fn decoded(room: &str, (command, rest, at): &Said) -> (Event, Vec<Change>) {
    let query = format!("SdkAppid={APP}&CallbackCommand={command}&contenttype=json");
    let verified = Apps::new().with(app(), Vec::new()).verify(Query::parse(&query), NOW).unwrap();
    let time = T + at;
    let body = if command.ends_with("StartCall") {
        format!(
            r#"{{"CallbackCommand":"{command}",{rest},"CallInfo":{{"CallId":"{room}"}},"EventTime":{time}}}"#
        )
    } else if command.starts_with("Call.") {
        format!(r#"{{"CallbackCommand":"{command}","CallId":"{room}",{rest},"EventTime":{time}}}"#)
    } else if command.ends_with("CreateRoom") {
        format!(
            r#"{{"CallbackCommand":"{command}",{rest},"RoomInfo":{{"RoomId":"{room}","RoomName":"created"}},"EventTime":{time}}}"#
        )
    } else {
        format!(r#"{{"CallbackCommand":"{command}","RoomId":"{room}",{rest},"EventTime":{time}}}"#)
    };
    let event = Event::decode(&verified, body.as_bytes(), NOW);
    assert_eq!(event.decode_error, None, "{body}");
    let changes = changes(&event);
    (event, changes)
}

/// Every order of the numbers below `count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else { return vec![Vec::new()] };
    let with_last = |order: Vec<usize>| {
        (0..=order.len()).map(move |place| {
            let mut order = order.clone();
            order.insert(place, last);
            order
        })
    };
    orders(last).into_iter().flat_map(with_last).collect()
}

/// Stores each of the scenarios in every order, each order in a room of its own with a name of its own and so other ids,
/// and settles them. Returns which scenario each room has.
async fn play(database: &Database, scenarios: &[Vec<Said>]) -> BTreeMap<String, usize> {
    let mut rooms = BTreeMap::new();
    let mut steps: Vec<Vec<(Event, Vec<Change>)>> = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        // At least so many, for the sake of their ids.
        for (place, order) in orders(scenario.len()).iter().cycle().take(24).enumerate() {
            let room = format!("r{number}-{place:03}");
            for (step, said) in order.iter().enumerate() {
                if steps.len() <= step {
                    steps.push(Vec::new());
                }
                steps[step].push(decoded(&room, &scenario[*said]));
            }
            rooms.insert(room, number);
        }
    }
    let store = database.store().await;
    store.migrate().await.unwrap();
    store.upkeep(NOW).await.unwrap();
    // The last once more.
    let last = steps.last().unwrap().clone();
    for mut step in steps.into_iter().chain([last]) {
        step.sort_by_key(|(event, _)| event.id);
        for part in step.chunks(200) {
            let entries: Vec<EventInsert> =
                part.iter().map(|(event, changes)| EventInsert::copied(event, changes)).collect();
            store.insert(&entries).await.unwrap();
        }
    }
    store.close().await;
    let server = Server::start(database).await;
    let settled = async {
        while database.count("select count(*) from settle_queue").await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), settled).await.unwrap();
    server.stop().await;
    rooms
}

async fn rooms(store: &Arc<dyn Store>) -> Vec<Room> {
    let filter = RoomFilter { limit: 1000, ..RoomFilter::default() };
    store.rooms(&filter).await.unwrap()
}

fn moves(enters: bool, accounts: &str, by: &str, at: i64) -> Said {
    let (command, kind) = if enters {
        ("Room.CallbackAfterMemberEnter", "Enter")
    } else {
        ("Room.CallbackAfterMemberLeave", "Leave")
    };
    let accounts = accounts.split(' ').collect::<Vec<_>>().join(r#"",""#);
    let rest =
        format!(r#""Operator_Account":"{by}","Type":"{kind}","MemberList_Account":["{accounts}"]"#);
    (command, rest, at)
}

fn enter(accounts: &str, by: &str, at: i64) -> Said {
    moves(true, accounts, by, at)
}

fn leave(accounts: &str, by: &str, at: i64) -> Said {
    moves(false, accounts, by, at)
}

/// Who came and left, and what is to be read of it: visits, and members, peak, entries, leaves and enters that are missing.
fn visits() -> Vec<(Vec<Said>, &'static str, &'static str)> {
    vec![
        (vec![enter("a", "a", 5), leave("a", "a", 5)], "a 5-5", "0 1 1 0"),
        (
            vec![enter("a", "a", 1), leave("a", "a", 5), enter("a", "a", 5)],
            "a 1-5, a 5--",
            "1 1 2 0",
        ),
        (
            vec![enter("a", "a", 1), leave("a", "a", 5), enter("a", "a", 5), leave("a", "a", 9)],
            "a 1-5, a 5-9",
            "0 1 2 0",
        ),
        (
            vec![enter("a", "a", 5), leave("a", "a", 5), enter("a", "b", 5)],
            "a 5--, a 5-5",
            "1 1 2 0",
        ),
        (
            vec![leave("a", "a", 5), leave("a", "b", 5), enter("a", "a", 5)],
            "a --5, a 5-5",
            "0 1 1 1",
        ),
        (
            vec![enter("a", "a", 1), leave("a", "a", 5), leave("a", "b", 5), enter("a", "a", 5)],
            "a 1-5, a 5-5",
            "0 1 2 0",
        ),
        // The moment before left it as it was: what counts is what was before that.
        (
            vec![
                enter("a", "a", 1),
                leave("a", "a", 5),
                enter("a", "a", 5),
                leave("a", "a", 7),
                enter("a", "a", 7),
            ],
            "a 1-5, a 5-7, a 7--",
            "1 1 3 0",
        ),
        (
            vec![enter("a", "a", 1), leave("a", "a", 1), enter("a", "a", 7), leave("a", "a", 7)],
            "a 1-1, a 7-7",
            "0 1 2 0",
        ),
        // Several in one event, one of them twice in its list; one takes the place of another.
        (vec![enter("a b a", "x", 5), leave("b", "b", 5)], "a 5--, b 5-5", "1 1 2 0"),
        (
            vec![enter("a", "x", 1), enter("b c", "x", 5), leave("a c", "x", 5)],
            "a 1-5, b 5--, c 5-5",
            "1 1 3 0",
        ),
    ]
}

fn line(account: &str, entered: Option<UnixMillis>, left: Option<UnixMillis>) -> String {
    let ms = |at: Option<UnixMillis>| at.map_or("-".to_owned(), |at| (at.0 - T).to_string());
    format!("{account} {}-{}", ms(entered), ms(left))
}

fn in_order(mut lines: Vec<String>) -> String {
    lines.sort();
    lines.join(", ")
}

/// What the view says of each room, in the same words.
async fn viewed(database: &Database, sql: &str) -> BTreeMap<String, Vec<String>> {
    let mut rooms: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in database.texts(sql).await {
        let (room, line) = row.split_once('|').unwrap();
        rooms.entry(room.to_owned()).or_default().push(line.to_owned());
    }
    rooms
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

async fn all_visits(store: &Arc<dyn Store>, room: &Room) -> Vec<Visit> {
    let (mut visits, mut page) = (Vec::new(), DetailPage { limit: 2, ..DetailPage::default() });
    loop {
        let next = store.visits(room, &page).await.unwrap();
        visits.extend(next.visits);
        page.after = next.next;
        if page.after.is_none() {
            return visits;
        }
    }
}

fn name(name: &str, at: i64) -> Said {
    let rest = format!(r#""Operator_Account":"o","RoomInfo":{{"RoomName":"{name}"}}"#);
    ("Room.CallbackAfterUpdateRoomInfo", rest, at)
}

fn live(what: &str, rest: &str, at: i64) -> Said {
    let command = match what {
        "admin" => "Live.CallbackAfterModifyAdmin",
        "set" => "Live.CallbackAfterSetMetadata",
        "delete" => "Live.CallbackAfterDelMetadata",
        "create" => "Live.CallbackAfterCreateRoom",
        "destroy" => "Live.CallbackAfterDestroyRoom",
        _ => "Mic.CallbackAfterSeatInfoChanged",
    };
    (command, format!(r#""Operator_Account":{rest}"#), at)
}

fn admin(kind: &str, accounts: &str, by: &str, at: i64) -> Said {
    live("admin", &format!(r#""{by}","opType":"{kind}","Admin_Account":[{accounts}]"#), at)
}

fn set(value: &str, at: i64) -> Said {
    live("set", &format!(r#""o","Metadata":[{{"Key":"k","Value":"{value}"}}]"#), at)
}

fn delete(by: &str, at: i64) -> Said {
    live("delete", &format!(r#""{by}","Keys":["k","k"]"#), at)
}

fn seat(account: &str, by: &str, at: i64) -> Said {
    let seat = format!(r#""{by}","SeatList":[{{"Index":1,"Member_Account":"{account}"}}]"#);
    live("seat", &seat, at)
}

on_both_stores! {
    async fn at_one_time_visits_follow_from_the_state_before(database: Database) {
        let expected = visits();
        let scenarios: Vec<_> = expected.iter().map(|(scenario, ..)| scenario.clone()).collect();
        let played = play(&database, &scenarios).await;
        let store = database.store().await;
        let rooms = rooms(&store).await;
        assert_eq!(rooms.len(), played.len());
        let of = format!(
            "select room_id || '|' || account || ' ' || {} || '-' || {} from room_visits",
            after(&database, "entered_at"), after(&database, "left_at")
        );
        let mut viewed = viewed(&database, &of).await;
        let list = UserVisitFilter { app: app(), account: "a".to_owned(), after: None, limit: 0 };
        let mut of_a: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut after = None;
        loop {
            let (visits, next) = list.part(&*store, (after, 100)).await.unwrap();
            for visit in visits {
                of_a.entry(visit.room_id).or_default().push(line("a", Some(visit.entered_at), visit.left_at));
            }
            after = next;
            if after.is_none() { break }
        }
        for room in rooms {
            let (_, visits, figures) = &expected[played[&room.room_id]];
            let found = format!("{} {} {} {}", room.members, room.members_peak, room.entries, room.enters_missing);
            assert_eq!(found, *figures, "{}", room.room_id);
            assert_eq!(room.leaves_missing, 0);
            let read = all_visits(&store, &room).await;
            let read = read.iter().map(|visit| line(&visit.account, visit.entered_at, visit.left_at));
            assert_eq!(in_order(read.collect()), *visits, "{}", room.room_id);
            assert_eq!(in_order(viewed.remove(&room.room_id).unwrap()), *visits, "view, {}", room.room_id);
            let entered = visits.split(", ").filter(|visit| visit.starts_with("a ") && !visit.starts_with("a --"));
            let entered: Vec<_> = entered.map(str::to_owned).collect();
            assert_eq!(in_order(of_a.remove(&room.room_id).unwrap_or_default()), in_order(entered), "{}", room.room_id);
        }
        store.close().await;
    }

    async fn at_one_time_seat_changes_follow_from_the_state_before(database: Database) {
        let expected = [
            (vec![seat("a", "x", 5), seat("", "x", 5)], "a 5-5"),
            (vec![seat("a", "x", 1), seat("", "x", 5), seat("b", "x", 5)], "a 1-5, b 5--"),
            (vec![seat("a", "x", 1), seat("", "x", 5), seat("a", "x", 5)], "a 1-5, a 5--"),
            (vec![seat("a", "x", 1), seat("", "x", 5), seat("b", "x", 5), seat("", "y", 5)], "a 1-5, b 5-5"),
            (vec![seat("a", "x", 1), seat("", "x", 1), seat("a", "x", 5), seat("", "x", 5)], "a 1-1, a 5-5"),
            (vec![seat("a", "x", 1), seat("", "x", 3), seat("b", "x", 3), seat("", "x", 5)], "a 1-3, b 3-5"),
        ];
        let scenarios: Vec<_> = expected.iter().map(|(scenario, _)| scenario.clone()).collect();
        let played = play(&database, &scenarios).await;
        let store = database.store().await;
        let of = format!(
            "select room_id || '|' || account || ' ' || {} || '-' || {} from seats",
            after(&database, "taken_at"), after(&database, "left_at")
        );
        let mut viewed = viewed(&database, &of).await;
        for room in rooms(&store).await {
            let (_, expected) = &expected[played[&room.room_id]];
            let read = store.seats(&room).await.unwrap();
            let read = read.rows.iter().map(|stay| line(&stay.account, Some(stay.taken_at), stay.left_at));
            assert_eq!(in_order(read.collect()), *expected, "{}", room.room_id);
            assert_eq!(in_order(viewed.remove(&room.room_id).unwrap()), *expected, "view, {}", room.room_id);
        }
        store.close().await;
    }

    async fn at_one_time_admins_and_metadata_follow_from_the_state_before(database: Database) {
        let expected = [
            (vec![admin("add", r#""a""#, "o", 5), admin("delete", r#""a""#, "o", 5)], "[] {}"),
            (vec![admin("add", r#""a""#, "o", 1), admin("add", r#""a","b""#, "o", 5), admin("delete", r#""a""#, "o", 5)], r#"["a","b"] {}"#),
            // Twice in one list is once.
            (vec![admin("add", r#""a","a""#, "o", 5), admin("delete", r#""a""#, "o", 5)], "[] {}"),
            (vec![admin("add", r#""a""#, "o", 5), admin("delete", r#""a""#, "o", 5), admin("add", r#""a""#, "p", 5)], r#"["a"] {}"#),
            (vec![set("v", 5), delete("o", 5)], "[] {}"),
            (vec![set("v", 1), delete("o", 5), set("w", 5)], r#"[] {"k":"w"}"#),
            (vec![set("v", 1), delete("o", 5), set("w", 5), delete("p", 5)], "[] {}"),
            (vec![set("v", 1), delete("o", 5), set("w", 5), delete("p", 9)], "[] {}"),
            (vec![set("v", 1), delete("o", 1), set("w", 5), delete("p", 5)], "[] {}"),
            (vec![set("v", 1), delete("o", 3), set("w", 3), delete("o", 5), set("x", 5)], r#"[] {"k":"x"}"#),
        ];
        // So that each is a live room.
        let create = live("create", r#""o""#, 0);
        let scenarios: Vec<_> = expected
            .iter()
            .map(|(scenario, _)| [std::slice::from_ref(&create), scenario.as_slice()].concat())
            .collect();
        let played = play(&database, &scenarios).await;
        let found = database.texts("select room_id || '|' || cast(admins as text) || ' ' || cast(metadata as text) from live_sessions").await;
        assert_eq!(found.len(), played.len());
        for row in found {
            let (room, found) = row.split_once('|').unwrap();
            assert_eq!(found, expected[played[room]].1, "{room}");
        }
    }

    async fn at_one_time_create_comes_before_change_and_destroy(database: Database) {
        let create = |at| ("Room.CallbackAfterCreateRoom", r#""Operator_Account":"o""#.to_owned(), at);
        let destroy = |at| ("Room.CallbackAfterDestroyRoom", r#""Operator_Account":"o""#.to_owned(), at);
        let expected: [(Vec<Said>, &[&str]); 4] = [
            (vec![create(5), name("new", 5)], &["new 5 -"]),
            (vec![create(5), destroy(5), name("new", 5)], &["new 5 5"]),
            (vec![create(1), destroy(5), create(5)], &["created 1 5", "created 5 -"]),
            (vec![create(1), destroy(3), destroy(5), create(5)], &["created 1 3", "created 5 5"]),
        ];
        let scenarios: Vec<_> = expected.iter().map(|(scenario, _)| scenario.clone()).collect();
        let played = play(&database, &scenarios).await;
        let of = format!(
            "select room_id || '|' || name || ' ' || {} || ' ' || {} from room_sessions order by room_id, session",
            after(&database, "created_at"), after(&database, "destroyed_at")
        );
        let found = viewed(&database, &of).await;
        assert_eq!(found.len(), played.len());
        for (room, sessions) in found {
            assert_eq!(sessions, expected[played[&room]].1, "{room}");
        }
    }

    async fn at_one_time_call_members_follow_from_the_state_before(database: Database) {
        let start = ("Call.CallbackAfterStartCall", r#""UserList":[{"User_Account":"ann","Status":"Calling"},{"User_Account":"bob","Status":"Waiting"}]"#.to_owned(), 0);
        // Who does what, and who is then in the call.
        let act = |who: &str, action: &str, inside: &str, at: i64| {
            let inside = inside.split(' ').map(|account| format!(r#"{{"User_Account":"{account}","Status":"Calling"}}"#));
            let rest = format!(
                r#""UserList":[{}],"ChangedUserList":[{{"User_Account":"{who}","ActionType":"{action}"}}]"#,
                inside.collect::<Vec<_>>().join(",")
            );
            ("Call.CallbackAfterMemberChanged", rest, at)
        };
        let expected = [
            (vec![act("bob", "Accept", "ann bob", 5), act("bob", "Hang Up", "ann", 5)], "bob left hung_up 5"),
            (vec![act("bob", "Accept", "ann bob", 2), act("bob", "Offline", "ann", 5), act("bob", "Join", "ann bob", 5)], "bob joined - -"),
            (vec![act("bob", "Invite", "ann", 5), act("bob", "Reject", "ann", 5)], "bob left rejected 5"),
            // Another's event of that time has the account in its list.
            (vec![act("bob", "Accept", "ann bob", 2), act("bob", "Offline", "ann", 5), act("cai", "Accept", "ann bob cai", 5)], "bob left dropped 5"),
        ];
        let scenarios: Vec<_> = expected
            .iter()
            .map(|(scenario, _)| [std::slice::from_ref(&start), scenario.as_slice()].concat())
            .collect();
        let played = play(&database, &scenarios).await;
        let of = format!(
            "select call_id || '|' || account || ' ' || state || ' ' || coalesce(ending, '-') || ' ' || {}
             from call_members where account = 'bob'",
            after(&database, "left_at")
        );
        let found = viewed(&database, &of).await;
        assert_eq!(found.len(), played.len());
        for (call, members) in found {
            assert_eq!(members, [expected[played[&call]].1], "{call}");
        }
    }

    async fn at_one_time_a_recordings_later_step_counts(database: Database) {
        let mut rows = crate::reading::Rows::new(&database);
        let store = database.store().await;
        store.migrate().await.unwrap();
        let columns = "sdk_app_id, task_id, at, event_id, call_id, state, message";
        for (task, order) in orders(3).into_iter().enumerate() {
            let steps = [("uploading", "half"), ("started", "begun"), ("finished", "done")];
            for (number, place) in (1..).zip(order) {
                let (state, message) = steps[place];
                let id = crate::reading::id(number);
                rows.add("recording_marks", columns, &format!("{APP}, 't{task}', @5, '{id}', 'c', '{state}', '{message}'"));
            }
        }
        rows.write().await;
        let subject = trtc_callbacks::store::Subject::Call(app(), "c".into());
        let read = store.recordings(&subject).await.unwrap();
        assert_eq!(read.rows.len(), 6);
        for task in read.rows {
            assert_eq!((task.state.as_deref(), task.message.as_deref()), (Some("finished"), Some("done")));
        }
        let viewed = database.texts("select state || ' ' || message from recordings").await;
        assert_eq!(viewed, vec!["finished done"; 6]);
        store.close().await;
    }
}
