//! Escapes that the JSON functions of databases refuse, in bodies that are JSON.

use protocol::Delivery;
use serde_json::Value;

use crate::process::done;
use crate::support::{Database, NOW, Server, eventually, on_both_stores, settings, stored};

const END_CALL: &str = "Call.CallbackAfterEndCall";

/// The end of a call among these accounts, each as JSON text.
fn end_of_call(number: i64, callees: &str) -> String {
    let time = NOW.0 - 5000 - number;
    format!(
        r#"{{"CallbackCommand":"{END_CALL}","CallRecord":{{"CallId":"call-{number}","Caller_Account":"ann","CallResult":"NormalEnd","CalleeList_Account":[{callees}]}},"EventTime":{time}}}"#
    )
}

/// Ends of calls, and what stands in the column `payload` where that is something else.
fn ends() -> Vec<(String, Option<String>)> {
    let end = |number, callees, readable: Option<&str>| {
        (end_of_call(number, callees), readable.map(|callees| end_of_call(number, callees)))
    };
    vec![
        end(1, r#""ann","bob""#, None),
        end(2, r#""ann","\ud83d\ude00\\u0000""#, None),
        end(3, r#""ann","c\u0000t""#, Some(r#""ann","c\ufffdt""#)),
        end(4, r#""ann","\ud83d and \ude00""#, Some(r#""ann","\ufffd and \ufffd""#)),
    ]
}

/// How calls ended, as `docs/query/recipes.md` asks.
const RESULTS: &str =
    "select cast(count(*) as text) || ' ' || (payload->'CallRecord'->>'CallResult') from events
     where command = 'Call.CallbackAfterEndCall' group by payload->'CallRecord'->>'CallResult'";

async fn check_rows(database: &Database) {
    assert_eq!(database.texts(RESULTS).await, ["4 NormalEnd"]);
    let callee = "select payload->'CallRecord'->'CalleeList_Account'->>1 from events where call_id = 'call-3'";
    assert_eq!(database.texts(callee).await, ["c\u{fffd}t"]);
    let as_text = if database.is_postgres() { "payload::text" } else { "payload" };
    let readable: Vec<String> =
        ends().into_iter().map(|(sent, readable)| readable.unwrap_or(sent)).collect();
    let select = format!("select {as_text} from events order by call_id");
    assert_eq!(database.texts(&select).await, readable);
    let as_text =
        if database.is_postgres() { "convert_from(raw, 'UTF8')" } else { "cast(raw as text)" };
    let select = format!("select {as_text} from events where raw is not null order by call_id");
    let exact: Vec<String> =
        ends().into_iter().filter(|(_, it)| it.is_some()).map(|(sent, _)| sent).collect();
    assert_eq!(database.texts(&select).await, exact);
    // What reads rows has what was sent.
    let mut rows = stored(database).await;
    rows.sort_by(|a, b| a.call_id.cmp(&b.call_id));
    for (row, (sent, _)) in rows.iter().zip(ends()) {
        assert_eq!(row.payload.as_bytes(), sent.as_bytes());
        assert_eq!(row.id.get_version_num(), 8);
    }
}

on_both_stores! {
    async fn a_report_reads_events_with_escapes_databases_refuse(database: Database) {
        let server = Server::start(&database).await;
        // Twice: the id is that of the body as it was sent.
        for (sent, _) in ends().into_iter().chain(ends()) {
            server.post_body(END_CALL, sent).await;
        }
        assert_eq!(server.figures().await.outcome("duplicate"), 4);
        check_rows(&database).await;
        let id = stored(&database).await.into_iter().find(|row| row.call_id.as_deref() == Some("call-3")).unwrap().id;
        let (status, text) = server.get_ops(&format!("/api/v1/events/{id}")).await;
        assert_eq!(status, 200);
        assert!(text.contains(r#""c\u0000t""#), "{text}");
    }

    async fn events_with_such_escapes_survive_the_spool_and_a_replay(database: Database) {
        let server = Server::start(&database).await;
        database.execute("alter table events rename to gone").await;
        for (sent, _) in ends() {
            server.post_body(END_CALL, sent).await;
        }
        let kept = server.figures().await;
        assert_eq!(kept.outcome("spooled") + kept.outcome("parked"), 4, "{}", kept.0);
        database.execute("alter table gone rename to events").await;
        eventually("the spool is drained", || async { database.rows().await == 4 }).await;
        check_rows(&database).await;

        let folder = tempfile::tempdir().unwrap();
        let lines = done(folder.path(), &["events", "--json", "--store", &database.url]);
        assert_eq!(lines.lines().count(), 4);
        std::fs::write(folder.path().join("events.jsonl"), &lines).unwrap();
        for line in lines.lines() {
            let sent = Delivery::parse(line).unwrap().bytes().unwrap();
            assert!(ends().iter().any(|(end, _)| end.as_bytes() == sent), "{line}");
        }
        // Each is known again by what was sent.
        let to = ["--to", &server.url, "--store", &database.url];
        let said = done(folder.path(), &[&["replay", "events.jsonl"][..], &to].concat());
        assert_eq!(said, "4 sent: 4 stored\n");
        assert_eq!(database.rows().await, 4);
    }

    async fn an_account_with_such_escapes_is_erased_from_both(database: Database) {
        let server = Server::start(&database).await;
        for (sent, _) in ends() {
            server.post_body(END_CALL, sent).await;
        }
        let folder = tempfile::tempdir().unwrap();
        for account in ["c\u{fffd}t", "\u{fffd} and \u{fffd}", "ann"] {
            done(folder.path(), &["erase-user", account, "--yes", "--store", &database.url]);
        }
        assert_eq!(database.texts(RESULTS).await, ["4 NormalEnd"]);
        // With the account its escapes are gone, and one text is enough again.
        assert_eq!(database.count("select count(*) from events where raw is not null").await, 0);
        for event in stored(&database).await {
            let text = String::from_utf8(event.payload.as_bytes().to_vec()).unwrap();
            assert!(!text.contains("\"ann\"") && !text.contains("u0000t") && !text.contains(r"\ud83d and"), "{text}");
        }
    }

    async fn read_models_have_json_that_databases_read(database: Database) {
        let server = Server::start(&database).await;
        let body = format!(
            r#"{{"CallbackCommand":"Room.CallbackAfterUpdateRoomInfo","RoomId":"r","RoomInfo":{{"CustomInfo":"a\u0000b"}},"EventTime":{}}}"#,
            NOW.0 - 1000
        );
        server.post_body("Room.CallbackAfterUpdateRoomInfo", body).await;
        let said = database.texts("select properties->>'custom_info' from room_changes").await;
        assert_eq!(said, ["a\u{fffd}b"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_both_columns_is_shown_as_it_was_sent() {
    let database = Database::sqlite();
    let server = Server::start_with(settings(&database, &[])).await;
    server.post_body(END_CALL, end_of_call(3, r#""c\u0000t""#)).await;
    let (_, text) = server.get_ops("/api/v1/events?payload=true").await;
    let page: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        page["items"][0]["payload"]["CallRecord"]["CalleeList_Account"][0], "c\0t",
        "{text}"
    );
    let (status, page) =
        server.get_ops(&format!("/events/{}", page["items"][0]["id"].as_str().unwrap())).await;
    assert_eq!(status, 200);
    assert!(page.contains(r"c\u0000t"), "{page}");
}
