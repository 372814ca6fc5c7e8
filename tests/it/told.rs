//! Calls as the command line lists and tells them, read by the real program from what the real server stored.

use serde_json::{Value, json};

use crate::process::{done, failed};
use crate::support::{APP, Server, eventually, fixtures, on_both_stores};

/// A call that bob takes late and that ends; its start arrives last.
const EVENTS: [(&str, &str); 3] = [
    (
        "Call.CallbackAfterEndCall",
        r#"{"CallbackCommand":"Call.CallbackAfterEndCall","CallRecord":{"CallId":"c/1","Caller_Account":"alice",
        "MediaType":"Video","CallType":"SingleCall","StartTime":1793534300,"EndTime":1793534372,"AcceptTime":1793534312,
        "CallResult":"NormalEnd","CalleeList_Account":["alice","bob"]},"EventTime":1793534372500}"#,
    ),
    (
        "Call.CallbackAfterMemberChanged",
        r#"{"CallbackCommand":"Call.CallbackAfterMemberChanged","CallId":"c/1",
        "UserList":[{"User_Account":"alice","Status":"Calling"},{"User_Account":"bob","Status":"Calling"}],
        "ChangedUserList":[{"User_Account":"bob","ActionType":"Accept"}],"EventTime":1793534312250}"#,
    ),
    (
        "Call.CallbackAfterStartCall",
        r#"{"CallbackCommand":"Call.CallbackAfterStartCall","CallInfo":{"CallId":"c/1","CallMediaType":"Video"},
        "UserList":[{"User_Account":"alice","Status":"Calling"},{"User_Account":"bob","Status":"Waiting"}],
        "EventTime":1793534300125}"#,
    ),
];

on_both_stores! {
    async fn a_call_is_listed_and_shown_in_order_of_time(database: Database) {
        let server = Server::start(&database).await;
        for (command, body) in EVENTS {
            server.post_body(command, body).await;
        }
        server.stop().await;
        let url = database.url.clone();
        tokio::task::spawn_blocking(move || {
            let folder = tempfile::tempdir().unwrap();
            let listed = done(folder.path(), &["calls", "--store", &url]);
            let row = listed.lines().nth(1).unwrap();
            for cell in ["c/1", "ended", "normal_end", "1 min 00 s", "video", "alice"] {
                assert!(row.contains(cell), "{cell} is not in {row}");
            }
            let told = done(folder.path(), &["call", "c/1", "--store", &url]);
            assert!(told.contains("state     ended: normal_end\n"), "{told}");
            let places: Vec<_> = ["alice starts a call (video), ringing bob", "bob answers", "the call ends"]
                .iter()
                .map(|said| told.find(said).unwrap_or_else(|| panic!("{said} is not in {told}")))
                .collect();
            assert!(places.is_sorted(), "{told}");
            let answered = told.lines().find(|line| line.contains("bob answers")).unwrap();
            assert!(answered.contains("12.1 s") && answered.contains("2."), "{answered}");
            let all: Value = serde_json::from_str(&done(folder.path(), &["call", "c/1", "--json", "--store", &url]))
            .unwrap();
            assert_eq!(all["members"].as_array().unwrap().len(), 2);
            assert_eq!(all["events"].as_array().unwrap().len(), 3);
        })
        .await
        .unwrap();
    }

    async fn a_call_says_whom_it_rang_how_long_and_who_hung_up(database: Database) {
        let server = Server::start(&database).await;
        for (command, body) in EVENTS {
            server.post_body(command, body).await;
        }
        let left = r#"{"CallbackCommand":"Call.CallbackAfterMemberChanged","CallId":"c/1",
            "ChangedUserList":[{"User_Account":"bob","ActionType":"Hangup"}],"EventTime":1793534372300}"#;
        server.post_body("Call.CallbackAfterMemberChanged", left).await;
        let ringing = r#"{"CallbackCommand":"Call.CallbackAfterStartCall","CallInfo":{"CallId":"c/2","CallMediaType":"Audio"},
            "UserList":[{"User_Account":"eve","Status":"Calling"},{"User_Account":"kim","Status":"Waiting"},
            {"User_Account":"lee","Status":"Waiting"}],"EventTime":1793534395000}"#;
        server.post_body("Call.CallbackAfterStartCall", ringing).await;

        let (_, list) = server.get_ops("/api/v1/calls").await;
        let list: Value = serde_json::from_str(&list).unwrap();
        let facts: Vec<Value> = list["items"].as_array().unwrap().iter().map(|call| {
            json!([call["call_id"], call["callees"], call["participants"], call["ring_seconds"], call["hung_up_by"]])
        }).collect();
        assert_eq!(facts, [
            json!(["c/2", ["kim", "lee"], 3, null, null]),
            json!(["c/1", ["bob"], 2, 12, "bob"]),
        ]);
        // Also where the calls are those of an account.
        let (_, of_bob) = server.get_ops("/api/v1/calls?user=bob").await;
        let of_bob: Value = serde_json::from_str(&of_bob).unwrap();
        assert_eq!(of_bob["items"], json!([list["items"][1]]));
        let (_, table) = server.get_ops("/api/v1/calls?format=csv").await;
        assert!(table.contains(r#""[""kim"",""lee""]",3,"#), "{table}");

        let summary = "alice video-called bob; talked for 1 min 0 s, bob hung up first";
        let (_, call) = server.get_ops(&format!("/api/v1/calls/{APP}/c%2F1")).await;
        let call: Value = serde_json::from_str(&call).unwrap();
        assert_eq!(call["summary"], summary);
        let (_, page) = server.get_ops(&format!("/calls/{APP}/c%2F1")).await;
        assert!(page.contains(&format!("{summary}.")), "{page}");
        let (_, page) = server.get_ops("/calls").await;
        assert!(page.contains(">kim</bdi>") && page.contains(">lee</bdi>") && page.contains("<td class=\"num\">12 s</td>"), "{page}");
        server.stop().await;

        let url = database.url.clone();
        tokio::task::spawn_blocking(move || {
            let folder = tempfile::tempdir().unwrap();
            let told = done(folder.path(), &["call", "c/1", "--store", &url]);
            assert!(told.starts_with(&format!("{summary}\n\n")), "{told}");
            let listed = done(folder.path(), &["calls", "--store", &url]);
            let row = listed.lines().nth(1).unwrap();
            assert!(row.contains("  eve     kim, lee  ringing"), "{listed}");
        })
        .await
        .unwrap();
    }

    async fn an_unknown_call_id_is_an_error_with_a_hint(database: Database) {
        Server::start(&database).await.stop().await;
        let url = database.url.clone();
        tokio::task::spawn_blocking(move || {
            let folder = tempfile::tempdir().unwrap();
            let said = failed(folder.path(), &["call", "nope", "--store", &url], 1);
            assert!(said.contains("there is no call `nope`"), "{said}");
            assert!(said.contains("hint: `trtc-callbacks calls` lists"), "{said}");
            let said = failed(folder.path(), &["room", "nope", "--store", &url], 1);
            assert!(said.contains("there is no room `nope`"), "{said}");
            let said = failed(folder.path(), &["live", "nope", "--store", &url], 1);
            assert!(said.contains("there is no live room `nope`"), "{said}");
            assert!(said.contains("hint: `trtc-callbacks lives` lists"), "{said}");
        })
        .await
        .unwrap();
    }

    async fn an_export_has_the_whole_list(database: Database) {
        let server = Server::start(&database).await;
        for (command, body) in EVENTS {
            server.post_body(command, body).await;
        }
        for fixture in fixtures().iter().filter(|fixture| fixture.name.starts_with("live/create_room")) {
            server.post(&fixture.delivery).await;
        }
        let list = async |name: &str| server.get_ops(&format!("/api/v1/{name}?format=ndjson")).await.1;
        // Until then a session may be cut anew.
        let settled = || async { database.count("select count(*) from settle_queue").await == 0 };
        eventually("every room is settled for good", settled).await;
        let (told, sessions) = (list("calls").await, list("live-sessions").await);
        server.stop().await;
        let url = database.url.clone();
        tokio::task::spawn_blocking(move || {
            let folder = tempfile::tempdir().unwrap();
            let export = |more: &[&str]| {
                done(folder.path(), &[&["export"], more, &["--store", &url]].concat())
            };
            assert_eq!(export(&["calls", "--format", "ndjson"]), told);
            let table = export(&["calls"]);
            let head = table.lines().next().unwrap();
            assert!(head.starts_with("sdk_app_id,call_id,media,"), "{head}");
            assert!(table.lines().nth(1).unwrap().contains(",c/1,video,single,alice,"), "{table}");
            assert_eq!(export(&["calls", "--user", "bob", "--state", "ended", "--format", "ndjson"]), told);
            assert_eq!(export(&["calls", "--user", "eve"]), "");
            assert_eq!(export(&["events", "--call", "c/1"]).lines().count(), 1 + EVENTS.len());
            assert_eq!(export(&["lives", "--format", "ndjson"]), sessions);
            assert!(sessions.contains("\"gift_coins\":"), "{sessions}");
            assert!(export(&["rooms", "--family", "live"]).lines().count() > 1);
            assert_eq!(export(&["rooms", "--family", "room"]), "");
            assert_eq!(export(&["anomalies", "--kind", "silence"]), "");
            // The same live rooms as a list, and one of them.
            assert_eq!(done(folder.path(), &["lives", "--json", "--limit", "500", "--store", &url]), sessions);
            let listed = done(folder.path(), &["lives", "--store", &url]);
            assert!(listed.lines().next().unwrap().contains("COINS"), "{listed}");
            let live: Value = serde_json::from_str(sessions.lines().next().unwrap()).unwrap();
            let (id, session) = (live["room_id"].as_str().unwrap(), live["session"].to_string());
            assert!(listed.contains(id), "{listed}");
            let shown = done(folder.path(), &["live", id, "--session", &session, "--store", &url]);
            assert!(shown.contains("family    live\n") && shown.contains("\ngifts     "), "{shown}");
        })
        .await
        .unwrap();
    }
}
