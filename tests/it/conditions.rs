//! Conditions on lists: one set of names and forms in the API, on pages and on the command line, and what is none of them
//! is refused everywhere.

use crate::process::{done, failed};
use crate::support::{APP, DESTROY_ROOM, NOW, Server, destroy_room, on_both_stores};

/// Lists that are there both as pages and in the API.
const LISTS: [&str; 5] = ["/events", "/calls", "/room-sessions", "/live-sessions", "/anomalies"];

/// Queries that do not do: of which list, and what is said of each, by the API and on the page.
const WRONG: [(&str, &str, &str, &str); 12] = [
    ("/calls", "account=x", "unknown parameter `account`", "Unknown parameter “account”"),
    ("/calls", "user=x&user=y", "duplicate parameter `user`", "Duplicate parameter “user”"),
    ("/calls", "result=foo", "normal_end, not_answer, reject", "not one of normal_end, not_answer"),
    ("/calls", "state=over", "ringing, active, ended", "not one of ringing, active"),
    ("/calls", "media=smell", "audio, video", "not one of audio, video"),
    (
        "/events",
        "command=EndCall",
        "did you mean Call.CallbackAfterEndCall",
        "did you mean Call.CallbackAfterEndCall",
    ),
    ("/events", "family=cal", "call, room", "not one of call, room"),
    ("/events", "undecoded=maybe", "true or false", "not one of true, false"),
    ("/room-sessions", "state=ringing", "open, ended, overdue", "not one of open, ended"),
    ("/live-sessions", "span=day", "unknown parameter `span`", "Unknown parameter “span”"),
    (
        "/anomalies",
        "kind=noise",
        "call_without_end, call_without_start",
        "not one of call_without_end",
    ),
    ("/anomalies", "state=open", "unknown parameter `state`", "Unknown parameter “state”"),
];

on_both_stores! {
    async fn what_is_no_condition_is_refused_by_api_and_page(database: Database) {
        let server = Server::start(&database).await;
        for (list, query, of_api, on_page) in WRONG {
            let (status, text) = server.get_ops(&format!("/api/v1{list}?{query}")).await;
            assert!(status == 400 && text.contains(of_api), "{list}?{query}: {status}: {text}");
            let (status, html) = server.get_ops(&format!("{list}?{query}")).await;
            assert_eq!(status, 400, "{list}?{query}");
            assert!(html.contains(on_page) && html.contains("role=\"alert\""), "{list}?{query}: {html}");
            assert!(html.contains("<form class=\"filters\""), "{list}?{query} keeps the form: {html}");
        }
        for list in LISTS {
            let (status, text) = server.get_ops(&format!("/api/v1{list}?since=1h&until=2h")).await;
            assert!(status == 400 && text.contains("later than `until`"), "{list}: {status}: {text}");
            let (status, html) = server.get_ops(&format!("{list}?since=1h&until=2h")).await;
            assert_eq!(status, 400, "{list}");
            assert!(html.contains("“From” is later than “Until”"), "{list}: {html}");
            assert!(html.contains("value=\"1h\"") && html.contains("value=\"2h\""), "{list}: {html}");
        }
        let (status, text) = server.get_ops("/api/v1/statistics?since=1h&until=2h").await;
        assert!(status == 400 && text.contains("later than `until`"), "{status}: {text}");
        for page in [
            "/?hours=3",
            "/?span=week",
            "/tail?since=2h",
            "/settings?x=1",
            "/search?q=x",
            &format!("/users/{APP}/ann?outcome=won"),
            &format!("/calls/{APP}/c?user=x"),
            &format!("/room-sessions/{APP}/r?at=soon"),
        ] {
            let (status, html) = server.get_ops(page).await;
            assert!(status == 400 && html.starts_with("<!doctype html>"), "{page}: {status}: {html}");
        }
        server.stop().await;
    }

    async fn the_same_conditions_work_in_api_page_and_terminal(database: Database) {
        let server = Server::start(&database).await;
        for (number, user) in ["ann", "ben"].into_iter().enumerate() {
            let body = format!(
                r#"{{"CallbackCommand":"Call.CallbackAfterStartCall","CallInfo":{{"CallId":"of-{user}","CallMediaType":"Video"}},
                "UserList":[{{"User_Account":"{user}","Status":"Calling"}}],"EventTime":{}}}"#,
                // An hour ago, and three.
                NOW.0 - 3_600_000 - 7_200_000 * i64::try_from(number).unwrap()
            );
            server.post_body("Call.CallbackAfterStartCall", body).await;
        }
        server.post_body(DESTROY_ROOM, destroy_room(1)).await;
        let since = "2026-11-01T10:00";
        for (list, query, there, missing) in [
            ("/calls", "user=ann", "of-ann", "of-ben"),
            ("/calls", "since=2h", "of-ann", "of-ben"),
            ("/calls", &format!("since={since}"), "of-ann", "of-ben"),
            ("/calls", &format!("since={}", NOW.0 - 7_200_000), "of-ann", "of-ben"),
            ("/calls", "until=2026-11-01T10:00:00Z&result=", "of-ben", "of-ann"),
            ("/events", "since=2h&command=Call.CallbackAfterStartCall", "of-ann", "of-ben"),
            ("/events", "undecoded=no&family=call&platform=", "of-ann", "room-1"),
            ("/events", "command=Live.CallbackAfterSomethingNew", "", "of-ann"),
        ] {
            for path in [format!("/api/v1{list}?{query}"), format!("{list}?{query}")] {
                let (status, text) = server.get_ops(&path).await;
                let fits = text.contains(there) && !text.contains(missing);
                assert!(status == 200 && fits, "{path}: {status}: {text}");
            }
        }
        // What the form holds leads to the same list again.
        let (_, html) = server.get_ops("/calls?since=2h&user=ann").await;
        assert!(html.contains("value=\"2h\"") && html.contains("value=\"ann\""), "{html}");
        server.stop().await;
        let url = database.url.clone();
        tokio::task::spawn_blocking(move || terminal(&url)).await.unwrap();
    }
}

fn terminal(url: &str) {
    let folder = tempfile::tempdir().unwrap();
    let store = ["--store", url];
    let listed = done(folder.path(), &[&["calls", "--user", "ann"][..], &store].concat());
    assert!(listed.contains("of-ann") && !listed.contains("of-ben"), "{listed}");
    let since = ["calls", "--since", "2026-11-01T10:00", "--until", "2026-11-02"];
    let listed = done(folder.path(), &[&since[..], &store].concat());
    assert!(listed.contains("of-ann") && !listed.contains("of-ben"), "{listed}");
    for (arguments, code, said) in [
        (&["calls", "--result", "foo"][..], 2, "normal_end, not_answer, reject"),
        (&["export", "anomalies", "--kind", "noise"], 2, "call_without_end, call_without_start"),
        (&["events", "--command", "EndCall"], 1, "did you mean Call.CallbackAfterEndCall"),
        (&["events", "--since", "1h", "--until", "2h"], 1, "later than `--until`"),
        (&["rooms", "--since", "1h", "--until", "2h"], 1, "hint: give the earlier one"),
    ] {
        let text = failed(folder.path(), &[arguments, &store].concat(), code);
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}
