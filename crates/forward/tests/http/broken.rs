//! Receivers that refuse, hang, drip, break off, or speak something else.

use std::time::{Duration, Instant};

use forward::http::{Client, ClientSettings, FailureClass, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::receiver::{Receiver, class, client, read_request, request, send, settings};

/// A client that waits no longer than this.
fn hasty(url: &str, timeout_ms: u64) -> Client {
    let timeout = Duration::from_millis(timeout_ms);
    client(ClientSettings { timeout, connect_timeout: timeout, ..settings(url) })
}

#[tokio::test]
async fn a_closed_port_is_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let attempt = send(&client(settings(&url))).await;
    assert_eq!((attempt.status, class(&attempt)), (None, FailureClass::Connect));
    let failure = attempt.failure.unwrap().to_string();
    assert!(failure.starts_with("no connection: Connection refused"), "{failure}");
}

#[tokio::test]
async fn a_receiver_that_hangs_is_a_timeout() {
    let receiver = Receiver::after_request(async |mut stream| {
        // Until the other side has had enough.
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    })
    .await;
    let attempt = send(&hasty(&receiver.url(), 300)).await;
    assert_eq!((attempt.status, class(&attempt)), (None, FailureClass::Timeout));
    assert!(attempt.duration >= Duration::from_millis(300), "{:?}", attempt.duration);
}

#[tokio::test]
async fn an_answer_that_drips_ends_with_the_timeout() {
    for head in ["HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", "HTTP/1.1 200 OK\r\nx-a: "] {
        let receiver = Receiver::after_request(move |mut stream| async move {
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let started = Instant::now();
        let attempt = send(&hasty(&receiver.url(), 400)).await;
        assert_eq!(class(&attempt), FailureClass::Timeout);
        assert_eq!(attempt.status, head.ends_with("\r\n\r\n").then_some(200));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_break_after_the_whole_answer_is_no_failure() {
    let receiver = Receiver::after_request(async |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        stream.flush().await.unwrap();
    })
    .await;
    let client = client(settings(&receiver.url()));
    // Each on a connection of its own, as the one before is gone.
    for nth in 1..=3 {
        let attempt = send(&client).await;
        assert_eq!((attempt.status, attempt.failure), (Some(200), None));
        assert_eq!(receiver.connections(), nth);
    }
}

#[tokio::test]
async fn a_break_before_the_end_of_the_answer_is_a_reset() {
    let beginnings = [
        ("", None),
        ("HTTP/1.1 2", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok", Some(200)),
        ("HTTP/1.1 500 X\r\ntransfer-encoding: chunked\r\n\r\n5\r\nok", Some(500)),
    ];
    for (beginning, status) in beginnings {
        for is_abrupt in [false, true] {
            let receiver = Receiver::after_request(move |mut stream| async move {
                stream.write_all(beginning.as_bytes()).await.unwrap();
                if is_abrupt {
                    stream.set_zero_linger().unwrap();
                }
            })
            .await;
            let attempt = send(&client(settings(&receiver.url()))).await;
            assert_eq!(class(&attempt), FailureClass::Reset, "{beginning} {is_abrupt}");
            // A reset may overtake what was sent before it.
            assert!(attempt.status == status || is_abrupt, "{beginning} {:?}", attempt.status);
        }
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_reset() {
    let answers = [
        "SSH-2.0-OpenSSH_9.2p1\r\n",
        "hello\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\u{0}: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "\u{15}\u{3}\u{3}\u{0}\u{2}\u{2}\u{a}",
    ];
    for answer in answers {
        let receiver = Receiver::after_request(move |mut stream| async move {
            stream.write_all(answer.as_bytes()).await.unwrap();
            while read_request(&mut stream).await.is_some() {}
        })
        .await;
        let attempt = send(&client(settings(&receiver.url()))).await;
        assert_eq!(class(&attempt), FailureClass::Reset, "{answer:?} {attempt:?}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_too_large() {
    let many = |nth: usize| format!("x-{nth}: y\r\n");
    let heads = [
        format!("HTTP/1.1 200 OK\r\n{}\r\n", (0..2000).map(many).collect::<String>()),
        format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(2_000_000)),
    ];
    for head in heads {
        let receiver = Receiver::after_request(move |mut stream| {
            let head = head.clone();
            async move {
                // It is closed somewhere in between.
                let _ = stream.write_all(head.as_bytes()).await;
                while read_request(&mut stream).await.is_some() {}
            }
        })
        .await;
        let attempt = send(&client(settings(&receiver.url()))).await;
        assert_eq!(class(&attempt), FailureClass::TooLarge, "{attempt:?}");
    }
}

#[tokio::test]
async fn interim_answers_without_end_are_a_timeout() {
    let receiver = Receiver::after_request(async |mut stream| {
        while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.is_ok() {}
    })
    .await;
    let attempt = send(&hasty(&receiver.url(), 400)).await;
    assert_eq!((attempt.status, class(&attempt)), (None, FailureClass::Timeout));
}

#[tokio::test]
async fn an_idle_connection_that_the_receiver_closed_is_replaced() {
    let receiver = Receiver::after_request(async |mut stream| {
        let answer = b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let client = client(settings(&receiver.url()));
    for _ in 0..50 {
        let attempt = send(&client).await;
        assert_eq!((attempt.status, attempt.failure), (Some(200), None));
    }
}

#[tokio::test]
async fn an_answer_before_the_request_was_read_counts() {
    let receiver = Receiver::start(async |mut stream| {
        stream.read_exact(&mut [0; 64]).await.unwrap();
        stream.write_all(b"HTTP/1.1 413 X\r\ncontent-length: 4\r\n\r\nlong").await.unwrap();
        // Nothing more is read: that the other side closes is all that ends this.
        stream.ready(Interest::ERROR).await.unwrap();
    })
    .await;
    let long = Request { body: vec![b'x'; 32 << 20], ..request() };
    let attempt = client(settings(&receiver.url())).send(long).await;
    assert_eq!((attempt.status, &attempt.failure), (Some(413), &None));
    assert_eq!(attempt.excerpt, "long");
}

#[tokio::test]
async fn a_switch_of_protocols_is_an_answer_without_a_body() {
    let receiver = Receiver::after_request(async |mut stream| {
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\nx").await.unwrap();
    })
    .await;
    let attempt = send(&client(settings(&receiver.url()))).await;
    assert_eq!((attempt.status, attempt.failure, attempt.excerpt.as_str()), (Some(101), None, ""));
}

#[tokio::test]
async fn a_dropped_request_closes_its_connection() {
    let (sender, mut closed) = mpsc::channel(1);
    let (told, mut arrived) = mpsc::channel(1);
    let receiver = Receiver::after_request(move |mut stream| {
        let (sender, told) = (sender.clone(), told.clone());
        async move {
            told.send(()).await.unwrap();
            let _ = stream.read(&mut [0; 1]).await;
            sender.send(()).await.unwrap();
        }
    })
    .await;
    let client = client(settings(&receiver.url()));
    tokio::select! {
        attempt = send(&client) => panic!("{attempt:?}"),
        arrived = arrived.recv() => arrived.unwrap(),
    }
    closed.recv().await.unwrap();
}
