//! The dashboard over HTTP: pages with data and without, on both stores. What a browser makes of them, `tests/browser`
//! shows.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use protocol::UnixMillis;
use tokio::time::timeout;

use crate::api::endless;
use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, Server, destroy_room, eventually, fixtures, on_both_stores,
    settings,
};

/// An id as somebody might choose it who means harm, or nothing by it.
const HOSTILE: &str = "<script>alert(1)</script>\"'&amp;/../?#%2F\u{202e}\u{7}ü";
/// The same as a segment of a path.
const HOSTILE_PATH: &str =
    "%3Cscript%3Ealert%281%29%3C%2Fscript%3E%22%27%26amp%3B%2F..%2F%3F%23%252F%E2%80%AE%07%C3%BC";
const OTHER_APP: &str = "1400000002";
/// Pages that are there without data.
const PAGES: [&str; 14] = [
    "/",
    "/?span=day",
    "/tail",
    "/calls",
    "/room-sessions",
    "/live-sessions",
    "/recordings",
    "/rtc-tasks",
    "/events",
    "/forward",
    "/anomalies",
    "/settings",
    "/search",
    "/users/1400000001/nobody",
];

/// Fails where a page holds what it must not, whatever the data.
fn check(path: &str, html: &str) {
    assert!(html.starts_with("<!doctype html>"), "{path}: {html}");
    assert_eq!(html.matches("<script").count(), 1, "{path} holds a script of its own: {html}");
    let script = html.split_once("<script ").unwrap().1;
    assert!(script.starts_with("src=\"/assets/"), "{path}: {script}");
    for inline in ["<style", " style=", " onclick=", " onload=", "javascript:"] {
        assert!(!html.contains(inline), "{path} holds `{inline}`: {html}");
    }
    // What a control or a button holds is the text itself; what is shown has no letter that nobody sees.
    let mut shown = html.to_owned();
    for attribute in [" value=\"", " data-copy=\""] {
        let mut parts = shown.split(attribute);
        let first = parts.next().unwrap().to_owned();
        shown = first + &parts.filter_map(|part| Some(part.split_once('"')?.1)).collect::<String>();
    }
    let unseen = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!shown.contains(unseen), "{path}: {shown:?}");
    for attribute in ["src=\"", "href=\""] {
        for value in html.split(attribute).skip(1) {
            // A recorded file is where the vendor says, and learns nothing of the page.
            let (url, behind) = value.split_once('"').unwrap();
            let is_file = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme))
                && behind.starts_with(" rel=\"noreferrer noopener\">");
            let is_ours = url.starts_with(['/', '#', '?']);
            assert!(is_ours || is_file, "{path} leads elsewhere: {value:.80}");
        }
    }
}

/// A page that is there.
async fn page(server: &Server, path: &str) -> String {
    let (status, html) = server.get_ops(path).await;
    assert_eq!(status, 200, "{path}: {html}");
    check(path, &html);
    html
}

fn assert_has(html: &str, texts: &[&str]) {
    for text in texts {
        assert!(html.contains(text), "no `{text}` in {html}");
    }
}

/// The addresses a page leads to.
fn links(html: &str) -> BTreeSet<String> {
    let hrefs = html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let hrefs = hrefs.filter(|href| href.starts_with('/'));
    hrefs.map(|href| href.replace("&#38;", "&").replace("&amp;", "&")).collect()
}

/// Waits until what is read soon after an event is there.
async fn there(server: &Server, path: &str) {
    eventually(path, || async { server.get_ops(path).await.0 == 200 }).await;
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// A call of ours that was answered, with the id of its own.
async fn post_call(server: &Server, call: &str, caller: &str, guest: &str) {
    let (call, caller, guest) = (quoted(call), quoted(caller), quoted(guest));
    let at = |seconds: i64| NOW.0 - 600_000 + seconds * 1000;
    let start = format!(
        r#"{{"CallbackCommand":"Call.CallbackAfterStartCall","CallInfo":{{"CallId":{call},"CallMediaType":"Video","RoomId":"77"}},
        "UserList":[{{"User_Account":{caller},"Status":"Calling"}},{{"User_Account":{guest},"Status":"Waiting"}}],"EventTime":{}}}"#,
        at(0)
    );
    let end = format!(
        r#"{{"CallbackCommand":"Call.CallbackAfterEndCall","CallRecord":{{"CallId":{call},"CallResult":"NormalEnd","CallType":"SingleCall",
        "MediaType":"Video","Caller_Account":{caller},"CalleeList_Account":[{guest}],"RoomId":"77",
        "StartTime":{},"AcceptTime":{},"EndTime":{}}},"EventTime":{}}}"#,
        at(0) / 1000,
        at(5) / 1000,
        at(65) / 1000,
        at(65)
    );
    let accept = format!(
        r#"{{"CallbackCommand":"Call.CallbackAfterMemberChanged","CallId":{call},"ChangedUserList":[{{"User_Account":{guest},
        "ActionType":"Accept"}}],"UserList":[{{"User_Account":{guest},"Status":"Calling"}}],"EventTime":{}}}"#,
        at(5)
    );
    // The end arrives first.
    server.post_body("Call.CallbackAfterEndCall", end).await;
    server.clock.set(NOW.plus(std::time::Duration::from_secs(2)));
    server.post_body("Call.CallbackAfterStartCall", start).await;
    server.post_body("Call.CallbackAfterMemberChanged", accept).await;
}

on_both_stores! {
    async fn an_empty_page_says_what_to_do_next(database: Database) {
        let server = Server::start(&database).await;
        // What no store takes, a page does not hand on.
        for (path, status) in [
            ("/calls/1400000001/a%00b", 404),
            ("/room-sessions/1400000001/a%00b", 404),
            ("/room-sessions/1400000001/a%00b?at=9223372036854775807", 400),
            ("/events?since=9223372036854775807", 400),
        ] {
            assert_eq!(server.get_ops(path).await.0, status, "{path}");
        }
        page(&server, "/users/1400000001/a%00b?after=9223372036854775807.x").await;
        for path in PAGES {
            let html = page(&server, path).await;
            assert_has(&html, &["<main id=\"main\"", "class=\"skip\"", "role=\"search\"", "<h1>"]);
        }
        for path in ["/", "/tail", "/calls", "/room-sessions", "/live-sessions", "/events"] {
            let html = page(&server, path).await;
            let (port, to) = (server.url.rsplit(':').next().unwrap(), format!(" --to {}/", server.url));
            assert_has(&html, &[&format!("http://127.0.0.1:{port}/callback"), "callback-config apply --product all"]);
            assert_has(&html, &[&format!("trtc-callbacks send --all{to}"), &format!("--duration 60s{to}")]);
        }
        server.stop().await;
    }

    async fn every_link_on_every_page_leads_somewhere(database: Database) {
        let server = Server::start(&database).await;
        for fixture in fixtures() {
            server.post(&fixture.delivery).await;
        }
        post_call(&server, HOSTILE, HOSTILE, "bob").await;
        let room = destroy_room(1).replace("\"room-1\"", &quoted(HOSTILE));
        server.post_body(DESTROY_ROOM, room).await;
        there(&server, &format!("/room-sessions/{APP}/{HOSTILE_PATH}")).await;
        // Until then a session may be cut anew, and its page be another one.
        let settled = || async { database.count("select count(*) from settle_queue").await == 0 };
        eventually("every room is settled for good", settled).await;
        let mut seen: BTreeSet<String> = PAGES.iter().map(|path| (*path).to_owned()).collect();
        let mut queue: VecDeque<String> = seen.iter().cloned().collect();
        while let Some(path) = queue.pop_front() {
            let (status, html) = server.get_ops(&path).await;
            assert_eq!(status, 200, "{path}: {html}");
            if ["/api/", "/metrics", "/assets/"].iter().any(|start| path.starts_with(start)) {
                continue;
            }
            check(&path, &html);
            for link in links(&html) {
                if seen.len() < 600 && seen.insert(link.clone()) {
                    queue.push_back(link);
                }
            }
        }
        for kind in ["/calls/", "/room-sessions/", "/events/", "/users/", "/assets/", "/anomalies?"] {
            assert!(seen.iter().any(|path| path.starts_with(kind)), "no link to {kind}: {seen:?}");
        }
        server.stop().await;
    }

    async fn a_call_is_shown_as_a_timeline(database: Database) {
        let server = Server::start(&database).await;
        post_call(&server, "c/1", "alice", "bob").await;
        let html = page(&server, &format!("/calls/{APP}/c%2F1")).await;
        assert_has(&html, &[
            "id=\"lanes\"",
            "waited 11:50:00 to 11:50:05; in the call 11:50:05 to 11:51:05; hung up at 11:51:05",
            "rang 11:50:00 to 11:50:05; in the call 11:50:05 to 11:51:05",
            "<b id=\"talk\">1 min 0 s</b>",
            "b-normal_end\">normal end",
            "out of order",
            "Call.CallbackAfterStartCall",
            "2026-11-01 11:51:05.000",
            "id=\"steps\"",
            "answered",
            "data-copy=\"c/1\"",
        ]);
        assert_eq!(html.matches("data-event=").count(), 3, "{html}");
        let html = page(&server, "/calls?user=bob&state=ended").await;
        assert_has(&html, &["/calls/1400000001/c%2F1", "1 min 0 s"]);
        let html = page(&server, "/calls?user=carol").await;
        assert_has(&html, &["No call fits"]);
        let html = page(&server, &format!("/users/{APP}/bob")).await;
        assert_has(&html, &["incoming", "answered", "alice"]);
        let html = page(&server, "/").await;
        assert_has(&html, &["id=\"tile-last\"", "id=\"today\"", "<h2 id=\"events-h\">Events per minute", "s-call"]);
        server.stop().await;
    }

    async fn user_chosen_text_is_shown_escaped(database: Database) {
        let server = Server::start(&database).await;
        post_call(&server, HOSTILE, HOSTILE, "bob").await;
        for path in [
            format!("/calls/{APP}/{HOSTILE_PATH}"),
            format!("/users/{APP}/{HOSTILE_PATH}"),
            "/calls".to_owned(),
            "/events".to_owned(),
            "/tail".to_owned(),
        ] {
            let html = page(&server, &path).await;
            assert!(html.contains("\\u{202e}\\u{7}ü"), "{path}: {html}");
            assert!(html.contains(&format!("/{HOSTILE_PATH}\"")), "{path}: {html}");
        }
        let path = format!("/search?id={HOSTILE_PATH}");
        let html = page(&server, &path).await;
        assert!(html.contains(&format!("/{HOSTILE_PATH}\"")), "{html}");
        let html = page(&server, &format!("/search?id=no{HOSTILE_PATH}")).await;
        assert_has(&html, &["Nothing has the id"]);
        server.stop().await;
    }

    async fn open_anomalies_are_counted_exactly(database: Database) {
        let server = Server::start(&database).await;
        let (at, other) = if database.is_postgres() { ("now()", "now()") } else { ("1793534400000", "1") };
        for number in 0..20 {
            // Three are over.
            let over = if number < 3 { other } else { "null" };
            database.execute(&format!(
                "insert into anomalies (sdk_app_id, kind, subject, session, happened_at, found_at, resolved_at, detail)
                 values ({APP}, 'call_without_start', 'call-{number}', 0, {at}, {at}, {over}, '')"
            )).await;
        }
        server.post_body(DESTROY_ROOM, destroy_room(1)).await;
        let html = page(&server, "/").await;
        let tile = html.split_once("id=\"tile-anomalies\"").unwrap().1.split_once("</li>").unwrap().0;
        assert!(tile.contains("<b>17</b>"), "{tile}");
        let html = page(&server, &format!("/?app={OTHER_APP}")).await;
        let tile = html.split_once("id=\"tile-anomalies\"").unwrap().1.split_once("</li>").unwrap().0;
        assert!(tile.contains("<b>none</b>"), "{tile}");
        server.stop().await;
    }

    async fn page_api_and_terminal_share_one_order_of_arrival(database: Database) {
        let server = Server::start(&database).await;
        // All but the first arrive within the same ms, and all happen within another.
        server.clock.set(UnixMillis(NOW.0 - 1000));
        for number in 0..8 {
            let body = format!(
                r#"{{"CallbackCommand":"Call.CallbackAfterMemberChanged","CallId":"c","ChangedUserList":[
                {{"User_Account":"u{number}","ActionType":"Accept"}}],"UserList":[],"EventTime":{}}}"#,
                NOW.0 - 2000
            );
            server.post_body("Call.CallbackAfterMemberChanged", body).await;
            server.clock.set(NOW);
        }
        let (_, text) = server.get_ops(&format!("/api/v1/calls/{APP}/c")).await;
        let detail: serde_json::Value = serde_json::from_str(&text).unwrap();
        let of_event = |event: &serde_json::Value| {
            (event["id"].as_str().unwrap().to_owned(), event["arrival"].as_u64().unwrap())
        };
        let api: Vec<_> = detail["timeline"].as_array().unwrap().iter().map(of_event).collect();
        assert_eq!(api.len(), 8);
        let html = page(&server, &format!("/calls/{APP}/c")).await;
        let rows = html.split("<tr data-event=\"").skip(1);
        let order = |row: &str| row.split("class=\"num\">").nth(1)?.split('<').next()?.parse().ok();
        let shown = rows.map(|row| (row[..36].to_owned(), order(row).unwrap()));
        assert_eq!(shown.collect::<Vec<_>>(), api);
        server.stop().await;
        let url = database.url.clone();
        let told = tokio::task::spawn_blocking(move || {
            let folder = tempfile::tempdir().unwrap();
            crate::process::done(folder.path(), &["call", "c", "--store", &url])
        });
        let told = told.await.unwrap();
        let lines = told.lines().skip_while(|line| !line.starts_with("HAPPENED")).skip(1);
        let arrived = lines.filter_map(|line| {
            let place = line.split_whitespace().find(|word| word.ends_with('.') && word.len() == 2)?;
            place.trim_end_matches('.').parse::<u64>().ok()
        });
        let of_api: Vec<_> = api.iter().map(|(_, place)| *place).collect();
        assert_eq!(arrived.collect::<Vec<_>>(), of_api, "{told}");
    }

    async fn an_id_of_dots_has_links_that_work(database: Database) {
        let server = Server::start(&database).await;
        // `~.` is how the id `.` is written in a path, and may itself be an id.
        for (call, caller) in [(".", ".."), ("..", "."), ("~.", "~..")] {
            post_call(&server, call, caller, "bob").await;
        }
        for (number, room) in [".", ".."].into_iter().enumerate() {
            let body = destroy_room(number).replace(&format!("room-{number}"), room);
            server.post_body(DESTROY_ROOM, body).await;
            there(&server, &format!("/room-sessions/{APP}/~{room}")).await;
        }
        for list in ["/calls", "/room-sessions", "/events", "/tail", "/users/1400000001/bob"] {
            for link in links(&page(&server, list).await).iter().filter(|link| link.contains(APP)) {
                let html = page(&server, link).await;
                let of = link.split('?').next().unwrap().split('/').nth(3);
                let Some(segment) = of else { continue };
                let id = segment.strip_prefix('~').unwrap_or(segment);
                assert!(html.contains(&format!("data-copy=\"{id}\"")), "{link}: {html}");
            }
        }
        for (path, name, id) in [
            (format!("/calls/{APP}/~."), "call_id", "."),
            (format!("/calls/{APP}/~.."), "call_id", ".."),
            (format!("/calls/{APP}/~~."), "call_id", "~."),
            (format!("/room-sessions/{APP}/~./latest"), "room_id", "."),
            (format!("/room-sessions/{APP}/~../latest"), "room_id", ".."),
        ] {
            let (status, text) = server.get_ops(&format!("/api/v1{path}")).await;
            assert_eq!(status, 200, "{path}: {text}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()[name], id);
        }
        let (_, text) = server.get_ops(&format!("/api/v1/users/{APP}/~~../calls")).await;
        assert!(text.contains("\"caller\":\"~..\""), "{text}");
        server.stop().await;
    }

    async fn a_live_room_shows_its_gifts_and_who_was_inside(database: Database) {
        let server = Server::start(&database).await;
        for fixture in fixtures() {
            if fixture.name.starts_with("live/") || fixture.name.starts_with("mic/") {
                server.post(&fixture.delivery).await;
            }
        }
        // A battle alone does not make a room: somebody has to be there.
        for fixture in fixtures().iter().filter(|fixture| fixture.name.starts_with("live/end_battle")) {
            let body = fixture.delivery.body.as_ref().unwrap().get();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            let (room, at) = (&body["FromRoomInfo"]["RoomId"], &body["EventTime"]);
            let enter = format!(
                r#"{{"RoomId":{room},"EventType":"Online","EventCause":"Enter","MemberList":[{{"Member_Account":"ann"}}],
                "EventTime":{at}}}"#
            );
            server.post_body("Live.CallbackAfterMemberStateChanged", enter).await;
        }
        // Until then a session may be cut anew between the list and its page, which then is another one.
        let settled = || async { database.count("select count(*) from settle_queue").await == 0 };
        eventually("every room is settled for good", settled).await;
        let mut all = String::new();
        for room in links(&page(&server, "/live-sessions").await).into_iter().filter(|href| href.starts_with("/room-sessions/")) {
            all += &page(&server, &room).await;
        }
        for part in ["statistic", "senders", "gifts", "battles", "visits", "changes", "room-state", "occupancy"] {
            assert!(all.contains(&format!("id=\"{part}\"")), "no session has {part}");
        }
        server.stop().await;
    }

    async fn an_event_names_the_source_of_each_value(database: Database) {
        let server = Server::start(&database).await;
        let body = r#"{"CallbackCommand":"Room.CallbackAfterDestroyRoom","Operator_Account":12345678901234567890123,"RoomId":"r","New":1.10,"EventTime":1793534399000}"#;
        server.post_body(DESTROY_ROOM, body).await;
        server.post_body("Call.CallbackAfterEndCall", "{\"CallRecord\":7,\u{202e}").await;
        let html = page(&server, "/events?family=room").await;
        let event = links(&html).into_iter().find(|href| href.starts_with("/events/")).unwrap();
        let html = page(&server, &event).await;
        assert_has(&html, &[
            "<code>Operator_Account</code>",
            "12345678901234567890123",
            "1.10",
            "<code>EventTime</code>",
            "2026-11-01 11:59:59.000",
            &format!("{}/api/v1{event} | trtc-callbacks replay - --to {}/<", server.ops_url, server.url),
            "a hash of app, command and body",
        ]);
        let html = page(&server, "/events?undecoded=true").await;
        let event = links(&html).into_iter().find(|href| href.starts_with("/events/")).unwrap();
        let html = page(&server, &event).await;
        assert_has(&html, &["id=\"decode-error\"", "no JSON: shown as text", "\\u{202e}"]);
        server.stop().await;
    }

    async fn search_redirects_to_the_only_match(database: Database) {
        let server = Server::start(&database).await;
        post_call(&server, "the-call", "alice", "bob").await;
        let html = page(&server, "/search?id=the-call").await;
        assert_has(&html, &["<title>Call the-call"]);
        let html = page(&server, "/search?id=alice").await;
        assert_has(&html, &["<title>Account alice"]);
        let html = page(&server, "/search?id=nobody").await;
        assert_has(&html, &["Nothing has the id", "value=\"nobody\""]);
        server.stop().await;
    }

    async fn a_missing_page_is_an_explained_404(database: Database) {
        let server = Server::start(&database).await;
        for path in [
            "/nowhere",
            "/calls/1400000001/none",
            "/calls/x/none",
            "/room-sessions/1400000001/none",
            "/room-sessions/1400000001/none/5",
            "/room-sessions/1400000001/none/x",
            "/events/none",
            "/events/00000000-0000-0000-0000-000000000000",
            "/users/x/none",
        ] {
            let (status, html) = server.get_ops(path).await;
            assert_eq!(status, 404, "{path}: {html}");
            check(path, &html);
        }
        let (status, html) = server.get_ops(&format!("/calls/{APP}/{HOSTILE_PATH}")).await;
        assert_eq!(status, 404, "{html}");
        check("hostile", &html);
        server.stop().await;
    }

    async fn the_chosen_app_is_kept_from_page_to_page(database: Database) {
        let mut both = settings(&database, &[]);
        both.apps.push(both.apps[0].clone());
        OTHER_APP.clone_into(&mut both.apps[1].sdk_app_id);
        let server = Server::start_with(both).await;
        post_call(&server, "ours", "alice", "bob").await;
        let body = r#"{"CallbackCommand":"Call.CallbackAfterStartCall","CallInfo":{"CallId":"theirs"},"EventTime":1793534399000}"#;
        let path = format!("/?SdkAppid={OTHER_APP}&CallbackCommand=Call.CallbackAfterStartCall");
        server.post_raw(&path, body.into()).await;
        for list in ["/calls", "/events", "/tail"] {
            let html = page(&server, list).await;
            assert_has(&html, &["<select id=\"f-app\"", "ours", "theirs"]);
            let html = page(&server, &format!("{list}?app={OTHER_APP}")).await;
            assert!(html.contains("theirs") && !html.contains("ours"), "{html}");
        }
        let narrowed = format!("?app={OTHER_APP}");
        for place in [format!("/{narrowed}"), format!("/calls{narrowed}"), format!("/calls/{OTHER_APP}/theirs")] {
            let html = page(&server, &place).await;
            for to in ["/", "/tail", "/calls", "/room-sessions", "/live-sessions", "/recordings", "/rtc-tasks", "/events", "/anomalies"] {
                assert_has(&html, &[&format!("href=\"{to}{narrowed}\"")]);
            }
            assert_has(&html, &[&format!("<input type=\"hidden\" name=\"app\" value=\"{OTHER_APP}\">")]);
        }
        // Figures, too, are of the one app, and lead to its lists.
        let html = page(&server, &format!("/{narrowed}")).await;
        assert_has(&html, &["theirs", &format!("&#38;app={OTHER_APP}\"")]);
        assert!(!html.contains("ours"), "{html}");
        assert!(page(&server, "/").await.contains("<select id=\"f-app\""));
        server.stop().await;

        let server = Server::start(&database).await;
        for path in PAGES {
            assert!(!page(&server, path).await.contains("f-app"), "{path}: there is nothing to choose");
        }
        // Events that are kept of an app from before can still be narrowed to.
        assert_has(&page(&server, &format!("/calls{narrowed}")).await, &["<select id=\"f-app\"", "theirs"]);
        server.stop().await;
    }

    async fn an_account_page_lists_its_calls_and_rooms(database: Database) {
        let server = Server::start(&database).await;
        post_call(&server, "the-call", "alice", "bob").await;
        for number in 0..55 {
            let body = format!(
                r#"{{"RoomId":"show-{number}","EventType":"Online","EventCause":"Enter","MemberList":[{{"Member_Account":"bob"}}],
                "EventTime":{}}}"#,
                NOW.0 - 1000 * (number + 1)
            );
            server.post_body("Live.CallbackAfterMemberStateChanged", body).await;
        }
        let html = page(&server, &format!("/users/{APP}/bob")).await;
        assert_has(&html, &["id=\"user-calls\"", "the-call", "id=\"user-visits\"", "show-0<", "show-49<"]);
        assert_has(&html, &[&format!("/events?app={APP}&#38;user=bob"), &format!("/room-sessions?app={APP}&#38;owner=bob")]);
        let older = links(&html).into_iter().find(|link| link.contains("visits_after=")).unwrap();
        let html = page(&server, &older).await;
        assert_has(&html, &["show-50<", "show-54<", "the-call"]);
        assert!(!html.contains("show-49<"), "{html}");
        let html = page(&server, &format!("/users/{APP}/nobody")).await;
        assert_has(&html, &["No call of this account", "No event says that this account came into a room"]);
        server.stop().await;
    }

    async fn page_reads_are_limited_and_leave_readers_to_the_api(database: Database) {
        let changes = [("TRTC_STORE__READ_TIMEOUT_MS", "12000"), ("TRTC_STORE__READERS_MAX", "2")];
        let server = Server::start_with(settings(&database, &changes)).await;
        server.post_body(DESTROY_ROOM, destroy_room(0)).await;
        database.execute(endless(&database)).await;
        let slow = server.get_ops("/anomalies");
        let refused = async {
            loop {
                // Answered until the other one reads.
                let calls = server.get_ops("/calls").await;
                if calls.0 != 200 {
                    return calls;
                }
            }
        };
        let others = async {
            let calls = timeout(Duration::from_secs(30), refused).await.expect("it never waits");
            // The overview asks for the same, so it waits too, and says so.
            let (overview, events) =
                tokio::join!(server.get_ops("/"), server.get_ops("/api/v1/events"));
            (calls, overview, events)
        };
        let (slow, (calls, overview, events)) = tokio::join!(slow, others);
        assert_eq!(slow.0, 503);
        assert_has(&slow.1, &["The store is slow"]);
        assert_eq!(calls.0, 503);
        assert_has(&calls.1, &["The readers are busy"]);
        assert_eq!(overview.0, 200);
        assert_has(&overview.1, &["The readers of the store are busy or slow", "id=\"outcomes\""]);
        assert_eq!(events.0, 200);
        assert_has(&events.1, &["room-0"]);
        assert_eq!(server.get_ops("/calls").await.0, 200);
        server.stop().await;
    }

    async fn a_list_goes_on_where_its_page_ends(database: Database) {
        let server = Server::start(&database).await;
        for number in 0..60 {
            server.post_body(DESTROY_ROOM, destroy_room(number)).await;
        }
        let mut path = "/events?family=room".to_owned();
        let mut events = BTreeSet::new();
        let mut pages = 0;
        loop {
            let html = page(&server, &path).await;
            pages += 1;
            events.extend(links(&html).into_iter().filter(|href| href.starts_with("/events/")));
            let Some((before, _)) = html.split_once("\" rel=\"next\"") else { break };
            let (_, href) = before.rsplit_once("href=\"").unwrap();
            path = href.replace("&#38;", "&");
        }
        assert_eq!((events.len(), pages), (60, 2));
        server.stop().await;
    }
}

#[tokio::test]
async fn a_secret_callback_path_is_on_no_page() {
    let database = Database::sqlite();
    let path = ("TRTC_SERVER__CALLBACK_PATHS", "/callback/s3cret");
    let server = Server::start_with(settings(&database, &[path])).await;
    let port = server.url.rsplit(':').next().unwrap();
    for path in ["/", "/events", "/settings"] {
        let html = page(&server, path).await;
        assert!(!html.contains("s3cret"), "{path}: {html}");
    }
    assert_has(
        &page(&server, "/").await,
        &[&format!("http://127.0.0.1:{port}/… (the path"), "trtc-callbacks send --all\n"],
    );
    server.stop().await;
}

#[tokio::test]
async fn outcomes_are_in_the_same_order_at_each_render() {
    let server = Server::start(&Database::sqlite()).await;
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
    for query in ["", "SdkAppid=x", "SdkAppid=1400000009"] {
        server.post_raw(&format!("/?{query}"), Vec::new()).await;
    }
    server.post_raw("/nowhere", Vec::new()).await;
    server.client.get(&server.url).send().await.unwrap();
    for _ in 0..5 {
        let html = page(&server, "/").await;
        let table = html.split_once("id=\"outcomes\"").unwrap().1;
        let rows = table.split("<tr><th scope=\"row\">").skip(1);
        let rows: Vec<_> = rows.filter_map(|row| row.split('<').next()).collect();
        let order = [
            "stored",
            "duplicate",
            "spooled",
            "not found",
            "method not allowed",
            "rejected app missing",
            "rejected app malformed",
            "rejected app foreign",
        ];
        let places: Vec<_> = rows
            .iter()
            .map(|row| order.iter().position(|known| known == row).expect("one of those"))
            .collect();
        assert!(rows.len() >= 6 && places.is_sorted(), "{rows:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_invalid_filter_value_is_reported_beside_its_field() {
    let server = Server::start(&Database::sqlite()).await;
    for path in
        ["/calls?since=soon", "/events?app=x", "/room-sessions?until=5.5", "/anomalies?app=-1"]
    {
        let (status, html) = server.get_ops(path).await;
        assert_eq!(status, 400, "{path}");
        check(path, &html);
        assert_has(&html, &["aria-invalid=\"true\"", "role=\"alert\""]);
    }
    server.stop().await;
}

#[tokio::test]
async fn assets_are_cached_immutably_under_their_hash() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let html = page(&server, "/").await;
    let assets: Vec<String> =
        links(&html).into_iter().filter(|href| href.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 2, "{assets:?}");
    for path in assets {
        let url = format!("{}{path}", server.ops_url);
        let answer = server.client.get(&url).send().await.unwrap();
        let header =
            |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("cache-control").unwrap(), "public, max-age=31536000, immutable");
        let policy = header("content-security-policy").unwrap();
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
        let tag = header("etag").unwrap();
        let known = server.client.get(&url).header("if-none-match", tag).send().await.unwrap();
        assert_eq!(known.status(), 304);
        let other = url.replace("/assets/", "/assets/0");
        let other = server.client.get(&other).send().await.unwrap();
        assert_eq!(
            (other.status().as_u16(), &other.headers()["cache-control"]),
            (200, &"no-cache".parse().unwrap())
        );
    }
    assert_eq!(server.get_ops("/assets/0/none.js").await.0, 404);
    server.stop().await;
}

#[tokio::test]
async fn pages_require_a_sign_in() {
    let database = Database::sqlite();
    let server =
        Server::start_with(settings(&database, &[("TRTC_OPS__TOKEN", "a-long-enough-token")]))
            .await;
    for path in ["/", "/calls", "/events/x"] {
        let (status, html) = server.get_ops(path).await;
        assert_eq!(status, 200, "{html}");
        assert!(
            html.contains("action=\"/sign-in\"") && html.contains("href=\"/assets/"),
            "{path}: {html}"
        );
    }
    assert_eq!(server.get_ops("/nowhere").await.0, 404);
    let css = links(&server.get_ops("/").await.1)
        .into_iter()
        .find(|href| href.ends_with("/dashboard.css"));
    assert_eq!(server.get_ops(&css.unwrap()).await.0, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_shows_the_servers_state_without_a_store() {
    let database = Database::postgres().await;
    let server = Server::start(&database).await;
    post_call(&server, "c", "alice", "bob").await;
    database.vanish().await;
    let html = page(&server, "/").await;
    assert_has(
        &html,
        &["what the server itself knows", "id=\"outcomes\"", "<th scope=\"row\">stored</th>"],
    );
    assert_has(&html, &["<b>The store was not read</b>", "Store: takes events."]);
    // Once an event was not taken, it says that. One failure is not enough: the second is that of the drain.
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
    let is_known = || async {
        let figures = server.figures().await;
        figures.value("trtc_store_circuit_open") == 1 && figures.value("trtc_spool_events") == 1
    };
    eventually("the store is known to be away, and the spool is measured", is_known).await;
    let html = page(&server, "/").await;
    assert_has(
        &html,
        &[
            "<b>The store does not answer.</b>",
            "Store: does not take events; they go to the spool.",
        ],
    );
    assert_has(&html, &["1 event waits for the store", "<th scope=\"row\">spooled</th>"]);
    let (status, html) = server.get_ops("/calls").await;
    assert_eq!(status, 503, "{html}");
    check("/calls", &html);
    server.stop().await;
}
