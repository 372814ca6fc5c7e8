//! Rooms of the RTC Engine where people look, from events to the API, pages and the command line, on both stores.

use serde_json::{Value, json};

use crate::api::ask;
use crate::process::{done, failed};
use crate::reading::Rows;
use crate::rtc_rooms::{event, post};
use crate::settle::comes;
use crate::support::{APP, NOW, Server, on_both_stores};

/// When it begins.
const T: i64 = NOW.0 - 3_600_000;
const ENTER: &str = r#","Role":20,"TerminalType":2,"UserType":3,"Reason":1"#;

/// A call of two in the room 77: the callee's connection is lost 60 s after the answer, and the media server notices 90 s later.
async fn crashed_call(server: &Server, call: &str) {
    let post_body = async |command: &str, mut body: Value, after: i64| {
        body["CallbackCommand"] = json!(command);
        body["EventTime"] = json!(T + after);
        server.post_body(command, body.to_string()).await;
    };
    let user = |account: &str, status: &str| json!({"User_Account": account, "Status": status});
    let body = json!({
        "CallInfo": {"CallId": call, "CallMediaType": "Video", "RoomId": "77", "RoomIdType": 1},
        "UserList": [user("ann", "Calling"), user("bob", "Waiting")],
    });
    post_body("Call.CallbackAfterStartCall", body, 0).await;
    for (action, after) in [("Accept", 3000), ("Offline", 63_000)] {
        let body = json!({
            "CallId": call,
            "UserList": [user("ann", "Calling")],
            "ChangedUserList": [{"User_Account": "bob", "ActionType": action}],
        });
        post_body("Call.CallbackAfterMemberChanged", body, after).await;
    }
    let second = |after: i64| (T + after) / 1000;
    let body = json!({"CallRecord": {
        "CallId": call, "Caller_Account": "ann", "MediaType": "Video", "CallType": "SingleCall",
        "StartTime": second(0), "AcceptTime": second(3000), "EndTime": second(64_000), "CallResult": "Interrupt",
        "CalleeList_Account": ["ann", "bob"], "RoomId": "77", "RoomIdType": 1,
    }});
    post_body("Call.CallbackAfterEndCall", body, 64_000).await;
    post(
        server,
        &[
            event(101, "77", "ann", 100, ""),
            event(103, "77", "ann", 200, ENTER),
            event(103, "77", "bob", 3100, ENTER),
            event(203, "77", "ann", 3200, ""),
            event(201, "77", "bob", 3300, ""),
            event(104, "77", "ann", 64_100, r#","Role":20,"Reason":1"#),
            event(104, "77", "bob", 154_000, r#","Role":20,"Reason":2"#),
            event(102, "\"77\"", "", 154_005, ""),
        ],
    )
    .await;
}

/// The page at this path, once it is there.
async fn page(server: &Server, path: &str) -> String {
    let (status, html) = server.get_ops(path).await;
    assert_eq!(status, 200, "{path}: {html}");
    html
}

on_both_stores! {
    async fn a_crash_is_explained_beside_the_call(database: Database) {
        let server = Server::start(&database).await;
        crashed_call(&server, "crashed").await;
        comes(&database, "select state from rtc_room_sessions", &["ended"]).await;
        let call = ask(&server, &format!("/calls/{APP}/crashed")).await;
        let rows = call["rtc_comparison"].as_array().unwrap().iter();
        let told: Vec<_> = rows.map(|row| json!([row["account"], row["difference_ms"], row["explanation"]])).collect();
        assert_eq!(told, [json!(["ann", 100, null]), json!(["bob", 90_900, "connection_lost"])]);
        let html = page(&server, &format!("/calls/{APP}/crashed")).await;
        for text in [
            "connection lost; the media server noticed after about 90 s",
            "timed out, probably lost at",
            "class=\"stay lost\"",
            &format!("/rtc-room-sessions/{APP}/77/numeric/{}", T + 100),
        ] {
            assert!(html.contains(text), "{text} is not in {html}");
        }
        let html = page(&server, &format!("/rtc-room-sessions/{APP}/77/numeric/{}", T + 100)).await;
        for text in ["crashed", "microphone", "probably lost at", "own decision", "android, native sdk"] {
            assert!(html.contains(text), "{text} is not in {html}");
        }
        let html = page(&server, &format!("/rtc-room-sessions/{APP}/77?at={}", T + 5000)).await;
        assert!(html.contains("RTC room"), "{html}");
        assert!(page(&server, "/rtc-room-sessions?user=bob").await.contains(">77<"));
        assert!(page(&server, &format!("/users/{APP}/bob")).await.contains("Stays in RTC rooms"));
        server.stop().await;
    }

    async fn the_command_line_lists_and_shows_rtc_rooms(database: Database) {
        let server = Server::start(&database).await;
        crashed_call(&server, "crashed").await;
        comes(&database, "select state from rtc_room_sessions", &["ended"]).await;
        server.stop().await;
        let folder = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| {
            done(folder.path(), &[arguments, &["--store", &database.url]].concat())
        };
        let list = run(&["rtc-rooms", "--user", "bob"]);
        assert!(list.contains("numeric") && list.contains("2 min 33 s"), "{list}");
        let csv = run(&["export", "rtc-rooms"]);
        assert!(csv.starts_with("sdk_app_id,room_id,room_id_kind,session,comm_id"), "{csv}");
        assert_eq!(csv.lines().count(), 2, "{csv}");
        let room = run(&["rtc-room", "77", "--kind", "numeric"]);
        for text in [
            "call      crashed (ended)",
            "2026-11-01T11:00:03.100Z to 2026-11-01T11:02:34.000Z, 2 min 30 s; entered: own decision, exit: timed out",
            "probably lost at 2026-11-01T11:01:04.000Z",
            "camera 2026-11-01T11:00:03.300Z to 2026-11-01T11:02:34.000Z, 2 min 30 s; ended by the exit",
        ] {
            assert!(room.contains(text), "{text} is not in\n{room}");
        }
        let json: Value = serde_json::from_str(&run(&["rtc-room", "77", "--json"])).unwrap();
        assert_eq!(json["stays"].as_array().unwrap().len(), 2);
        assert_eq!(json["publish_intervals"].as_array().unwrap().len(), 2);
        assert_eq!(json["calls"][0]["call_id"], "crashed");
        let said = failed(folder.path(), &["rtc-room", "78", "--store", &database.url], 1);
        assert!(said.contains("there is no room `78`") && said.contains("hint: "), "{said}");
    }

    async fn a_conference_prefers_the_room_named_by_a_text(database: Database) {
        let server = Server::start(&database).await;
        let mut rows = Rows::new(&database);
        let minute = 60_000;
        for (room, session) in [("77", -30 * minute), ("77", -20 * minute), ("78", -30 * minute)] {
            let end = format!(", 0, @{}", session + minute);
            rows.room(room, session, ", enters_missing, ended_at", &end);
        }
        rows.rtc_session(("77", "numeric"), -31 * minute, Some(-18 * minute), [1, 0]);
        rows.rtc_session(("77", "string"), -30 * minute, Some(-29 * minute), [1, 0]);
        rows.rtc_session(("78", "numeric"), -30 * minute, Some(-29 * minute), [1, 0]);
        rows.write().await;
        let kinds = async |room: &str, session: i64| {
            let room = ask(&server, &format!("/room-sessions/{APP}/{room}/{session}")).await;
            let sessions = room["rtc_sessions"].as_array().unwrap();
            sessions.iter().map(|one| one["room_id_kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(kinds("77", -30 * minute).await, ["string"]);
        assert_eq!(kinds("77", -20 * minute).await, ["numeric"]);
        assert_eq!(kinds("78", -30 * minute).await, ["numeric"]);
        let rooms = async |path: &str| {
            let session = ask(&server, &format!("/rtc-room-sessions/{APP}/{path}/latest")).await;
            let rooms = session["room_sessions"].as_array().unwrap();
            rooms.iter().map(|room| room["session"].as_i64().unwrap() / minute).collect::<Vec<_>>()
        };
        assert_eq!(rooms("77/string").await, [-30]);
        assert_eq!(rooms("77/numeric").await, [-20]);
        assert_eq!(rooms("78/numeric").await, [-30]);
        server.stop().await;
        let folder = tempfile::tempdir().unwrap();
        let said = failed(folder.path(), &["rtc-room", "77", "--store", &database.url], 1);
        assert!(said.contains("choose one with `--kind`: numeric, string"), "{said}");
    }

    async fn lanes_are_bounded_and_say_what_they_leave_out(database: Database) {
        let server = Server::start(&database).await;
        let mut rows = Rows::new(&database);
        rows.rtc_session(("big", "string"), -90_000, Some(-1000), [69, 1]);
        rows.rtc_stay(("big", "string", -90_000), (99, "robot"), (-90_000, Some((-1000, 1))));
        for number in 100..169 {
            let account = format!("user{number}");
            let stay = (-80_000 + i64::from(number), Some((-2000, 1)));
            rows.rtc_stay(("big", "string", -90_000), (number, &account), stay);
        }
        rows.write().await;
        let html = page(&server, &format!("/rtc-room-sessions/{APP}/big/string/{}", NOW.0 - 90_000)).await;
        assert_eq!(html.matches("<svg").count(), 50);
        assert!(html.contains("20 more accounts have no lane here"), "{html}");
        // People come before robots; the stays below have all, and what their flags mean.
        assert!(html.contains("user100") && html.contains("a time is not exact to the millisecond"), "{html}");
        server.stop().await;
    }
}
