//! Answers, and how much of them is read.

use std::time::{Duration, Instant};

use forward::http::{ANSWER_BYTES_MAX, Client, EXCERPT_BYTES_MAX, FailureClass};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::receiver::{PATH, Receiver, class, client, read_request, send, settings};

fn client_of(receiver: &Receiver) -> Client {
    client(settings(&receiver.url()))
}

#[tokio::test]
async fn a_request_arrives_as_given_and_the_connection_stays() {
    let (sender, mut requests) = mpsc::channel(2);
    let receiver = Receiver::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await {
                sender.send(request).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await;
    let client = client_of(&receiver);
    for _ in 0..2 {
        let attempt = send(&client).await;
        assert_eq!((attempt.status, attempt.failure), (Some(200), None));
        assert_eq!((attempt.excerpt.as_str(), attempt.is_truncated), ("ok", false));
        assert_eq!((attempt.peer, attempt.version), (Some(receiver.address), Some("HTTP/1.1")));
        let request = requests.recv().await.unwrap();
        assert!(request.starts_with(&format!("POST {PATH} HTTP/1.1\r\n")), "{request}");
        for header in ["webhook-id: 0198f3c0", "authorization: Bearer hunter2"] {
            assert!(request.contains(&format!("{header}\r\n")), "{header}: {request}");
        }
        assert!(request.ends_with("\r\n\r\n{\"type\":\"trtc.test\"}"), "{request}");
        assert!(!request.contains("referer") && !request.contains("cookie"), "{request}");
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_status_is_no_failure_and_retry_after_is_kept() {
    let date = "Sun, 29 Nov 2026 09:07:39 GMT";
    for (status, wait) in [(429, "120"), (503, date), (410, ""), (500, ""), (400, "")] {
        let retry_after = match wait {
            "" => String::new(),
            wait => format!("Retry-After: {wait}\r\n"),
        };
        let answer = format!("HTTP/1.1 {status} X\r\n{retry_after}content-length: 4\r\n\r\nwhy?");
        let receiver = Receiver::answering(answer).await;
        let attempt = send(&client_of(&receiver)).await;
        assert_eq!((attempt.status, &attempt.failure), (Some(status), &None));
        assert_eq!(attempt.retry_after.unwrap_or_default(), wait);
        assert_eq!(attempt.excerpt, "why?");
    }
}

#[tokio::test]
async fn a_retry_after_of_any_length_is_shortened() {
    let long = "9".repeat(5000);
    let answer = format!("HTTP/1.1 429 X\r\nretry-after: {long}\r\ncontent-length: 0\r\n\r\n");
    let receiver = Receiver::answering(answer).await;
    let attempt = send(&client_of(&receiver)).await;
    assert_eq!(attempt.retry_after.unwrap().len(), 64);
}

#[tokio::test]
async fn an_answer_of_http_1_0_ends_with_its_connection() {
    let receiver = Receiver::after_request(async |mut stream| {
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\ndone").await.unwrap();
    })
    .await;
    let attempt = send(&client_of(&receiver)).await;
    assert_eq!((attempt.status, attempt.version), (Some(200), Some("HTTP/1.0")));
    assert_eq!((attempt.excerpt.as_str(), attempt.failure), ("done", None));
}

#[tokio::test]
async fn an_interim_answer_is_not_the_answer() {
    let answer =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 X\r\n\r\n";
    let receiver = Receiver::answering(answer).await;
    assert_eq!(send(&client_of(&receiver)).await.status, Some(204));
}

#[tokio::test]
async fn secrets_that_the_receiver_repeats_are_not_shown() {
    // `send` holds that they are not.
    let receiver = Receiver::start(|mut stream| async move {
        while let Some(request) = read_request(&mut stream).await {
            let head = format!("HTTP/1.1 404 X\r\ncontent-length: {}\r\n\r\n", request.len());
            stream.write_all((head + &request).as_bytes()).await.unwrap();
        }
    })
    .await;
    let attempt = send(&client_of(&receiver)).await;
    assert!(attempt.excerpt.contains("[secret]"), "{}", attempt.excerpt);
}

#[tokio::test]
async fn of_a_long_answer_16_kib_are_read() {
    for (bytes, is_truncated) in [(ANSWER_BYTES_MAX, false), (ANSWER_BYTES_MAX + 1, true)] {
        let body = "x".repeat(bytes);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n{body}");
        let receiver = Receiver::answering(answer).await;
        let attempt = send(&client_of(&receiver)).await;
        assert_eq!((attempt.status, attempt.is_truncated), (Some(200), is_truncated));
        assert_eq!((attempt.excerpt.len(), attempt.failure), (EXCERPT_BYTES_MAX, None));
    }
}

#[tokio::test]
async fn an_answer_of_100_mb_costs_neither_memory_nor_time() {
    for head in ["content-length: 100000000", "connection: close", "transfer-encoding: chunked"] {
        let (sender, mut written) = mpsc::channel(1);
        let receiver = Receiver::after_request(move |mut stream| {
            let sender = sender.clone();
            async move {
                let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                let mut block = vec![b'x'; 65536];
                if head.contains("chunked") {
                    block = [&b"10000\r\n"[..], &block, b"\r\n"].concat();
                }
                let mut bytes = 0;
                while bytes < 100_000_000 && stream.write_all(&block).await.is_ok() {
                    bytes += 65536;
                }
                sender.send(bytes).await.unwrap();
            }
        })
        .await;
        let started = Instant::now();
        let attempt = send(&client_of(&receiver)).await;
        assert_eq!((attempt.status, attempt.is_truncated), (Some(200), true));
        assert_eq!(attempt.failure, None);
        // What went out is what the buffers of both sides hold: the connection was closed.
        let bytes = written.recv().await.unwrap();
        assert!(bytes < 20_000_000, "{head}: {bytes}");
        assert!(started.elapsed() < Duration::from_secs(10), "{head}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_leads_nowhere() {
    let target = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let there = format!("http://{}/token?x=y", target.address);
    for (status, location, detail) in [
        (301, there.as_str(), format!("to http://{}", target.address)),
        (302, "http://0.0.0.0/latest/meta-data", "to http://0.0.0.0".into()),
        (307, "//other.test/a", "to http://other.test".into()),
        (308, "http://[", "it does not say where to".into()),
        (303, "data:,x", "it does not say where to".into()),
    ] {
        let answer =
            format!("HTTP/1.1 {status} X\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::answering(answer).await;
        let attempt = send(&client_of(&receiver)).await;
        assert_eq!((attempt.status, class(&attempt)), (Some(status), FailureClass::Redirect));
        assert_eq!(attempt.failure.unwrap().detail, detail);
        assert_eq!(receiver.connections(), 1);
    }
    assert_eq!(target.connections(), 0);
}
