//! Who gets a place and a turn on the two listeners, and what strangers are answered there.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use sqlx::{Connection, Executor};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use trtc_callbacks::http::{self, Limits};

use crate::http::raw;
use crate::support::{APP, DESTROY_ROOM, Database, OK, Server, destroy_room, eventually, settings};

const PATIENCE: Duration = Duration::from_secs(20);

async fn server(changes: &[(&str, &str)]) -> (Database, Server) {
    let database = Database::sqlite();
    let server = Server::start_with(settings(&database, changes)).await;
    (database, server)
}

fn connect(url: &str) -> TcpStream {
    let stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn post(app: &str, number: usize, more: &str) -> String {
    let body = destroy_room(number);
    let path = format!("/?SdkAppid={app}&CallbackCommand={DESTROY_ROOM}");
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {length}\r\n\r\n{body}")
}

fn limits() -> Limits {
    Limits {
        connections_max: 100,
        reserved_max: 0,
        trusted_proxies: protocol::source_filter::Networks::default(),
        proxy_protocol: false,
        header_timeout: PATIENCE,
        header_bytes_max: 32 << 10,
        idle_timeout: PATIENCE,
        write_timeout: PATIENCE,
        drain: Duration::ZERO,
        shutdown_timeout: PATIENCE,
    }
}

/// On one thread, where nobody gets a turn unless another one yields.
#[tokio::test]
async fn pipelined_requests_take_turns_with_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = listener.local_addr().unwrap().to_string();
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = order.clone();
    let router = Router::new().fallback(async move |request: Request| {
        noted.lock().unwrap().push(request.uri().path().to_owned());
    });
    // All of it is there before the first is read.
    let streams = ["/one", "/two"].map(|path| {
        let mut stream = connect(&url);
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.repeat(16).as_bytes()).unwrap();
        stream
    });
    let stop = CancellationToken::new();
    let serving = http::serve(listener, router, None, limits(), None, stop.clone());
    let watching = async {
        eventually("all are answered", || async { order.lock().unwrap().len() == 32 }).await;
        stop.cancel();
    };
    tokio::join!(serving, watching);
    let order = order.lock().unwrap().clone();
    let longest = order.chunk_by(|one, next| one == next).map(<[_]>::len).max();
    assert!(longest <= Some(2), "{order:?}");
    drop(streams);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_callback_is_answered_and_its_connection_closed() {
    let (_database, server) = server(&[]).await;
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", "404"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
    ] {
        let answers = raw(&server, &request.repeat(8)).await;
        assert!(answers.starts_with(&format!("HTTP/1.1 {status} ")), "{answers}");
        assert!(answers.contains("\r\nconnection: close\r\n"), "{answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    }
}

/// Else the connection would tell a stranger which apps are ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_callback_is_answered_as_a_stored_one() {
    let (_database, server) = server(&[]).await;
    let answers = [APP, "5"].map(|app| {
        let mut stream = connect(&server.url);
        let answers = [1, 2].map(|number| {
            stream.write_all(post(app, number, "").as_bytes()).unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(OK.as_bytes()) {
                let mut byte = [0];
                assert_eq!(stream.read(&mut byte).unwrap(), 1);
                answer.extend(byte);
            }
            String::from_utf8(answer).unwrap()
        });
        // The date of two answers may differ by a second.
        answers.map(|answer| {
            answer.lines().filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\n")
        })
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(server.figures().await.outcome("rejected_app_foreign"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelining_clients_block_no_event() {
    let changes = [("TRTC_SERVER__CONNECTIONS_MAX", "16")];
    let (database, server) = server(&changes).await;
    let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let foreign = post("5", 1, "").repeat(8);
    let strangers =
        ["GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".repeat(8), foreign].map(|requests| {
            let (url, ended) = (server.url.clone(), ended.clone());
            std::thread::spawn(move || {
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    let mut streams: Vec<_> = (0..16).map(|_| connect(&url)).collect();
                    for stream in &mut streams {
                        // It may have been closed to make room.
                        let _ = stream.write_all(requests.as_bytes());
                    }
                    for stream in &mut streams {
                        let _ = stream.read(&mut [0; 1024]);
                    }
                }
            })
        });
    for number in 0..30 {
        let answer = raw(&server, &post(APP, number, "Connection: close\r\n")).await;
        assert!(answer.ends_with(OK), "request {number}: `{answer}`");
    }
    ended.store(true, std::sync::atomic::Ordering::Relaxed);
    for stranger in strangers {
        stranger.join().unwrap();
    }
    assert_eq!(database.rows().await, 30);
}

/// What has come by now; none where nothing has.
fn so_far(stream: &mut TcpStream) -> Option<String> {
    stream.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    let read = stream.read(&mut bytes);
    stream.set_nonblocking(false).unwrap();
    match read {
        Ok(read) => Some(String::from_utf8_lossy(&bytes[..read]).into_owned()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => Some(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_answered_while_every_slot_is_busy() {
    let database = Database::postgres().await;
    let server = Server::start_with(settings(&database, &[])).await;
    let mut lock = sqlx::PgConnection::connect(&database.url).await.unwrap();
    lock.execute("begin; lock table events in access exclusive mode").await.unwrap();
    let page = "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(3);
    let asking = |_| {
        let mut stream = connect(&server.ops_url);
        stream.write_all(page.as_bytes()).unwrap();
        stream
    };
    let busy: Vec<_> = (0..130).map(asking).collect();
    // Those that are one too many are told so at once; before the others are.
    let refused = std::cell::RefCell::new(Vec::new());
    let stream = std::cell::RefCell::new(busy);
    let all_told = || async {
        let mut silent = Vec::new();
        for mut stream in stream.borrow_mut().drain(..) {
            match so_far(&mut stream) {
                Some(answer) => refused.borrow_mut().push(answer),
                None => silent.push(stream),
            }
        }
        *stream.borrow_mut() = silent;
        refused.borrow().len() >= 30
    };
    eventually("those too many are refused", all_told).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        let mut asks = connect(&server.ops_url);
        write!(asks, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        asks.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{path}: {answer}");
    }
    let (refused, mut busy) = (refused.into_inner(), stream.into_inner());
    // On a busy machine one whose question was not read for 2 s may have made room without a word.
    let told: Vec<_> = refused.iter().filter(|answer| answer.starts_with("HTTP/")).collect();
    assert!(
        !told.is_empty() && told.iter().all(|it| it.contains("\r\nretry-after: 1\r\n")),
        "{told:?}"
    );
    let answered = busy.iter_mut().filter_map(so_far).collect::<Vec<_>>();
    assert_eq!((busy.len(), answered.len()), (100, 0), "{answered:?}");
    lock.execute("rollback").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_counted_and_then_rate_limited() {
    let (_database, server) = server(&[("TRTC_OPS__TOKEN", "s3cret")]).await;
    let ask = async |path: &str, token: &str| {
        let request = server.client.get(format!("{}{path}", server.ops_url)).bearer_auth(token);
        request.send().await.unwrap()
    };
    // Those of all doors count together.
    for _ in 0..5 {
        assert_eq!(ask("/api/v1/events", "s3cre").await.status(), 401);
        assert_eq!(ask("/metrics", "s3cre").await.status(), 401);
    }
    for path in ["/api/v1/events", "/metrics", "/events"] {
        let answer = ask(path, "s3cre").await;
        assert_eq!(answer.status(), 429, "{path}");
        assert_eq!(answer.headers()["retry-after"], "60");
        assert_eq!(answer.headers()["connection"], "close");
    }
    let form = server.client.post(format!("{}/sign-in", server.ops_url)).body("token=s3cre");
    assert_eq!(form.send().await.unwrap().status(), 429);
    // The right one is let in all the same, and none at all is no guess.
    assert_eq!(ask("/api/v1/events", "s3cret").await.status(), 200);
    assert_eq!(server.get_ops("/api/v1/events").await.0, 401);
    let figures = ask("/metrics", "s3cret").await.text().await.unwrap();
    assert!(figures.contains("\ntrtc_ops_wrong_tokens_total 14\n"), "{figures}");
    server.clock.set(crate::support::NOW.plus(Duration::from_mins(1)));
    assert_eq!(ask("/api/v1/events", "s3cre").await.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn cross_site_requests_are_refused_without_a_token() {
    for (token, allowed) in [("", false), ("s3cret", true)] {
        let (_database, server) = server(&[("TRTC_OPS__TOKEN", token)]).await;
        let ask = async |path: &str, site: &str| {
            let request = server.client.get(format!("{}{path}", server.ops_url));
            let request = request.bearer_auth("s3cret").header("Sec-Fetch-Site", site);
            request.send().await.unwrap().status().as_u16()
        };
        for path in ["/", "/calls", "/api/v1/events", "/api/v1/events?format=csv", "/metrics"] {
            for site in ["none", "same-origin"] {
                assert_eq!(ask(path, site).await, 200, "{path} {site}");
            }
            for site in ["cross-site", "same-site"] {
                assert_eq!(ask(path, site).await, if allowed { 200 } else { 403 }, "{path} {site}");
            }
        }
        assert_eq!(ask("/livez", "cross-site").await, 200);
        assert_eq!(ask("/readyz", "cross-site").await, 200);
    }
}
