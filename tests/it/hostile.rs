//! Clients that mean harm, or are broken, against the real server over sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::spawn_blocking;

use crate::http::raw;
use crate::support::{APP, DESTROY_ROOM, Database, OK, Server, destroy_room, eventually, settings};

/// Longer than any wait of a test: who meets it waited for nothing.
const PATIENCE: Duration = Duration::from_secs(20);
const REQUESTS: &str = "trtc_requests_total";

async fn server(changes: &[(&str, &str)]) -> (Database, Server) {
    let database = Database::sqlite();
    let server = Server::start_with(settings(&database, changes)).await;
    (database, server)
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A stream that has sent this much, and waits.
fn sent(server: &Server, bytes: &str) -> TcpStream {
    let mut stream = connect(server);
    stream.write_all(bytes.as_bytes()).unwrap();
    stream
}

fn post(number: usize, more: &str) -> String {
    let body = destroy_room(number);
    let path = format!("/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}");
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {length}\r\n\r\n{body}")
}

/// The head of a request for an app of ours, or of another, whose body does not come.
fn without_body(app: &str) -> String {
    let path = format!("/?SdkAppid={app}&CallbackCommand={DESTROY_ROOM}");
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{")
}

/// One answer, on a connection that stays open.
fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(OK.as_bytes()) {
        let read = stream.read(&mut byte).unwrap();
        assert_eq!(read, 1, "closed after {}", String::from_utf8_lossy(&answer));
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

/// What comes until the server closes; a reset ends it too.
fn rest(mut stream: TcpStream) -> String {
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "not closed");
    }
    String::from_utf8(rest).unwrap()
}

async fn closed(server: &Server, reason: &str) -> u64 {
    let series = format!("trtc_connections_closed_total{{reason=\"{reason}\"}}");
    server.figures().await.value(&series)
}

/// An honest client, with a new connection for each of its requests.
async fn serve_honestly(server: &Server, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let answer = raw(server, &post(number, "Connection: close\r\n")).await;
        assert!(answer.ends_with(OK), "request {number}: `{answer}`");
    }
}

/// There were so many requests, each with an outcome. What was given up is counted soon after.
async fn assert_requests(server: &Server, number: u64) {
    let adds_up = || async {
        let figures = server.figures().await;
        assert!(figures.value(REQUESTS) <= number, "{}", figures.0);
        figures.value(REQUESTS) == number && figures.outcomes() == number
    };
    eventually("so many requests and outcomes", adds_up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trickling_head_gains_no_time() {
    let (_database, server) = server(&[("TRTC_SERVER__HEADER_TIMEOUT_MS", "300")]).await;
    let mut stream = sent(&server, "POST / HTTP/1.1\r\nX-Slow: ");
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let trickle = move || {
        let begun = Instant::now();
        let mut answer = String::new();
        // One byte whenever nothing came for 20 ms.
        while begun.elapsed() < PATIENCE {
            match stream.read_to_string(&mut answer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => break,
            }
            let _ = stream.write_all(b"x");
        }
        assert!(begun.elapsed() < PATIENCE, "it may trickle for ever");
        answer
    };
    let answer = spawn_blocking(trickle).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nthe head did not come in time\n"), "{answer}");
    assert_eq!(closed(&server, "head_too_slow").await, 1);
    assert_requests(&server, 1).await;
    assert_eq!(server.figures().await.outcome("head_too_slow"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_head_that_does_not_come_is_answered_after_the_first() {
    let (_database, server) = server(&[("TRTC_SERVER__HEADER_TIMEOUT_MS", "1000")]).await;
    let mut stream = sent(&server, &post(1, ""));
    answer(&mut stream);
    stream.write_all(b"POST / HT").unwrap();
    let second = rest(stream);
    assert!(second.starts_with("HTTP/1.1 408 "), "{second}");
    assert_requests(&server, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_connection_may_idle_longer_than_a_new_one() {
    let changes = [("TRTC_SERVER__HEADER_TIMEOUT_MS", "1000")];
    let (database, server) = server(&changes).await;
    let mut used = sent(&server, &post(1, ""));
    answer(&mut used);
    // An empty line after a body, as some clients send it, is no head.
    used.write_all(b"\r\n").unwrap();
    // A connection that comes later and says nothing is closed, without a word.
    assert_eq!(rest(connect(&server)), "");
    assert_eq!(closed(&server, "idle").await, 1);
    used.write_all(post(2, "").as_bytes()).unwrap();
    answer(&mut used);
    assert_eq!(database.rows().await, 2);
    assert_eq!(server.figures().await.value(REQUESTS), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_in_the_end() {
    let (_database, server) = server(&[("TRTC_SERVER__IDLE_TIMEOUT_MS", "200")]).await;
    let mut stream = sent(&server, &post(1, ""));
    answer(&mut stream);
    assert_eq!(rest(stream), "");
    assert_eq!(closed(&server, "idle").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_clients_beyond_the_slots_block_nobody() {
    let changes =
        [("TRTC_SERVER__CONNECTIONS_MAX", "16"), ("TRTC_SERVER__HEADER_TIMEOUT_MS", "600000")];
    let (database, server) = server(&changes).await;
    // Few enough for the 1024 descriptors that a process often has, this one's other tests included.
    let silent: Vec<TcpStream> = (0..150).map(|_| connect(&server)).collect();
    let slow: Vec<TcpStream> = (0..150).map(|_| sent(&server, "POST / HTTP/1.1\r\n")).collect();
    serve_honestly(&server, 0..20).await;
    assert_eq!(database.rows().await, 20);
    assert!(closed(&server, "evicted").await >= 300 - 16);
    let figures = server.figures().await;
    assert!(figures.value("trtc_connections") <= 16, "{}", figures.0);
    assert_requests(&server, 20).await;
    drop((silent, slow));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_block_nobody() {
    let changes =
        [("TRTC_SERVER__CONNECTIONS_MAX", "4"), ("TRTC_SERVER__BODY_TIMEOUT_MS", "600000")];
    let (database, server) = server(&changes).await;
    for app in ["5", APP] {
        let before = server.figures().await.value(REQUESTS);
        let slow: Vec<TcpStream> = (0..4).map(|_| sent(&server, &without_body(app))).collect();
        let all_read = || async { server.figures().await.value(REQUESTS) == before + 4 };
        eventually("all heads are read", all_read).await;
        serve_honestly(&server, 0..5).await;
        drop(slow);
    }
    assert_eq!(database.rows().await, 5);
    assert!(closed(&server, "evicted").await >= 2);
    assert_requests(&server, 18).await;
    // Those we closed, and those that were closed by their client.
    let figures = server.figures().await;
    assert_eq!(figures.outcome("abandoned") + figures.outcome("body_broken"), 8, "{}", figures.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_that_fill_the_body_budget_block_nobody() {
    let changes =
        [("TRTC_INGEST__QUEUE_BYTES_MAX", "1048576"), ("TRTC_SERVER__BODY_TIMEOUT_MS", "600000")];
    let (_database, server) = server(&changes).await;
    let path = format!("/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}");
    // All but one byte of each comes. Together they leave less than a small request needs.
    let slow = [250_000, 250_000, 250_000, 250_000, 44_000].map(|length| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}", length + 1);
        sent(&server, &format!("{head}\r\n\r\n{}", " ".repeat(length)))
    });
    let outcome = |outcome| {
        let server = &server;
        async move {
            // What finds no room is answered as what is not stored: with the envelope, as all that is posted.
            server.post_body(DESTROY_ROOM, destroy_room(1)).await;
            server.figures().await.outcome(outcome)
        }
    };
    eventually("the memory is full", || async { outcome("shed").await > 0 }).await;
    let before = server.figures().await;
    let kept = before.outcome("stored") + before.outcome("duplicate");
    let one_more = || async { outcome("stored").await + outcome("duplicate").await > kept };
    eventually("an honest client is served", one_more).await;
    for mut slow in slow {
        slow.write_all(b" ").unwrap();
        answer(&mut slow);
    }
    let figures = server.figures().await;
    assert_eq!(figures.value(REQUESTS), figures.outcomes(), "{}", figures.0);
}

/// A request that is there whole counts, whatever its sender does then.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_served_though_its_client_closes() {
    let (database, server) = server(&[]).await;
    for number in 0..50 {
        drop(sent(&server, &post(number, "")));
        let mut used = sent(&server, &post(100 + number, ""));
        answer(&mut used);
        used.write_all(post(200 + number, "").as_bytes()).unwrap();
        drop(used);
    }
    assert_requests(&server, 150).await;
    assert_eq!(server.figures().await.outcome("stored"), 150);
    assert_eq!(database.rows().await, 150);
    let left = || async { server.figures().await.value("trtc_connections") == 0 };
    eventually("who is gone has no place", left).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_client_is_answered_and_a_cut_body_refused() {
    let (database, server) = server(&[]).await;
    let half_closed = sent(&server, &post(1, ""));
    half_closed.shutdown(Shutdown::Write).unwrap();
    assert!(rest(half_closed).ends_with(OK));
    let broken = sent(&server, &without_body(APP));
    broken.shutdown(Shutdown::Write).unwrap();
    assert!(rest(broken).starts_with("HTTP/1.1 400 "));
    drop(sent(&server, &without_body(APP)));
    assert_requests(&server, 3).await;
    assert_eq!(server.figures().await.outcome("body_broken"), 2);
    assert_eq!(database.rows().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_being_served_keeps_its_slot() {
    let database = Database::postgres().await;
    let changes =
        [("TRTC_SERVER__CONNECTIONS_MAX", "2"), ("TRTC_SERVER__HEADER_TIMEOUT_MS", "600000")];
    let server = Server::start_with(settings(&database, &changes)).await;
    let mut lock = sqlx::PgConnection::connect(&database.url).await.unwrap();
    lock.execute("begin; lock table events in access exclusive mode").await.unwrap();
    let mut busy = sent(&server, &post(1, ""));
    let under_way = || async { server.figures().await.value("trtc_queue_bytes") > 0 };
    eventually("the request is under way", under_way).await;
    let flood: Vec<TcpStream> = (0..100).map(|_| connect(&server)).collect();
    let evicted = || async { closed(&server, "evicted").await >= 98 };
    eventually("all but one of the flood are gone", evicted).await;
    lock.execute("rollback").await.unwrap();
    answer(&mut busy);
    assert_eq!(database.rows().await, 1);
    drop(flood);
}

/// Sends requests and reads no answer, until the server has taken none for a second, or closes.
async fn never_read(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // Room for few answers only, so that it does not take long.
    socket.set_recv_buffer_size(4096).unwrap();
    let address = server.url.trim_start_matches("http://").parse().unwrap();
    let stream = socket.connect(address).await.unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    spawn_blocking(|| fill(stream)).await.unwrap()
}

fn fill(mut stream: TcpStream) -> TcpStream {
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let requests =
        "POST /?SdkAppid=5 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".repeat(1000);
    let begun = Instant::now();
    while stream.write_all(requests.as_bytes()).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the server keeps any number of answers");
    }
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_answers_is_closed() {
    let (_database, server) = server(&[("TRTC_SERVER__WRITE_TIMEOUT_MS", "500")]).await;
    let stream = never_read(&server).await;
    let left = || async { closed(&server, "write_too_slow").await == 1 };
    eventually("it is left", left).await;
    let adds_up = || async {
        let figures = server.figures().await;
        figures.value(REQUESTS) == figures.outcomes()
    };
    eventually("the outcomes add up to the requests", adds_up).await;
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_answers_is_evicted_and_delays_no_stop() {
    let changes = [
        ("TRTC_SERVER__WRITE_TIMEOUT_MS", "600000"),
        ("TRTC_SERVER__SHUTDOWN_TIMEOUT_MS", "500"),
        ("TRTC_SERVER__CONNECTIONS_MAX", "1"),
    ];
    let (_database, server) = server(&changes).await;
    for _ in 0..2 {
        let stream = never_read(&server).await;
        serve_honestly(&server, 0..1).await;
        drop(stream);
    }
    let stream = never_read(&server).await;
    tokio::time::timeout(PATIENCE, server.stop()).await.unwrap();
    drop(stream);
}

/// Hides a request in the body of another, in each way that is known to split a proxy from a server.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_read_out_of_the_body_of_another() {
    let (database, server) = server(&[("TRTC_SERVER__BODY_TIMEOUT_MS", "300")]).await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let length = hidden.len();
    let end = "0\r\n\r\n";
    // What stands in the head, what follows it, and what it may be answered.
    let shapes = [
        // Taken by the chunks, as the standard has it, and closed then.
        (format!("Content-Length: {}\r\n{chunked}", length + 5), format!("{end}{hidden}"), "200"),
        (format!("{chunked}Content-Length: 4\r\n"), format!("{end}{hidden}"), "200"),
        (format!("Content-Length: 0\r\n{chunked}"), format!("{end}{hidden}"), "200"),
        ("Content-Length: 0\r\nContent-Length: 30\r\n".into(), hidden.into(), "400"),
        ("Content-Length: 0, 30\r\n".into(), hidden.into(), "400"),
        ("Content-Length: +0\r\n".into(), hidden.into(), "400"),
        ("Content-Length: -1\r\n".into(), hidden.into(), "400"),
        ("Content-Length: 0x0\r\n".into(), hidden.into(), "400"),
        ("Content-Length: \r\n".into(), hidden.into(), "400"),
        ("Content-Length: 18446744073709551616\r\n".into(), hidden.into(), "400"),
        ("Content-Length: 18446744073709551615\r\n".into(), hidden.into(), "431"),
        ("Content-Length: 18446744073709551613\r\n".into(), hidden.into(), "413"),
        ("Content-Length : 0\r\n".into(), hidden.into(), "400"),
        ("Transfer-Encoding: chunked, identity\r\n".into(), format!("{end}{hidden}"), "400"),
        ("Transfer-Encoding: identity, chunked\r\n".into(), format!("{end}{hidden}"), "400"),
        ("Transfer-Encoding: gzip, chunked\r\n".into(), format!("{end}{hidden}"), "400"),
        ("Transfer-Encoding: xchunked\r\n".into(), format!("{end}{hidden}"), "400"),
        ("Transfer-Encoding: \"chunked\"\r\n".into(), format!("{end}{hidden}"), "400"),
        ("Transfer-Encoding: identity\r\n".into(), hidden.into(), "400"),
        ("Transfer-Encoding: \x0bchunked\r\n".into(), format!("{end}{hidden}"), "400"),
        ("Transfer-Encoding : chunked\r\n".into(), format!("{end}{hidden}"), "400"),
        ("Transfer-Encoding:\r\n chunked\r\n".into(), format!("{end}{hidden}"), "400"),
        (format!("{chunked}{chunked}"), format!("{end}{hidden}"), "400"),
        (format!("Transfer-Encoding: identity\r\n{chunked}"), format!("{end}{hidden}"), "400"),
        (format!("{chunked}Transfer-Encoding: identity\r\n"), format!("{end}{hidden}"), "400"),
        (format!("X: a\r\r\n{chunked}"), format!("{end}{hidden}"), "400"),
        (format!("X: a\rb\r\n{chunked}"), format!("{end}{hidden}"), "400"),
        (format!("X: a\0b\r\n{chunked}"), format!("{end}{hidden}"), "400"),
        (format!("X: a\r\n folded\r\n{chunked}"), format!("{end}{hidden}"), "400"),
        (format!(" X: a\r\n{chunked}"), format!("{end}{hidden}"), "400"),
        (format!("no colon\r\n{chunked}"), format!("{end}{hidden}"), "400"),
        (chunked.into(), format!("FFFFFFFFFFFFFFFF0\r\n{hidden}"), "400"),
        (chunked.into(), format!("-1\r\n{hidden}"), "400"),
        (chunked.into(), format!("0x5\r\nabcde\r\n{end}{hidden}"), "400"),
        (chunked.into(), format!("1\r\nabc\r\n{end}{hidden}"), "400"),
        (chunked.into(), format!("\r\n{hidden}"), "400"),
        (chunked.into(), format!("1;\n\r\na\r\n{end}{hidden}"), "400"),
    ];
    let path = format!("/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}");
    let mut requests = 0;
    for (head, body, status) in shapes {
        let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n{body}");
        let answers = raw(&server, &request).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answers.starts_with(&expected), "{request:?}: {answers:?}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{request:?}: {answers:?}");
        requests += 1;
        assert_requests(&server, requests).await;
    }
    let figures = server.figures().await;
    assert_eq!(figures.outcome("not_found") + figures.outcome("method_not_allowed"), 0);
    assert_eq!(database.rows().await, 3, "the empty bodies that ended before what was hidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unexpected_body_is_not_read_as_a_request() {
    let (_database, server) = server(&[]).await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = hidden.len();
    for begin in ["GET / HTTP/1.1", "POST /elsewhere HTTP/1.1", "CONNECT x:1 HTTP/1.1"] {
        let mut stream =
            sent(&server, &format!("{begin}\r\nHost: x\r\nContent-Length: {length}\r\n"));
        // In parts, so that the body is not there yet when the head is answered.
        stream.write_all(format!("Connection: close\r\n\r\n{hidden}").as_bytes()).unwrap();
        let answers = rest(stream);
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{begin}: {answers:?}");
    }
    assert_requests(&server, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_refused_and_counted() {
    let (_database, server) = server(&[]).await;
    let garbage = [
        "GET /\r\n",
        "GET / HTTP/0.9\r\n\r\n",
        "GET / HTTP/3.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0",
        "\x16\x03\x01\x02\0\x01\0\x01\u{7f}\x03\x03",
        "\0\0\0\0\0\0\0\0\r\n\r\n",
        "<xml/>\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "POST  /  HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1 \r\n\r\n",
    ];
    let many = garbage.len() as u64;
    for garbage in garbage {
        let answer = raw(&server, garbage).await;
        // hyper has no words for HTTP/2, which would not understand them.
        let understood = answer.starts_with("HTTP/1.1 400 ") || garbage.starts_with("PRI ");
        assert!(understood, "{garbage:?}: {answer:?}");
    }
    assert_requests(&server, many).await;
    assert_eq!(server.figures().await.outcome("head_broken"), many);
    // A head that breaks off.
    drop(sent(&server, "POST / HTTP/1.1\r\nHo"));
    assert_requests(&server, many + 1).await;
    assert_eq!(server.figures().await.outcome("head_broken"), many + 1);
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_over_the_limit_are_refused_and_counted() {
    let (_database, server) = server(&[("TRTC_SERVER__HEADER_BYTES_MAX", "16384")]).await;
    let long = "x".repeat(20_000);
    let many = "X-Many: x\r\n".repeat(200);
    for request in [
        format!("POST / HTTP/1.1\r\nX: {long}\r\n\r\n"),
        format!("POST /?{long} HTTP/1.1\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{many}\r\n"),
        long,
    ] {
        let answer = raw(&server, &request).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert_requests(&server, 4).await;
    assert_eq!(server.figures().await.outcome("head_too_large"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_still_sending_receives_the_answer() {
    let changes = [("TRTC_SERVER__BODY_BYTES_MAX", "2048")];
    let (_database, server) = server(&changes).await;
    let large = "x".repeat(500_000);
    let path = format!("/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}");
    let body = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n{large}");
    for (request, status) in [
        (body.as_str(), "413"),
        (&body.replace("POST", "GET"), "405"),
        (&body.replace("Host", "Ho st"), "400"),
        (large.as_str(), "431"),
    ] {
        // Little is under way at once, so what is sent must be read, or cannot be sent.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(8192).unwrap();
        let address = server.url.trim_start_matches("http://").parse().unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    assert_requests(&server, 4).await;
}

/// Sends this again and again until the server closes, and returns what it said.
async fn endlessly(server: &Server, head: &str, part: &str) -> String {
    let mut stream = sent(server, head);
    let part = part.to_owned();
    let send = move || {
        let begun = Instant::now();
        while stream.write_all(part.as_bytes()).is_ok() {
            assert!(begun.elapsed() < PATIENCE, "the server takes any amount");
        }
        rest(stream)
    };
    spawn_blocking(send).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_chunked_body_is_cut_off_for_any_chunk_size() {
    let (database, server) = server(&[("TRTC_SERVER__BODY_BYTES_MAX", "65536")]).await;
    let head = |app: &str| {
        let path = format!("/?SdkAppid={app}&CallbackCommand={DESTROY_ROOM}");
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    };
    let large = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let extended = format!("1;{}\r\nx\r\n", "y".repeat(1000));
    for app in ["5", APP] {
        for part in [large.as_str(), "1\r\nx\r\n", extended.as_str()] {
            endlessly(&server, &head(app), part).await;
        }
        // An extension, and trailers, without end.
        endlessly(&server, &format!("{}1;", head(app)), "yyyyyyyyyyyyyyyy").await;
        endlessly(&server, &format!("{}0\r\n", head(app)), "X: yyyyyyyyyyyyyyyy\r\n").await;
    }
    assert_eq!(database.rows().await, 0);
    assert_requests(&server, 10).await;
    let figures = server.figures().await;
    assert_eq!(figures.outcome("body_too_large") + figures.outcome("body_broken"), 10);
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_one_by_one_and_in_order() {
    let (database, server) = server(&[]).await;
    let number_of = 300;
    let last = post(number_of, "Connection: close\r\n");
    let all: String = (0..number_of).map(|number| post(number, "")).chain([last]).collect();
    let answers = raw(&server, &all).await;
    assert_eq!(answers.matches(OK).count(), number_of + 1);
    assert_eq!(usize::try_from(database.rows().await).unwrap(), number_of + 1);
    assert_requests(&server, 301).await;
}
