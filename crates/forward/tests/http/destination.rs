//! From a destination as it is configured to what its receiver gets, and back to what the answer means.

use std::path::Path;
use std::time::Duration;

use forward::answer::{EventMeaning, Failure, Response};
use forward::destination::{Destination, DestinationSettings};
use forward::http::{Client, ClientSettings, Guard, HttpClientError, Request, UrlError};
use forward::signature::{self, Delivery};
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;
use secrecy::SecretString;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::receiver::{PATH, Receiver, client, read_request, send, settings};

const NOW: UnixMillis = UnixMillis(1_795_943_259_000);
const BODY: &str = "{\"type\":\"trtc.test\"}";

fn destination(change: impl FnOnce(&mut DestinationSettings), url: &str) -> Destination {
    let no_file = |_: &Path| -> Result<SecretString, Diagnostic> { panic!("no file is read") };
    let mut settings = DestinationSettings::new("billing", url);
    change(&mut settings);
    Destination::check(settings, no_file).unwrap()
}

#[tokio::test]
async fn a_configured_destination_gets_a_signed_request() {
    let (sender, mut requests) = mpsc::channel(1);
    let receiver = Receiver::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await {
                let head = format!("HTTP/1.1 500 X\r\ncontent-length: {}\r\n\r\n", request.len());
                stream.write_all((head + &request).as_bytes()).await.unwrap();
                sender.send(request).await.unwrap();
            }
        }
    })
    .await;
    let destination = destination(
        |settings| {
            settings.secrets = vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()];
            settings.headers.insert("Authorization".to_owned(), "Bearer hunter2-token".into());
            settings.timeout_ms = 20_000;
        },
        &receiver.url(),
    );
    let settings = ClientSettings::of(&destination).unwrap();
    assert_eq!((settings.timeout, settings.proxy.is_none()), (Duration::from_secs(20), true));
    let client = Client::new(settings, Guard::default()).unwrap();
    let id = Uuid::from_u128(7);
    let delivery = Delivery { id, destination: "billing", attempt: 1, replay: false, body: BODY };
    let headers = delivery.headers(&destination.secrets, NOW);
    let request = Request::new(headers, &destination.headers, BODY).unwrap();
    let attempt = client.send(request).await;

    let sent = requests.recv().await.unwrap();
    let signature = signature::sign(&id.to_string(), NOW.as_secs(), BODY, &destination.secrets);
    for header in [
        &format!("webhook-id: {id}"),
        &format!("webhook-signature: {signature}"),
        "authorization: Bearer hunter2-token",
        "trtc-attempt: 1",
    ] {
        assert!(sent.contains(&format!("\r\n{header}\r\n")), "{header}: {sent}");
    }
    assert_eq!(attempt.response(), Response::Status { status: 500, retry_after: None });
    for secret in [&*signature, "hunter2", PATH] {
        assert!(!attempt.excerpt.contains(secret), "{secret}: {}", attempt.excerpt);
    }
}

#[test]
fn no_client_is_made_for_nats_and_no_header_with_a_line_break() {
    let nats = destination(|_| (), "nats://nats.test");
    assert_eq!(ClientSettings::of(&nats).unwrap_err(), UrlError::Scheme);
    let header = [("trtc-destination", "a\r\nx: y".to_owned())];
    let error = Request::new(header, &nats.headers, BODY).unwrap_err();
    assert_eq!(error, HttpClientError::Header("trtc-destination".to_owned()));
}

#[tokio::test]
async fn what_an_answer_means_follows_from_the_attempt() {
    let long = "x".repeat(20_000);
    let moved = "HTTP/1.1 302 X\r\nlocation: http://0.0.0.0/\r\ncontent-length: 0\r\n\r\n";
    let broken = Response::Failure(Failure::Reset);
    let status = |status, retry_after| Response::Status { status, retry_after };
    let answers = [
        ("HTTP/1.1 204 X\r\n\r\n".to_owned(), status(204, None)),
        (format!("HTTP/1.1 200 OK\r\n\r\n{long}"), status(200, None)),
        ("HTTP/1.1 429 X\r\nretry-after: 7\r\n\r\n".to_owned(), status(429, Some("7"))),
        (moved.to_owned(), status(302, None)),
        // Cut off: a success is none, and of a failure the status says all.
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx".to_owned(), broken),
        ("HTTP/1.1 410 X\r\ncontent-length: 9\r\n\r\nx".to_owned(), status(410, None)),
        (format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1_000_000)), broken),
        (String::new(), broken),
    ];
    for (answer, expected) in answers {
        let receiver = Receiver::after_request(move |mut stream| {
            let answer = answer.clone();
            async move {
                // Of a long one, not all is taken.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        })
        .await;
        let attempt = send(&client(settings(&receiver.url()))).await;
        assert_eq!(attempt.response(), expected, "{attempt:?}");
        let is_delivered = attempt.response().meaning(NOW).event == EventMeaning::Delivered;
        assert_eq!(is_delivered, matches!(expected, Response::Status { status: 200 | 204, .. }));
    }
}
