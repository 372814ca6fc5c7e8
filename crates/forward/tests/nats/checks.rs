//! What is said of a server and a stream that do not do.

use forward::destination::DestinationSettings;
use forward::nats::{Creation, Report, check};
use protocol::diagnostic::Diagnostic;
use serde_json::{Value, json};

use crate::server::{PLAIN, Server, ask, destination, publish};

async fn look(
    server: &Server,
    creation: Creation,
    change: impl Fn(&mut DestinationSettings),
) -> Result<Report, Diagnostic> {
    let target = destination(&server.url(), &change).nats;
    check(&server.client(&change), &target, creation).await
}

/// What is found: `!` before what is grave.
async fn found(server: &Server, change: impl Fn(&mut DestinationSettings)) -> Vec<String> {
    let report = look(server, Creation::Never, change).await.unwrap();
    let text = |finding: &forward::nats::Finding| {
        let grave = if finding.is_grave { "! " } else { "" };
        assert!(finding.found.hint.is_some());
        format!("{grave}{}", finding.found.problem)
    };
    report.findings.iter().map(text).collect()
}

#[tokio::test]
async fn each_unfit_stream_is_named() {
    let Some(server) = Server::start(PLAIN).await else { return };
    assert_eq!(found(&server, |_| {}).await, ["! no stream takes `trtc.events.>`"]);
    let named = |settings: &mut DestinationSettings| settings.stream = Some("S".into());
    assert_eq!(found(&server, named).await, ["! there is no stream `S`"]);
    let created = |settings: &mut DestinationSettings| settings.create_stream = true;
    assert_eq!(found(&server, created).await, ["there is no stream `TRTC_EVENTS` yet"]);
    for (more, want) in [
        (json!({}), vec![]),
        (
            json!({"no_ack": true}),
            vec!["! the stream `S` has `no_ack`: what it stores looks as if it were lost"],
        ),
        (
            json!({"storage": "memory"}),
            vec!["the stream `S` keeps events in memory: they go with the servers"],
        ),
        (
            json!({"max_msg_size": 1000}),
            vec!["! the stream `S` takes messages of 1000 bytes at most"],
        ),
        (
            json!({"duplicate_window": 1_500_000_000_u64}),
            vec!["the stream `S` remembers ids for 1.5 s"],
        ),
        (
            json!({"subjects": ["trtc.events.*.call.>"]}),
            vec!["the stream `S` takes a part of `trtc.events.>` only"],
        ),
    ] {
        let more: Value = more;
        server.stream(more.clone()).await;
        assert_eq!(found(&server, |_| {}).await, want, "{more}");
        assert_eq!(found(&server, named).await, want, "{more}");
        ask(&server.plain().await, "STREAM.DELETE.S", &json!({})).await;
    }
    server.stream(json!({"subjects": ["other.>"]})).await;
    let want = ["! the stream `S` does not take `trtc.events.>`"];
    assert_eq!(found(&server, named).await, want);
}

#[tokio::test]
async fn a_stream_is_created_where_the_destination_says_so() {
    let Some(server) = Server::start(PLAIN).await else { return };
    let created = |settings: &mut DestinationSettings| settings.create_stream = true;
    let report = look(&server, Creation::AsConfigured, created).await.unwrap();
    assert!(report.created && report.findings.is_empty(), "{report:?}");
    assert_eq!(report.streams, ["TRTC_EVENTS"]);
    assert!(!look(&server, Creation::AsConfigured, created).await.unwrap().created);
    assert!(publish(&server.client(|_| {}), 1, 10).await.result.is_ok());
    let config =
        ask(&server.plain().await, "STREAM.INFO.TRTC_EVENTS", &json!({})).await["config"].clone();
    assert_eq!((&config["storage"], &config["discard"]), (&json!("file"), &json!("old")));
    assert_eq!(config["max_age"], json!(604_800_000_000_000_u64));
    assert_eq!(config["duplicate_window"], json!(120_000_000_000_u64));
    let report = look(&server, Creation::AsConfigured, |settings| {
        settings.create_stream = true;
        settings.stream = Some("OTHER".into());
    });
    let error = report.await.unwrap_err();
    assert!(error.problem.contains("10065"), "subjects overlap: {error}");
}

#[tokio::test]
async fn a_small_max_payload_and_no_jetstream_are_named() {
    let Some(server) = Server::start("max_payload: 65536").await else { return };
    server.stream(json!({})).await;
    assert_eq!(found(&server, |_| {}).await, ["! the server's `max_payload` is 65536 bytes"]);
    let without = "accounts { A { users: [{user: a, password: b}] } }\nno_auth_user: a";
    let Some(server) = Server::start(without).await else { return };
    let error = look(&server, Creation::Never, |_| {}).await.unwrap_err();
    assert!(error.hint.is_some(), "{error}");
    assert!(error.problem.contains("JetStream"), "{error}");
}
