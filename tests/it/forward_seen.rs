//! How forwarding is seen: the API, the pages, the anomalies, `doctor`, and the figures of the feed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::ask;
use crate::doctor::examined;
use crate::forward_receiver::{Receiver, SECRET};
use crate::forwarding::{destination, exceptions, in_state, known, paused, post, resume, with};
use crate::process::{done, run};
use crate::support::{Database, Server, eventually, on_both_stores, settings};

/// A server whose destination `billing` gives up what is of rooms 3 and 13, at once, and takes all else.
async fn with_dead_letters(database: &Database, receiver: &Receiver) -> Server {
    receiver.answer(|one| if one.text.contains("3\"") { 400 } else { 200 });
    let more = "retry_schedule_s = [1]\norder_wait_s = 0\nrooms = ['room-*']";
    let server =
        Server::start_with(with(database, &destination("billing", &receiver.url, more))).await;
    known(database, "billing").await;
    post(&server, 0..5).await;
    post(&server, 13..14).await;
    eventually("they are given up", || async { exceptions(database, "dead").await == 2 }).await;
    eventually("all is sent", || async {
        let one = &ask(&server, "/destinations").await["items"][0];
        one["backlog_events"] == 0 && one["waiting"] == 0
    })
    .await;
    server
}

async fn page(server: &Server, path: &str) -> String {
    let (status, html) = server.get_ops(path).await;
    assert_eq!(status, 200, "{path}: {html}");
    html
}

/// The state of an event at the destinations, as its page says.
async fn way(server: &Server, event: &str) -> String {
    let html = page(server, &format!("/events/{event}")).await;
    let Some((_, table)) = html.split_once("id=\"ways\"") else { return String::new() };
    table.split_once("</table>").unwrap().0.to_owned()
}

async fn event_of(server: &Server, room: &str) -> String {
    let found = ask(server, &format!("/events?room={room}")).await;
    found["items"][0]["id"].as_str().unwrap().to_owned()
}

/// The anomalies of destinations, by whether they are resolved.
async fn anomalies(server: &Server, resolved: bool) -> Vec<Value> {
    let path = format!("/anomalies?kind=forwarding_failing&resolved={resolved}");
    ask(server, &path).await["items"].as_array().unwrap().clone()
}

/// What `doctor` says of forwarding: level and text.
fn doctors(folder: &std::path::Path, arguments: &[&str]) -> Vec<(String, String)> {
    let (_, checks) = examined(folder, arguments);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = checks.iter().filter(|check| check["what"] == "forwarding");
    of.map(|check| (text(&check["level"]), text(&check["text"]))).collect()
}

on_both_stores! {
    async fn the_api_lists_destinations_and_exceptions(database: Database) {
        let receiver = Receiver::start().await;
        let server = with_dead_letters(&database, &receiver).await;
        let all = ask(&server, "/destinations").await;
        let one = &all["items"][0];
        assert_eq!((&one["name"], &one["state"], &one["kind"]), (&json!("billing"), &json!("running"), &json!("http")));
        assert_eq!((&one["is_configured"], &one["is_served"], &one["is_defined_differently"]), (&json!(true), &json!(true), &json!(false)));
        assert_eq!((&one["dead"], &one["waiting"], &one["skipped"]), (&json!(2), &json!(0), &json!(0)));
        let url = receiver.url.trim_end_matches("/hook");
        assert_eq!(one["url"], url, "without its path");
        assert!(!all.to_string().contains("hook") && !all.to_string().contains(SECRET));

        let path = "/destinations/billing/exceptions";
        let both = ask(&server, path).await;
        let items = both["items"].as_array().unwrap();
        assert_eq!(items.len(), 2);
        let first = &items[0];
        assert_eq!((&first["state"], &first["attempts"], &first["last_status"]), (&json!("dead"), &json!(2), &json!(400)));
        assert_eq!((&first["command"], &first["next_at"]), (&json!("Room.CallbackAfterDestroyRoom"), &Value::Null));
        assert_eq!(first["last_error"], "answered 400: an answer");
        // Page by page.
        let half = ask(&server, &format!("{path}?limit=1")).await;
        let next = half["next"].as_str().unwrap();
        let rest = ask(&server, &format!("{path}?limit=1&cursor={next}")).await;
        assert_eq!((&half["items"][0], &rest["items"][0], &rest["next"]), (first, &items[1], &Value::Null));
        assert_eq!(ask(&server, &format!("{path}?state=dead")).await, both);
        assert_eq!(ask(&server, &format!("{path}?state=waiting")).await["items"], json!([]));
        for (path, status) in [("/destinations/nobody/exceptions", 404), ("/destinations/billing/exceptions?state=gone", 400)] {
            assert_eq!(server.get_ops(&format!("/api/v1{path}")).await.0, status, "{path}");
        }
        let csv = server.get_ops(&format!("/api/v1{path}?format=csv")).await.1;
        assert_eq!(csv.lines().count(), 3, "{csv}");
        server.stop().await;
    }

    async fn the_pages_show_what_is_wrong_and_what_to_do(database: Database) {
        let receiver = Receiver::start().await;
        let server = with_dead_letters(&database, &receiver).await;
        let list = page(&server, "/forward").await;
        assert!(list.contains("href=\"/forward/billing\"") && list.contains("2 dead letters"), "{list}");
        assert!(list.contains("trtc-callbacks forward retry billing --dead"), "{list}");
        // What it answers is text.
        let hostile = "update delivery_exceptions set last_error = 'answered 400: <script>alert(1)</script>'";
        database.execute(hostile).await;
        let one = page(&server, "/forward/billing").await;
        let event = event_of(&server, "room-3").await;
        assert!(one.contains(&format!("trtc-callbacks forward retry billing --event {event}")), "{one}");
        assert!(one.contains(&format!("href=\"/events/{event}\"")), "{one}");
        assert!(one.contains("alert(1)") && !one.contains("<script>"), "{one}");
        assert!(one.contains("client error") && one.contains("at most "), "{one}");
        assert!(!one.contains("/hook") && !list.contains("/hook"));
        assert!(page(&server, "/forward/billing?state=waiting").await.contains("None is in this state"));
        assert_eq!(server.get_ops("/forward/nobody").await.0, 404);
        assert!(page(&server, "/").await.contains("1 of 1 run"));
        server.stop().await;
    }

    async fn an_event_says_which_destinations_have_it(database: Database) {
        let receiver = Receiver::start().await;
        let before = Server::start(&database).await;
        post(&before, 20..21).await;
        let old = event_of(&before, "room-20").await;
        assert_eq!(way(&before, &old).await, "", "there is no destination");
        before.stop().await;
        let server = with_dead_letters(&database, &receiver).await;
        assert!(way(&server, &old).await.contains("b-before"));
        let sent = event_of(&server, "room-1").await;
        assert!(way(&server, &sent).await.contains("b-delivered"));
        let dead = event_of(&server, "room-3").await;
        let said = way(&server, &dead).await;
        assert!(said.contains("b-dead") && said.contains("a dead letter, 2 attempts failed: answered 400: an answer"), "{said}");
        let body = r#"{"CallbackCommand":"Room.CallbackAfterDestroyRoom","Operator_Account":"u","RoomId":"other","EventTime":1793534399000}"#;
        server.post_body("Room.CallbackAfterDestroyRoom", body).await;
        let other = event_of(&server, "other").await;
        assert!(way(&server, &other).await.contains("not for this destination: its rooms leave it out"));
        // Nobody sends it now.
        done(tempfile::tempdir().unwrap().path(), &["forward", "pause", "billing", "--store", &database.url]);
        paused(&server, "billing").await;
        post(&server, 7..8).await;
        let waits = event_of(&server, "room-7").await;
        eventually("it is in the backlog", || async {
            let said = way(&server, &waits).await;
            said.contains("b-behind") && said.contains("the destination has been paused since")
        }).await;
        server.stop().await;
    }

    async fn a_destination_that_does_not_run_is_an_anomaly(database: Database) {
        let receiver = Receiver::start().await;
        receiver.answer(|_| 503);
        let mut settings = with(&database, &destination("billing", &receiver.url, ""));
        settings.gaps.forwarding_failing_after_s = 1;
        let server = Server::start_with(settings).await;
        known(&database, "billing").await;
        post(&server, 0..2).await;
        in_state(&database, "billing", "failing").await;
        eventually("it is listed", || async { anomalies(&server, false).await.len() == 1 }).await;
        let found = &anomalies(&server, false).await[0];
        assert_eq!((&found["subject"], &found["sdk_app_id"]), (&json!("billing"), &json!(0)));
        assert_eq!(found["detail"], "fails: answered 503");
        let html = page(&server, "/anomalies").await;
        assert!(html.contains("href=\"/forward/billing\"") && html.contains("forwarding failing"), "{html}");
        receiver.answer(|_| 200);
        resume(&database, "billing").await;
        in_state(&database, "billing", "running").await;
        eventually("it is taken back", || async { anomalies(&server, true).await.len() == 1 }).await;
        assert!(anomalies(&server, false).await.is_empty());
        server.stop().await;
    }

    async fn doctor_checks_destinations(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let receiver = Receiver::start().await;
        let toml = destination("billing", &receiver.url, "") + &destination("old", &receiver.url, "");
        let server = Server::start_with(with(&database, &toml)).await;
        known(&database, "billing").await;
        known(&database, "old").await;
        let file = folder.path().join("trtc.toml");
        // `localhost` leads to this machine, which a name must not.
        let other = destination("billing", &receiver.url, "rate_max = 5") + &destination("near", "https://localhost:1/", "");
        std::fs::write(&file, other).unwrap();
        let arguments = ["--config", "trtc.toml", "--store", &database.url];
        let says = |level: &str, part: &str| {
            let found = doctors(folder.path(), &arguments);
            let is_said = found.iter().any(|(of, text)| of == level && text.contains(part));
            assert!(is_said, "{level} {part}: {found:#?}");
        };
        says("ok", &format!("billing: {} may be sent to", receiver.url.trim_end_matches("/hook")));
        says("fail", "near: ");
        says("warn", "billing: the server that forwards has another definition of it");
        says("warn", "old: another server forwards to it, and it is not configured here");
        server.stop().await;
        says("warn", "old: no configuration has it any more");
        let output = run(folder.path(), &["forward", "pause", "billing", "--store", &database.url]);
        assert!(output.status.success());
        says("warn", "billing: paused since ");
    }

    async fn the_feed_has_its_figures(database: Database) {
        let server = Server::start(&database).await;
        post(&server, 0..3).await;
        let figures = || async {
            let figures = server.figures().await;
            let of = |name: &str| figures.value(&format!("trtc_feed_{name}"));
            [of("events"), of("unnumbered"), of("leader")]
        };
        eventually("they are shown", || async { figures().await == [3, 0, 1] }).await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_get_positions_as_often_as_is_set() {
    let database = Database::postgres().await;
    let server =
        Server::start_with(settings(&database, &[("TRTC_FORWARDING__NUMBER_INTERVAL_MS", "700")]))
            .await;
    let begun = Instant::now();
    for number in 0..4 {
        post(&server, number..number + 1).await;
        eventually("it has a position", || async {
            database.count("select count(*) from feed_new").await == 0
        })
        .await;
    }
    // Between the four looks that found one there are three pauses.
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    server.stop().await;
}
