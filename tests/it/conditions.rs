//! Conditions on lists: one set of names and forms in the API, on pages and on the command line, and what is none of them
//! is refused everywhere.

use std::collections::BTreeSet;

use crate::api_schema::Description;
use crate::process::{done, failed};
use crate::support::{APP, DESTROY_ROOM, Database, NOW, Server, destroy_room, on_both_stores};

/// Lists that are there both as pages and in the API.
const LISTS: [&str; 7] = [
    "/events",
    "/calls",
    "/room-sessions",
    "/live-sessions",
    "/recordings",
    "/rtc-tasks",
    "/anomalies",
];

/// How the command line calls them.
const COMMANDS: [&str; 7] =
    ["events", "calls", "rooms", "lives", "recordings", "rtc-tasks", "anomalies"];

/// Queries that do not do: of which list, and what is said of each, by the API and on the page.
const WRONG: [(&str, &str, &str); 15] = [
    ("/calls", "account=x", "unknown parameter `account`"),
    ("/calls", "resul=reject", "did you mean `result`? known parameters: state, result"),
    ("/calls", "user=x&user=y", "duplicate parameter `user`"),
    ("/calls", "result=foo", "expected one of normal_end, not_answer, reject"),
    ("/calls", "state=endet", "did you mean `ended`? expected one of ringing, active, ended"),
    ("/calls", "media=smell", "expected one of audio, video"),
    ("/events", "command=EndCall", "did you mean Call.CallbackAfterEndCall"),
    ("/events", "family=cal", "did you mean `call`? expected one of call, room"),
    ("/events", "undecoded=maybe", "expected true or false"),
    ("/room-sessions", "state=ringing", "expected one of open, ended, overdue"),
    ("/live-sessions", "family=live", "unknown parameter `family`"),
    ("/recordings", "state=done", "expected one of started, recording, stopped"),
    ("/rtc-tasks", "kind=rely", "did you mean `relay`? expected one of relay, ingest"),
    ("/anomalies", "kind=noise", "expected one of call_without_end, call_without_start"),
    ("/anomalies", "state=open", "unknown parameter `state`"),
];

on_both_stores! {
    async fn an_unknown_condition_is_refused_by_api_and_page(database: Database) {
        let server = Server::start(&database).await;
        for (list, query, expected) in WRONG {
            let (status, text) = server.get_ops(&format!("/api/v1{list}?{query}")).await;
            assert!(status == 400 && text.contains(expected), "{list}?{query}: {status}: {text}");
            let (status, html) = server.get_ops(&format!("{list}?{query}")).await;
            assert_eq!(status, 400, "{list}?{query}");
            assert!(html.contains(expected) && html.contains("role=\"alert\""), "{list}?{query}: {html}");
            assert!(html.contains("<form class=\"filters\""), "{list}?{query} keeps the form: {html}");
        }
        for list in LISTS {
            let (status, text) = server.get_ops(&format!("/api/v1{list}?since=1h&until=2h")).await;
            assert!(status == 400 && text.contains("later than `until`"), "{list}: {status}: {text}");
            let (status, html) = server.get_ops(&format!("{list}?since=1h&until=2h")).await;
            assert_eq!(status, 400, "{list}");
            assert!(html.contains("later than `until`"), "{list}: {html}");
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

/// The values of an attribute, or the words behind a mark, in the order of the text.
fn words_behind(text: &str, mark: &str) -> BTreeSet<String> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    let parts = text.split(mark).skip(1);
    parts.map(|part| part.chars().take_while(|letter| is_word(*letter)).collect()).collect()
}

#[tokio::test]
async fn each_list_has_the_same_conditions_in_api_form_and_command() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let description = Description::of(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let without = |names: BTreeSet<String>, others: &[&str]| {
        names.into_iter().filter(|name| !others.contains(&name.as_str())).collect::<BTreeSet<_>>()
    };
    for (list, command) in LISTS.into_iter().zip(COMMANDS) {
        let of_api = description.parameters(&format!("/api/v1{list}")).into_iter().collect();
        // How much is given, in which form, and in which order.
        let arranged =
            ["limit", "cursor", "format", "payload", "order", "after", "wait", "received_since"];
        let of_api = without(of_api, &arranged);
        // A server of one app does not ask for it.
        let (_, html) = server.get_ops(&format!("{list}?app={APP}")).await;
        let form = html.split_once("<form class=\"filters\"").unwrap().1;
        let form = form.split_once("</form>").unwrap().0;
        assert_eq!(words_behind(form, " name=\""), of_api, "{list}");
        let help = done(folder.path(), &["export", command, "--help"]);
        let options = words_behind(&help, "      --");
        assert_eq!(without(options, &["format", "store", "config"]), of_api, "{list}: {help}");
        if command != "anomalies" {
            let help = done(folder.path(), &[command, "--help"]);
            let options = words_behind(&help, "      --");
            let others = ["json", "store", "config"];
            assert_eq!(without(options, &others), of_api, "{list}: {help}");
        }
    }
    server.stop().await;
}

fn terminal(url: &str) {
    let folder = tempfile::tempdir().unwrap();
    let store = ["--store", url];
    let listed = done(folder.path(), &[&["calls", "--user", "ann"][..], &store].concat());
    assert!(listed.contains("of-ann") && !listed.contains("of-ben"), "{listed}");
    let since = ["calls", "--since", "2026-11-01T10:00", "--until", "2026-11-02"];
    let listed = done(folder.path(), &[&since[..], &store].concat());
    assert!(listed.contains("of-ann") && !listed.contains("of-ben"), "{listed}");
    for (list, query, expected) in WRONG {
        let (name, value) = query.split_once('=').unwrap();
        // Names are checked by the parser of the command line.
        if !expected.contains("parameter") {
            let list = LISTS.iter().position(|it| *it == list).unwrap();
            let (name, value) = (format!("--{name}"), value.to_owned());
            let text = failed(folder.path(), &["export", COMMANDS[list], &name, &value], 2);
            assert!(text.contains(expected), "{query}: {text}");
        }
    }
    for (arguments, code, said) in [
        (&["calls", "--result", "foo"][..], 2, "unknown value of `result`\nhint: expected one of"),
        (&["rooms", "--since", "soon"], 2, "`since` is not a valid time\nhint: give 2026-01-31"),
        (&["events", "--app", "x"], 2, "`app` is not a valid SDKAppID\nhint: give its digits"),
        (&["events", "--since", "1h", "--until", "2h"], 1, "later than `until`"),
        (&["rooms", "--since", "1h", "--until", "2h"], 1, "hint: give the earlier one"),
    ] {
        let text = failed(folder.path(), &[arguments, &store].concat(), code);
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}
