//! Derived events: a destination that names them gets each fact once, and again as a revision where a late event changes it.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use crate::forward_receiver::{Received, Receiver, SECRET};
use crate::forwarding::{destination, in_state, known, resume, with};
use crate::process::{Serving, done, program};
use crate::support::{APP, Database, NOW, OK, Server, eventually, on_both_stores};

const HOUR_MS: i64 = 3_600_000;
/// An hour before the servers' present.
pub(crate) const T: i64 = NOW.0 - HOUR_MS;

const START_CALL: &str = "Call.CallbackAfterStartCall";
const MEMBER_CHANGED: &str = "Call.CallbackAfterMemberChanged";
const END_CALL: &str = "Call.CallbackAfterEndCall";
pub(crate) const ALL: &str = "commands = ['trtc.*']";

pub(crate) type Told = (&'static str, Value);

fn started(call: &str) -> Told {
    let users = json!([{"User_Account": "alice", "Status": "Calling"}, {"User_Account": "bob", "Status": "Waiting"}]);
    (
        START_CALL,
        json!({"CallbackCommand": START_CALL, "CallInfo": {"CallId": call, "CallMediaType": "Video", "RoomId": format!("r-{call}"),
            "RoomIdType": 2}, "UserList": users, "EventTime": T}),
    )
}

fn changed(call: &str, action: &str, at: i64) -> Told {
    (
        MEMBER_CHANGED,
        json!({"CallbackCommand": MEMBER_CHANGED, "CallId": call, "UserList": [{"User_Account": "alice", "Status": "Calling"}],
            "ChangedUserList": [{"User_Account": "bob", "ActionType": action}], "EventTime": T + at}),
    )
}

pub(crate) fn ended(call: &str, result: &str, accepted: bool, at: i64) -> Told {
    let mut record = json!({"CallId": call, "Caller_Account": "alice", "MediaType": "Video", "CallType": "SingleCall",
        "StartTime": T / 1000, "EndTime": (T + at) / 1000, "CallResult": result, "CalleeList_Account": ["alice", "bob"],
        "RoomId": format!("r-{call}"), "RoomIdType": 2});
    if accepted {
        record["AcceptTime"] = json!((T + 5000) / 1000);
    }
    (
        END_CALL,
        json!({"CallbackCommand": END_CALL, "CallRecord": record, "EventTime": T + at + 1000}),
    )
}

fn answered(call: &str) -> Vec<Told> {
    vec![
        started(call),
        changed(call, "Accept", 5000),
        changed(call, "Hangup", 65_000),
        ended(call, "NormalEnd", true, 65_000),
    ]
}

pub(crate) fn room(command: &'static str, room: &str, at: i64) -> Told {
    (
        command,
        json!({"CallbackCommand": command, "Operator_Account": "alice", "RoomId": room, "EventTime": T + at}),
    )
}

pub(crate) const CREATE: &str = "Room.CallbackAfterCreateRoom";
pub(crate) const DESTROY: &str = "Room.CallbackAfterDestroyRoom";

fn live(room: &str) -> [Told; 2] {
    let (create, destroy) = ("Live.CallbackAfterCreateRoom", "Live.CallbackAfterDestroyRoom");
    [
        (
            create,
            json!({"CallbackCommand": create, "Operator_Account": "ann", "RoomInfo": {"RoomId": room, "RoomType": "Live",
                "Owner_Account": "ann"}, "EventTime": T}),
        ),
        (
            destroy,
            json!({"CallbackCommand": destroy, "RoomId": room, "Statistic": {"TotalGiftsSent": 24, "TotalGiftCoins": 100},
                "EventTime": T + 60_000}),
        ),
    ]
}

fn recorded(call: &str, task: &str, event: i64, at: i64, payload: &Value) -> Told {
    let command = "Call.CallbackAfterRecordChanged";
    let info = json!({"RoomId": "r", "UserId": "robot", "TaskId": task, "EventMsTs": T + at, "Payload": payload});
    (
        command,
        json!({"CallbackCommand": command, "CallId": call, "EventTime": T + at,
            "Callback": {"EventGroupId": 3, "EventType": event, "EventInfo": info}}),
    )
}

fn recording(call: &str, task: &str) -> Vec<Told> {
    let file = json!({"Status": 0, "TencentVod": {"UserId": "bob", "FileId": "7", "CacheFile": "a.mp4",
        "VideoUrl": "https://vod.test/a.mp4"}});
    vec![
        recorded(call, task, 301, 1000, &json!({"Status": 0})),
        recorded(call, task, 302, 60_000, &json!({"LeaveCode": 1})),
        recorded(call, task, 311, 70_000, &file),
        recorded(call, task, 312, 71_000, &json!({"Status": 0})),
    ]
}

pub(crate) async fn post(server: &Server, told: impl IntoIterator<Item = Told>) {
    for (command, body) in told {
        server.post_body(command, body.to_string()).await;
    }
}

/// A server with one destination.
pub(crate) async fn serve(database: &Database, receiver: &Receiver, more: &str) -> Server {
    let server = Server::start_with(with(database, &destination("one", &receiver.url, more))).await;
    known(database, "one").await;
    server
}

/// Waits until nothing is to be derived any more, and the destinations are at the end of the feed.
pub(crate) async fn quiet(database: &Database) {
    let new = if database.is_postgres() { "(select count(*) from feed_new)" } else { "0" };
    let end = "(select coalesce(max(position), 0) from feed)";
    let left = format!(
        "select {new} + (select count(*) from derived_pending)
             + (select count(*) from derived_progress where position / 512 < {end})
             + (select count(*) from destinations where position / 512 < {end})"
    );
    eventually("all is derived and sent", || async { database.count(&left).await == 0 }).await;
}

fn of_type<'a>(received: &'a [Received], name: &str) -> Vec<&'a Value> {
    let of_type = received.iter().filter(|one| one.body["type"] == name);
    of_type.map(|one| &one.body["data"]).collect()
}

/// Types with their subject and revision, in order.
fn shown(received: &[Received]) -> Vec<String> {
    let one = |one: &Received| {
        let data = &one.body["data"];
        let subject = data["call_id"].as_str().or_else(|| data["room_id"].as_str()).unwrap();
        let withdrawn = if data["withdrawn"] == true { " withdrawn" } else { "" };
        format!("{} {subject} {}{withdrawn}", one.body["type"].as_str().unwrap(), data["revision"])
    };
    let mut shown: Vec<String> = received.iter().map(one).collect();
    shown.sort_unstable();
    shown
}

async fn ask(server: &Server, path: &str) -> Value {
    let (status, text) = server.get_ops(&format!("/api/v1{path}")).await;
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// Whether the API gives every member of the row the same.
fn assert_is_part(row: &Value, of: &Value) {
    for (name, value) in row.as_object().unwrap() {
        if name != "lists_cut" {
            assert_eq!(*value, of[name], "{name}");
        }
    }
}

on_both_stores! {
    async fn each_fact_is_sent_once_with_the_row_of_the_api(database: Database) {
        let receiver = Receiver::start().await;
        let server = serve(&database, &receiver, ALL).await;
        post(&server, [started("c1"), ended("c1", "Cancel", false, 20_000)]).await;
        post(&server, answered("c2")).await;
        post(&server, [started("c3")]).await;
        post(&server, [room(CREATE, "conf", 0), room(DESTROY, "conf", 60_000), room(CREATE, "open", 0)]).await;
        post(&server, live("show")).await;
        post(&server, recording("c2", "task")).await;
        let taken = receiver.took(6).await;
        quiet(&database).await;
        assert_eq!(shown(&taken), [
            "trtc.call.ended c1 1", "trtc.call.ended c2 1", "trtc.call.missed c1 1", "trtc.live.ended show 1",
            "trtc.recording.ready c2 1", "trtc.room.closed conf 1",
        ]);
        for one in &taken {
            assert!(one.is_signed(SECRET) && one.header("webhook-id") == one.id(), "{one:?}");
            assert_eq!(one.body["data"]["app"].to_string(), APP);
            assert!(one.body["data"]["payload"].is_null());
        }
        let missed = of_type(&taken, "trtc.call.missed")[0];
        assert_is_part(&missed["call"], &ask(&server, &format!("/calls/{APP}/c1")).await);
        assert_eq!((&missed["call"]["result"], &missed["family"]), (&json!("cancel"), &json!("call")));
        assert_eq!(missed["call"]["members"][1]["account"], "bob");
        assert_eq!(missed["room_id"], "r-c1");
        let closed = of_type(&taken, "trtc.room.closed")[0];
        assert_is_part(&closed["room"], &ask(&server, &format!("/room-sessions/{APP}/conf/latest")).await);
        let show = of_type(&taken, "trtc.live.ended")[0];
        assert_is_part(&show["live"], &ask(&server, &format!("/live-sessions/{APP}/show/latest")).await);
        assert_eq!(show["live"]["live"]["total_gift_coins"], 100);
        let ready = of_type(&taken, "trtc.recording.ready")[0];
        assert_is_part(&ready["recording"], &ask(&server, &format!("/recordings/{APP}/task")).await);
        assert_eq!(ready["recording"]["files"][0]["url"], "https://vod.test/a.mp4");
        // The same again, and a restart.
        post(&server, answered("c2")).await;
        post(&server, live("show")).await;
        quiet(&database).await;
        server.stop().await;
        let server = serve(&database, &receiver, ALL).await;
        post(&server, [changed("c3", "Accept", 5000)]).await;
        quiet(&database).await;
        server.stop().await;
        assert_eq!(receiver.received().len(), 6, "none twice");
    }

    async fn a_late_event_makes_a_revision(database: Database) {
        let receiver = Receiver::start().await;
        let server = serve(&database, &receiver, ALL).await;
        post(&server, [ended("c1", "Cancel", false, 20_000), ended("c2", "NotAnswer", false, 20_000)]).await;
        receiver.took(4).await;
        quiet(&database).await;
        post(&server, [started("c2")]).await;
        receiver.took(6).await;
        // Another end says that somebody accepted.
        post(&server, [ended("c1", "NormalEnd", true, 30_000)]).await;
        let taken = receiver.took(8).await;
        quiet(&database).await;
        assert_eq!(shown(&taken), [
            "trtc.call.ended c1 1", "trtc.call.ended c1 2", "trtc.call.ended c2 1", "trtc.call.ended c2 2",
            "trtc.call.missed c1 1", "trtc.call.missed c1 2 withdrawn", "trtc.call.missed c2 1", "trtc.call.missed c2 2",
        ]);
        let ids: HashSet<String> = taken.iter().map(Received::id).collect();
        assert_eq!(ids.len(), 8, "each revision has an id of its own");
        server.stop().await;
        assert_eq!(receiver.received().len(), 8);
    }

    async fn a_room_id_used_again_ends_the_session_before_once(database: Database) {
        let receiver = Receiver::start().await;
        let server = serve(&database, &receiver, ALL).await;
        post(&server, [room(CREATE, "a", 0), room(DESTROY, "a", 60_000), room(CREATE, "b", 0)]).await;
        receiver.took(1).await;
        post(&server, [room(CREATE, "a", 600_000), room(CREATE, "b", 600_000)]).await;
        let taken = receiver.took(2).await;
        quiet(&database).await;
        assert_eq!(shown(&taken), ["trtc.room.closed a 1", "trtc.room.closed b 1"]);
        let of_b = taken.iter().map(|one| &one.body["data"]["room"]).find(|room| room["room_id"] == "b").unwrap();
        assert_eq!((&of_b["inferred"], &of_b["session"]), (&json!(true), &json!(T)));
        // Its destroy comes late.
        post(&server, [room(DESTROY, "b", 300_000)]).await;
        let taken = receiver.took(3).await;
        quiet(&database).await;
        assert_eq!(shown(&taken)[2], "trtc.room.closed b 2");
        assert_eq!(taken[2].body["data"]["room"]["inferred"], false);
        // Its create comes late: it was another session than it seemed.
        post(&server, [room(DESTROY, "c", 60_000)]).await;
        receiver.took(4).await;
        quiet(&database).await;
        post(&server, [room(CREATE, "c", 0)]).await;
        let taken = receiver.took(6).await;
        quiet(&database).await;
        let shown = shown(&taken[3..]);
        assert_eq!(shown, ["trtc.room.closed c 1", "trtc.room.closed c 1", "trtc.room.closed c 2 withdrawn"]);
        let sessions: Vec<_> = taken[3..].iter().map(|one| &one.body["data"]).collect();
        let withdrawn = sessions.iter().find(|data| data["withdrawn"] == true).unwrap();
        assert_eq!((&withdrawn["session"], &withdrawn["room"]), (&sessions[0]["session"], &Value::Null));
        assert!(sessions[1..].iter().any(|data| data["session"] == T && data["revision"] == 1));
        server.stop().await;
        assert_eq!(receiver.received().len(), 6);
    }

    async fn a_rebuild_sends_nothing_again(database: Database) {
        let receiver = Receiver::start().await;
        let server = serve(&database, &receiver, ALL).await;
        post(&server, answered("c1")).await;
        post(&server, [room(CREATE, "conf", 0), room(DESTROY, "conf", 60_000)]).await;
        receiver.took(2).await;
        quiet(&database).await;
        server.stop().await;
        for table in ["merged_calls", "merged_call_members", "room_sessions"] {
            database.execute(&format!("delete from {table}")).await;
        }
        let folder = tempfile::tempdir().unwrap();
        done(folder.path(), &["rebuild", "--store", &database.url]);
        let server = serve(&database, &receiver, ALL).await;
        post(&server, [changed("c1", "Hangup", 66_000)]).await;
        let taken = receiver.took(3).await;
        quiet(&database).await;
        assert_eq!(shown(&taken), ["trtc.call.ended c1 1", "trtc.call.ended c1 2", "trtc.room.closed conf 1"]);
        server.stop().await;
        assert_eq!(receiver.received().len(), 3);
    }

    async fn without_a_destination_that_names_them_nothing_is_derived(database: Database) {
        let (all, star) = (Receiver::start().await, Receiver::start().await);
        let toml = destination("all", &all.url, "") + &destination("star", &star.url, "commands = ['*']");
        let server = Server::start_with(with(&database, &toml)).await;
        known(&database, "all").await;
        known(&database, "star").await;
        post(&server, answered("c1")).await;
        all.took(4).await;
        star.took(4).await;
        quiet(&database).await;
        for table in ["derived_progress", "derived_pending", "derived_events"] {
            assert_eq!(database.count(&format!("select count(*) from {table}")).await, 0, "{table}");
        }
        server.stop().await;
        assert_eq!((all.received().len(), star.received().len()), (4, 4));
    }

    async fn filters_hold_for_derived_events_too(database: Database) {
        let receivers = [Receiver::start().await, Receiver::start().await, Receiver::start().await];
        let [calls, rooms, all] = &receivers;
        let toml = destination("calls", &calls.url, "commands = ['Call.*', 'trtc.call.missed']")
            + &destination("rooms", &rooms.url, "commands = ['trtc.*']\nrooms = ['r-c2', 'conf']\nfamilies = ['call', 'room']")
            + &destination("all", &all.url, "");
        let server = Server::start_with(with(&database, &toml)).await;
        for name in ["calls", "rooms", "all"] {
            known(&database, name).await;
        }
        post(&server, [started("c1"), ended("c1", "Cancel", false, 20_000), ended("c2", "Cancel", false, 20_000)]).await;
        post(&server, [room(DESTROY, "conf", 0), room(DESTROY, "other", 0)]).await;
        post(&server, live("r-c2")).await;
        let types = |received: &[Received]| {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for one in received {
                *counts.entry(one.body["type"].as_str().unwrap().to_owned()).or_default() += 1;
            }
            counts.into_iter().collect::<Vec<_>>()
        };
        calls.took(5).await;
        rooms.took(3).await;
        all.took(7).await;
        quiet(&database).await;
        let named = |name: &str, count: usize| (name.to_owned(), count);
        assert_eq!(types(&calls.received()), [named(END_CALL, 2), named(START_CALL, 1), named("trtc.call.missed", 2)]);
        assert_eq!(types(&rooms.received()), [
            named("trtc.call.ended", 1), named("trtc.call.missed", 1), named("trtc.room.closed", 1),
        ]);
        assert!(types(&all.received()).iter().all(|(name, _)| !name.starts_with("trtc.")));
        // Nor are they shown where the vendor's events are.
        let stored = ask(&server, "/events?order=stored&after=0&limit=100").await;
        assert_eq!(stored["items"].as_array().unwrap().len(), 7, "{stored}");
        let figures = server.figures().await;
        let gone = |name: &str| figures.value(&format!("trtc_forward_events_total{{destination=\"{name}\",result=\"gone\"}}"));
        assert_eq!(["calls", "rooms", "all"].map(gone), [0, 0, 0]);
        server.stop().await;
    }

    async fn a_derived_event_is_sent_without_an_erased_account(database: Database) {
        let receiver = Receiver::start().await;
        receiver.answer(|_| 503);
        let server = serve(&database, &receiver, ALL).await;
        post(&server, answered("c1")).await;
        // Its id is the account's name.
        post(&server, [room(CREATE, "bob", 0), room(DESTROY, "bob", 60_000)]).await;
        let derived = "select count(*) from derived_events";
        eventually("both are derived", || async { database.count(derived).await == 2 }).await;
        in_state(&database, "one", "failing").await;
        let folder = tempfile::tempdir().unwrap();
        done(folder.path(), &["erase-user", "bob", "--yes", "--store", &database.url]);
        let queued = "select count(*) from settle_queue";
        eventually("the room is settled again", || async { database.count(queued).await == 0 }).await;
        receiver.answer(|_| 200);
        resume(&database, "one").await;
        let taken = receiver.took(2).await;
        assert!(taken.iter().all(|one| !one.text.contains("\"bob\"")), "{taken:?}");
        assert!(taken.iter().any(|one| one.text.contains("\"alice\"")));
        assert_eq!(database.count("select count(*) from derived_events where subject = 'bob' or room_id = 'bob'").await, 0);
        server.stop().await;
    }

    async fn derived_events_expire_with_what_they_are_about(database: Database) {
        let receiver = Receiver::start().await;
        let server = serve(&database, &receiver, ALL).await;
        post(&server, answered("c1")).await;
        receiver.took(1).await;
        server.stop().await;
        let store = database.store().await;
        let last = protocol::UnixMillis(T + 66_000);
        let _ = store.delete_expired(last, 100).await.unwrap();
        assert_eq!(database.count("select count(*) from derived_events").await, 1);
        let _ = store.delete_expired(protocol::UnixMillis(last.0 + 1), 100).await.unwrap();
        assert_eq!(database.count("select count(*) from derived_events").await, 0);
        assert_eq!(database.count("select count(*) from merged_calls").await, 0);
        store.close().await;
    }

    async fn any_order_of_events_ends_with_the_same_last_revision(database: Database) {
        let receiver = Receiver::start().await;
        let server = serve(&database, &receiver, ALL).await;
        let orders: Vec<Vec<usize>> = (0..24).map(permutation).collect();
        // One event of each call at a time, so that facts are derived in between.
        for step in 0..4 {
            for (number, order) in orders.iter().enumerate() {
                let mut events = answered(&format!("call-{number}"));
                post(&server, [events.swap_remove(order[step])]).await;
            }
            quiet(&database).await;
        }
        server.stop().await;
        let mut last: BTreeMap<String, (i64, String)> = BTreeMap::new();
        for one in receiver.taken() {
            assert_eq!(one.body["type"], "trtc.call.ended");
            let data = &one.body["data"];
            let id = data["call_id"].as_str().unwrap().to_owned();
            let row = data["call"].to_string().replace(&id, "call");
            let revision = data["revision"].as_i64().unwrap();
            let known = last.entry(id).or_default();
            assert_eq!(revision, known.0 + 1, "revisions of one call come in order");
            *known = (revision, row);
        }
        assert_eq!(last.len(), 24);
        let rows: HashSet<&String> = last.values().map(|(_, row)| row).collect();
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert!(last.values().any(|(revision, _)| *revision > 1));
    }

    async fn a_killed_server_loses_no_derived_event(database: Database) {
        let receiver = Receiver::start().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("my.toml"), destination("one", &receiver.url, ALL)).unwrap();
        let start = || {
            let mut command = program(folder.path());
            command.env("TRTC_STORE__URL", &database.url);
            Serving::start_as(command, &["--config", "my.toml"]).with_store()
        };
        let mut serving = start();
        known(&database, "one").await;
        let client = trtc_callbacks::tencent_api::http_client().build().unwrap();
        let mut calls = HashSet::new();
        for round in 0..3 {
            for number in 0..20 {
                let call = format!("c-{round}-{number}");
                let (command, body) = ended(&call, "NormalEnd", true, 65_000);
                let url = format!("{}/?SdkAppid={APP}&CallbackCommand={command}&contenttype=json", serving.url);
                let answer = client.post(url).body(body.to_string()).send().await.unwrap();
                assert_eq!(answer.text().await.unwrap(), OK);
                calls.insert(call);
            }
            // Before, while or after they are derived: dropping it kills it.
            let derived = "select count(*) from derived_events";
            let some = round * 20;
            eventually("some are derived", || async { round == 0 || database.count(derived).await >= some }).await;
            drop(serving);
            serving = start();
        }
        let came = || -> HashSet<String> {
            let taken = receiver.taken();
            taken.iter().map(|one| one.body["data"]["call_id"].as_str().unwrap().to_owned()).collect()
        };
        eventually("all came", || async { came().len() >= calls.len() }).await;
        assert_eq!(came(), calls);
        quiet(&database).await;
        let ids: HashSet<String> = receiver.taken().iter().map(Received::id).collect();
        assert_eq!(ids.len(), calls.len(), "no fact was derived twice");
        serving.stop();
    }
}

/// The permutation of four of this number.
fn permutation(mut number: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..4).collect();
    let mut order = Vec::new();
    for count in (1..=4).rev() {
        order.push(left.remove(number % count));
        number /= count;
    }
    order
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_one_derives_and_the_other_takes_over() {
    let database = Database::postgres().await;
    let receiver = Receiver::start().await;
    let toml = destination("one", &receiver.url, ALL);
    let first = Server::start_with(with(&database, &toml)).await;
    known(&database, "one").await;
    let mut other = with(&database, &toml);
    let spool = tempfile::tempdir().unwrap();
    other.spool.path = spool.path().join("other.db").to_str().unwrap().into();
    let second = Server::start_with(other).await;
    post(&second, answered("c1")).await;
    receiver.took(1).await;
    first.stop().await;
    post(&second, answered("c2")).await;
    receiver.took(2).await;
    quiet(&database).await;
    let revisions =
        database.texts("select subject || ' ' || revision from derived_events order by 1").await;
    assert_eq!(revisions, ["c1 1", "c2 1"]);
    second.stop().await;
    let released = "select count(*) from derived_progress where holder is null";
    assert_eq!(database.count(released).await, 1, "a server that ends gives its lease back");
}
