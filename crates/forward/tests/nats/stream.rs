//! One server: what a stream answers, and what that means.

use std::time::Duration;

use forward::answer::{Failure, Response};
use forward::nats::{Attempt, Message};
use serde_json::json;

use crate::server::{PLAIN, Server, ask, destination, event, eventually, publish, publish_to};

fn status(status: u16) -> Response<'static> {
    Response::Status { status, retry_after: None }
}

fn problem(attempt: &Attempt) -> String {
    attempt.result.as_ref().unwrap_err().found.to_string()
}

#[tokio::test]
async fn an_event_arrives_with_its_headers_and_bytes() {
    let Some(server) = Server::start(PLAIN).await else { return };
    server.stream(json!({})).await;
    let client = server.client(|_| {});
    let target =
        destination("nats://127.0.0.1", |settings| settings.stream = Some("S".into())).nats;
    let long =
        forward::event_columns::EventColumns { call_id: Some("x".repeat(2000)), ..event(2, "a") };
    let body = "{\"type\":\"a\\u0000\u{f6}\"}";
    for (event, replay) in [(event(1, "a b%\r\n"), false), (long, true)] {
        let message = Message::new(&target, &event, body.to_owned(), replay);
        let ack = client.publish(message).await.result.unwrap();
        assert_eq!((ack.stream.as_str(), ack.duplicate), ("S", false));
    }
    let plain = server.plain().await;
    let get = |seq: u64| {
        let plain = plain.clone();
        async move { ask(&plain, "STREAM.MSG.GET.S", &json!({ "seq": seq })).await["message"].clone() }
    };
    let decoded = |text: &serde_json::Value| {
        let bytes = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            text.as_str().unwrap(),
        );
        String::from_utf8(bytes.unwrap()).unwrap()
    };
    let first = get(1).await;
    assert_eq!(first["subject"], "trtc.events.1400000001.call.CallbackAfterEndCall.5");
    assert_eq!(decoded(&first["data"]), body);
    let mut headers: Vec<String> = decoded(&first["hdrs"]).lines().map(str::to_owned).collect();
    headers.sort();
    assert_eq!(
        headers.join("\n").trim(),
        "NATS/1.0\nNats-Expected-Stream: S\nNats-Msg-Id: 00000000-0000-0000-0000-000000000001\n\
         Trtc-App: 1400000001\nTrtc-Call: a%20b%25%0D%0A\nTrtc-Event-Time: 2026-11-29T09:07:39.235Z\n\
         Trtc-Position: 7\nTrtc-Room: r%C3%B6om%201\nTrtc-Type: Call.CallbackAfterEndCall"
    );
    let second = decoded(&get(2).await["hdrs"]);
    assert!(second.contains("Trtc-Replay: 1") && !second.contains("Trtc-Call"), "{second}");
}

#[tokio::test]
async fn the_same_id_again_is_acked_and_stored_once() {
    let Some(server) = Server::start(PLAIN).await else { return };
    server.stream(json!({})).await;
    let client = server.client(|_| {});
    let first = publish(&client, 1, 10).await.result.unwrap();
    let again = publish(&client, 1, 10).await.result.unwrap();
    assert_eq!((first.duplicate, again.duplicate), (false, true));
    assert_eq!(first.sequence, again.sequence);
}

#[tokio::test]
async fn no_stream_is_a_short_outage() {
    let Some(server) = Server::start(PLAIN).await else { return };
    let client = server.client(|_| {});
    let attempt = publish(&client, 1, 10).await;
    assert_eq!(attempt.response(), status(503));
    assert!(attempt.duration < Duration::from_secs(1), "{:?}", attempt.duration);
    assert!(problem(&attempt).contains("no stream takes `trtc.events.1400000001.call."));
    server.stream(json!({})).await;
    assert_eq!(publish(&client, 1, 10).await.response(), status(200));
    ask(&server.plain().await, "STREAM.DELETE.S", &json!({})).await;
    assert_eq!(publish(&client, 2, 10).await.response(), status(503));
}

#[tokio::test]
async fn a_full_stream_asks_to_wait_or_drops_the_oldest() {
    let Some(server) = Server::start(PLAIN).await else { return };
    for (name, more, second, said) in [
        ("A", json!({"discard": "new", "max_msgs": 1}), 429, "maximum messages exceeded"),
        ("B", json!({"discard": "new", "max_bytes": 1000}), 429, "maximum bytes exceeded"),
        ("C", json!({"discard": "old", "max_msgs": 1}), 200, ""),
        (
            "D",
            json!({"discard": "new", "max_msgs_per_subject": 1, "discard_new_per_subject": true}),
            503,
            "maximum messages per subject exceeded",
        ),
    ] {
        let mut more = more;
        more["name"] = json!(name);
        server.stream(more).await;
        let client = server.client(|_| {});
        assert_eq!(publish(&client, 1, 500).await.response(), status(200), "{name}");
        let attempt = publish(&client, 2, 500).await;
        assert_eq!(attempt.response(), status(second), "{name}: {attempt:?}");
        if second != 200 {
            assert!(problem(&attempt).contains(said), "{name}: {attempt:?}");
        }
        let plain = server.plain().await;
        let info = ask(&plain, &format!("STREAM.INFO.{name}"), &json!({})).await;
        assert_eq!(info["state"]["messages"], 1, "{name}");
        ask(&plain, &format!("STREAM.DELETE.{name}"), &json!({})).await;
    }
}

#[tokio::test]
async fn a_disk_or_memory_limit_of_the_server_asks_to_wait() {
    let [port] = crate::server::free_ports();
    let limits = "max_file: 200000\nmax_mem: 200000";
    let Some(mut server) = Server::prepare(port, PLAIN, limits) else { return };
    server.run().await;
    for storage in ["file", "memory"] {
        server.stream(json!({"storage": storage})).await;
        let client = server.client(|_| {});
        let mut refused = None;
        for number in 0..10 {
            let attempt = publish(&client, number, 50_000).await;
            if attempt.result.is_err() {
                refused = Some(attempt);
                break;
            }
        }
        let attempt = refused.expect("it is full after four");
        assert_eq!(attempt.response(), status(429), "{storage}: {attempt:?}");
        ask(&server.plain().await, "STREAM.DELETE.S", &json!({})).await;
    }
}

#[tokio::test]
async fn an_event_that_is_too_large_is_its_own_fault() {
    let Some(server) = Server::start("max_payload: 10000").await else { return };
    server.stream(json!({"max_msg_size": 5000})).await;
    let client = server.client(|_| {});
    let too_large = Response::Failure(Failure::TooLarge);
    let attempt = publish(&client, 1, 6000).await;
    assert_eq!(attempt.response(), too_large);
    assert!(problem(&attempt).contains("10054"), "{attempt:?}");
    // Headers count.
    assert_eq!(publish(&client, 2, 4990).await.response(), too_large);
    let attempt = publish(&client, 3, 10_000).await;
    assert_eq!(attempt.response(), too_large);
    assert!(problem(&attempt).contains("10000 bytes"), "{attempt:?}");
    assert_eq!(publish(&client, 4, 4000).await.response(), status(200));
}

#[tokio::test]
async fn another_stream_than_the_expected_refuses() {
    let Some(server) = Server::start(PLAIN).await else { return };
    server.stream(json!({})).await;
    let client = server.client(|_| {});
    let attempt = publish_to(&client, 1, 10, Some("OTHER")).await;
    assert_eq!(attempt.response(), Response::Failure(Failure::Unusable), "{attempt:?}");
}

#[tokio::test]
async fn a_stream_that_does_not_ack_is_a_timeout() {
    let Some(server) = Server::start(PLAIN).await else { return };
    server.stream(json!({"no_ack": true})).await;
    let client = server.client(|settings| settings.timeout_ms = 1_000);
    let attempt = publish(&client, 1, 10).await;
    assert_eq!(attempt.response(), Response::Failure(Failure::Timeout));
    assert!(problem(&attempt).contains("`no_ack`"));
    let info = ask(&server.plain().await, "STREAM.INFO.S", &json!({})).await;
    assert_eq!(info["state"]["messages"], 1, "stored, and looks lost");
}

#[tokio::test]
async fn a_sealed_stream_refuses_each_event() {
    let Some(server) = Server::start(PLAIN).await else { return };
    let mut config = server.stream(json!({})).await["config"].clone();
    config["sealed"] = json!(true);
    ask(&server.plain().await, "STREAM.UPDATE.S", &config).await;
    let attempt = publish(&server.client(|_| {}), 1, 10).await;
    assert_eq!(attempt.response(), status(400), "{attempt:?}");
}

#[tokio::test]
async fn an_answer_of_somebody_else_is_no_ack() {
    let Some(server) = Server::start(PLAIN).await else { return };
    let plain = server.plain().await;
    let mut asked = plain.subscribe("trtc.events.>").await.unwrap();
    plain.flush().await.unwrap();
    tokio::spawn(async move {
        while let Some(message) = futures_util::StreamExt::next(&mut asked).await {
            plain.publish(message.reply.unwrap(), "thanks".into()).await.unwrap();
        }
    });
    let attempt = publish(&server.client(|_| {}), 1, 10).await;
    assert_eq!(attempt.response(), Response::Failure(Failure::Reset));
    assert!(problem(&attempt).contains("not JetStream"));
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_is_used_again() {
    let Some(mut server) = Server::start(PLAIN).await else { return };
    server.stream(json!({})).await;
    let client = server.client(|_| {});
    assert_eq!(publish(&client, 1, 10).await.response(), status(200));
    server.kill();
    for number in [2, 3] {
        let attempt = publish(&client, number, 10).await;
        let Response::Failure(failure) = attempt.response() else { panic!("{attempt:?}") };
        assert!(matches!(failure, Failure::Connect | Failure::Reset), "{attempt:?}");
        assert!(attempt.duration < Duration::from_millis(1900), "without waiting: {attempt:?}");
    }
    server.run().await;
    eventually("it acks again", || async { publish(&client, 4, 10).await.result.is_ok() }).await;
    let info = ask(&server.plain().await, "STREAM.INFO.S", &json!({})).await;
    assert_eq!(info["state"]["messages"], 2, "nothing that was given up comes late");
}

#[tokio::test]
async fn messages_under_way_fail_at_once_when_the_connection_ends() {
    let Some(mut server) = Server::start(PLAIN).await else { return };
    // Nobody acks, so it is the end of the connection that ends the wait.
    server.stream(json!({"no_ack": true})).await;
    let client = server.client(|settings| settings.timeout_ms = 30_000);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { publish(&client, 1, 10).await }
    });
    let plain = server.plain().await;
    eventually("it is stored", || async {
        ask(&plain, "STREAM.INFO.S", &json!({})).await["state"]["messages"] == 1
    })
    .await;
    server.kill();
    let attempt = waiting.await.unwrap();
    assert_eq!(attempt.response(), Response::Failure(Failure::Reset), "{attempt:?}");
    assert!(attempt.duration < Duration::from_secs(20), "{attempt:?}");
}
