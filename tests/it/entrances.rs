//! The ways in: paths in other spellings, what proxies make of requests, and what the log says of what went astray.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use protocol::{AppId, Apps, Event};
use receiver::{Outcome, Receiver, Sink, callback_router};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::process::Serving;
use crate::support::{APP, DESTROY_ROOM, Database, OK, Server, destroy_room, settings};

async fn server(changes: &[(&str, &str)]) -> (Database, Server) {
    let database = Database::sqlite();
    let server = Server::start_with(settings(&database, changes)).await;
    (database, server)
}

/// Sends bytes over a connection of their own and reads until it is closed. `address` may be a URL.
pub(crate) fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A server that closes with unread bytes resets the connection: what came before counts.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request whose connection ends with its answer.
pub(crate) fn request(method: &str, path_and_query: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path_and_query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Posts an event to a path exactly as it is written; returns the status.
async fn post_to(server: &Server, number: usize, path: &str) -> u16 {
    let target = format!("{path}?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}");
    let (address, bytes) =
        (server.url.clone(), request("POST", &target, "", &destroy_room(number)));
    let answer = tokio::task::spawn_blocking(move || exchange(&address, &bytes)).await.unwrap();
    answer.get(9..12).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn extra_slashes_in_the_callback_path_are_accepted() {
    let (database, server) =
        server(&[("TRTC_SERVER__CALLBACK_PATHS", "/callback,/s3cret/in")]).await;
    let same = [
        "/callback",
        "/callback/",
        "//callback",
        "/callback//",
        "///callback///",
        "/s3cret/in",
        "/s3cret/in/",
        "/s3cret//in",
        "//s3cret//in//",
    ];
    for (number, path) in same.into_iter().enumerate() {
        assert_eq!(post_to(&server, number, path).await, 200, "{path}");
    }
    assert_eq!(database.rows().await, i64::try_from(same.len()).unwrap());
    let others = [
        "/",
        "//",
        "/call/back",
        "/callback/x",
        "/x/../callback",
        "/callback/.",
        "/callback%2F",
        "%2Fcallback",
        "/s3cret%2Fin",
        "/Callback",
        "/callback\\",
    ];
    for path in others {
        assert!([400, 404].contains(&post_to(&server, 99, path).await), "{path}");
    }
    assert_eq!(database.rows().await, i64::try_from(same.len()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_method_on_another_spelling_is_no_callback() {
    let (_database, server) = server(&[]).await;
    let answer = server.client.get(format!("{}/callback/", server.url)).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(server.figures().await.outcome("method_not_allowed"), 1);
}

/// A sink of somebody's own that keeps nothing.
struct Own;

#[async_trait]
impl Sink for Own {
    async fn submit(&self, _: Event, _: Instant) -> Outcome {
        Outcome::New
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_router_accepts_path_spellings_and_no_other_path() {
    let apps = Apps::new().with(AppId::parse(APP).unwrap(), Vec::new());
    let receiver = Receiver::new(apps, Arc::new(Own));
    let own = axum::Router::new()
        .route("/own", axum::routing::get(|| async { "mine" }))
        .fallback(|| async { (axum::http::StatusCode::IM_A_TEAPOT, "none of mine") })
        .merge(callback_router(receiver, &["/rtc/callback".to_owned()]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = async { axum::serve(listener, own).await.unwrap() };
    let _served = AbortOnDropHandle::new(tokio::spawn(serve));
    let paths = [
        ("/rtc/callback", true),
        ("/rtc/callback/", true),
        ("//rtc/callback", true),
        ("/rtc//callback//", true),
        ("/rtc/callback/x", false),
        ("/rtc/../rtc/callback", false),
    ];
    for (path, is_taken) in paths {
        let target = format!("{path}?SdkAppid={APP}");
        let (address, bytes) = (address.clone(), request("POST", &target, "", "{}"));
        let answer = tokio::task::spawn_blocking(move || exchange(&address, &bytes)).await.unwrap();
        let status = if is_taken { "200" } else { "418" };
        assert_eq!(answer.get(9..12), Some(status), "{path}: {answer}");
        assert_eq!(answer.ends_with(OK), is_taken, "{path}: {answer}");
    }
}

/// A server as a process, whose log is read.
pub(crate) struct Logged {
    pub(crate) serving: Serving,
    pub(crate) _folder: tempfile::TempDir,
}

impl Logged {
    pub(crate) fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { serving: Serving::start(folder.path(), more), _folder: folder }
    }

    /// Sends these bytes, and returns the next line of the log that has a reason.
    pub(crate) fn warning_of(&self, bytes: &[u8]) -> Value {
        exchange(&self.serving.url, bytes);
        self.serving.next_error(|line| line["reason"].is_string())
    }
}

#[test]
fn a_callback_that_misses_its_path_is_warned_of_once_a_minute() {
    let logged = Logged::start(&[]);
    let lost = request("POST", &format!("/s3cret/pa?th=1&SdkAppid={APP}&x=qu3ry"), "", "{}");
    let foreign = request("POST", "/s3cret/pa?SdkAppid=5", "", "{}");
    exchange(&logged.serving.url, &foreign);
    let line = logged.warning_of(&lost);
    assert_eq!(
        (&line["reason"], &line["level"]),
        (&"path_unknown".into(), &"WARN".into()),
        "{line}"
    );
    assert_eq!(line["app.id"], APP);
    assert!(line["advice"].as_str().unwrap().contains("server.callback_paths"), "{line}");
    for secret in ["s3cret", "qu3ry", "SdkAppid="] {
        assert!(!line.to_string().contains(secret), "{line}");
    }
    // The second one is not named, and the next line is of another kind.
    exchange(&logged.serving.url, &lost);
    let line = logged.warning_of(&request("GET", &format!("/?SdkAppid={APP}"), "", ""));
    assert_eq!((&line["reason"], &line["app.id"]), (&"method_wrong".into(), &APP.into()), "{line}");
    assert!(line["advice"].as_str().unwrap().contains("redirect"), "{line}");
}

#[test]
fn a_rejected_rtc_engine_event_is_named_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, format!("[[apps]]\nsdk_app_id = {APP}\nrtc_keys = [\"k3y\"]")).unwrap();
    let logged = Logged::start(&["--config", config.to_str().unwrap()]);
    let headers = format!("SdkAppId: {APP}\r\n");
    let body = r#"{"EventGroupId":1,"EventType":103,"EventInfo":{"RoomId":"s3cret"}}"#;
    let line = logged.warning_of(&request("POST", "/", &headers, body));
    assert_eq!((&line["reason"], &line["app.id"]), (&"rtc_sign_missing".into(), &APP.into()));
    assert!(line["advice"].as_str().unwrap().contains("rtc_keys"), "{line}");
    let signed = format!("{headers}Sign: q3J0bGU=\r\n");
    let line = logged.warning_of(&request("POST", "/", &signed, body));
    assert_eq!(line["reason"], "rtc_sign_wrong", "{line}");
    for secret in ["s3cret", "q3J0bGU", "k3y"] {
        assert!(!line.to_string().contains(secret), "{line}");
    }
    // Without headers it is nobody's.
    let line = logged.warning_of(&request("POST", "/", "", body));
    assert_eq!(line["reason"], "app_missing", "{line}");
}

#[test]
fn another_protocol_on_a_plain_port_is_named_in_the_log() {
    let logged = Logged::start(&[]);
    let proxied = [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 8080\r\n".to_vec(),
        request("POST", &format!("/?SdkAppid={APP}"), "", "{}"),
    ];
    let preambles: [(&[u8], &str, &str); 3] = [
        (&proxied.concat(), "proxy_protocol", "auth.trusted_proxies"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "http2_without_tls", "HTTP/1.1"),
        (b"\x16\x03\x01\0\x05\x01\0\0\x01\0", "tls_on_plain_port", "server.tls_certificate"),
    ];
    for (bytes, reason, to_set) in preambles {
        let line = logged.warning_of(bytes);
        assert_eq!(
            (&line["reason"], &line["address"]),
            (&reason.into(), &"127.0.0.1".into()),
            "{line}"
        );
        assert!(line["advice"].as_str().unwrap().contains(to_set), "{line}");
    }
    // Version 2 of the same, which is not named again within the minute.
    exchange(
        &logged.serving.url,
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x10\x92\x1f\x90",
    );
    let line = logged.warning_of(&request("GET", &format!("/?SdkAppid={APP}"), "", ""));
    assert_eq!(line["reason"], "method_wrong", "{line}");
}

#[test]
fn plain_http_on_a_tls_port_is_named_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("certificate.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let config = "[server]\ntls_certificate = \"certificate.pem\"\ntls_key = \"key.pem\"\n";
    std::fs::write(folder.path().join("my.toml"), config).unwrap();
    let serving = Serving::start(folder.path(), &["--config", "my.toml"]);
    let logged = Logged { serving, _folder: folder };
    let line = logged.warning_of(&request("POST", &format!("/?SdkAppid={APP}"), "", "{}"));
    assert_eq!(line["reason"], "http_on_tls_port", "{line}");
    assert!(line["advice"].as_str().unwrap().contains("https://"), "{line}");
}

#[test]
fn an_invalid_forwarded_address_is_logged_escaped_and_cut() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        "[auth]\nsource_addresses = [\"203.0.113.0/24\"]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    std::fs::write(folder.path().join("my.toml"), config).unwrap();
    let serving = Serving::start(folder.path(), &["--config", "my.toml"]);
    let logged = Logged { serving, _folder: folder };
    let header = format!("X-Forwarded-For: 203.0.113.9, _\"hidden{}\r\n", "x".repeat(200));
    let line = logged.warning_of(&request("POST", &format!("/?SdkAppid={APP}"), &header, "{}"));
    assert_eq!(line["reason"], "address_foreign", "{line}");
    let shown = line["x_forwarded_for"].as_str().unwrap();
    assert!(shown.starts_with("_\\\"hiddenxxx") && shown.len() == 60, "{line}");
}
