//! The PROXY protocol on the public listener: whose address counts, who may say it, and what else ends the connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;
use tokio_rustls::rustls::version::TLS13;

use crate::entrances::{Logged, exchange, request};
use crate::process::{done, failed};
use crate::support::{APP, DESTROY_ROOM, Database, OK, Server, destroy_room, eventually, settings};
use crate::tls::{self, Authority};

const PATIENCE: Duration = Duration::from_secs(20);
const REQUIRED: [(&str, &str); 2] =
    [("TRTC_SERVER__PROXY_PROTOCOL", "required"), ("TRTC_AUTH__TRUSTED_PROXIES", "127.0.0.1")];
/// Those whose events are taken, where the address is to matter.
const TAKEN: (&str, &str) = ("TRTC_AUTH__SOURCE_ADDRESSES", "203.0.113.0/24,2001:db8::/32");

async fn server(changes: &[(&str, &str)]) -> (Database, Server) {
    let database = Database::sqlite();
    let server = Server::start_with(settings(&database, &[&REQUIRED, changes].concat())).await;
    (database, server)
}

fn v1(client: &str) -> Vec<u8> {
    let (family, own) =
        if client.contains(':') { ("TCP6", "2001:db8:1::1") } else { ("TCP4", "192.0.2.1") };
    format!("PROXY {family} {client} {own} 40000 443\r\n").into_bytes()
}

fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, family], &length, addresses].concat()
}

/// Version 2 for a client of IPv4.
fn v2_of(client: [u8; 4]) -> Vec<u8> {
    v2(1, 0x11, &[&client[..], &[192, 0, 2, 1, 0x9c, 0x40, 1, 0xbb]].concat())
}

/// An event whose connection ends with its answer.
fn post(number: usize, headers: &str) -> Vec<u8> {
    let target = format!("/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}");
    request("POST", &target, headers, &destroy_room(number))
}

/// Sends bytes over a connection of their own; gives what is answered.
async fn said(server: &Server, bytes: Vec<u8>) -> String {
    let url = server.url.clone();
    spawn_blocking(move || exchange(&url, &bytes)).await.unwrap()
}

fn connect(url: &str) -> TcpStream {
    let stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Posts an event over a connection that stays open; false where the connection was closed.
fn posts(stream: &mut TcpStream, number: usize) -> bool {
    let body = destroy_room(number);
    let length = body.len();
    let event = format!(
        "POST /?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    if stream.write_all(event.as_bytes()).is_err() {
        return false;
    }
    let mut answer = Vec::new();
    while !answer.ends_with(OK.as_bytes()) {
        let mut byte = [0];
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return false;
        }
        answer.extend(byte);
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_in_the_header_is_the_source_address() {
    let (database, server) = server(&[TAKEN]).await;
    let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 28], &[1, 2, 3, 4]].concat();
    let forwarded = "X-Forwarded-For: 203.0.113.9\r\n";
    let unix = vec![b'/'; 216];
    // The header, what the client claims, and whether its event is taken.
    let cases = [
        (v1("203.0.113.7"), "", true),
        (v1("198.51.100.7"), "", false),
        (v1("2001:db8::7"), "", true),
        (v1("2001:db9::7"), "", false),
        // An address of IPv4, written as one of IPv6.
        (v1("::ffff:203.0.113.7"), "", true),
        (v2_of([203, 0, 113, 7]), "", true),
        (v2_of([198, 51, 100, 7]), "", false),
        (v2(1, 0x21, &six), "", true),
        // The client is no proxy: what it claims is not asked for.
        (v1("198.51.100.7"), forwarded, false),
        (v2_of([198, 51, 100, 7]), forwarded, false),
        // It is one of ours, behind the load balancer or the load balancer itself.
        (v1("127.0.0.1"), forwarded, true),
        (v2(0, 0, b""), forwarded, true),
        (v2(0, 0, b""), "", false),
        // Nobody knows who it is, so that anybody may have written that.
        (b"PROXY UNKNOWN\r\n".to_vec(), forwarded, false),
        (v2(1, 0, b""), forwarded, false),
        (v2(1, 0x31, &unix), forwarded, false),
    ];
    let mut taken = 0;
    for (number, (header, headers, is_taken)) in cases.into_iter().enumerate() {
        let answer = said(&server, [header.clone(), post(number, headers)].concat()).await;
        assert!(answer.ends_with(OK), "{header:?}: {answer}");
        taken += i64::from(is_taken);
        assert_eq!(database.rows().await, taken, "{}", String::from_utf8_lossy(&header));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_list_an_unnamed_client_is_served_too() {
    let (database, server) = server(&[]).await;
    let local = said(&server, [v2(0, 0, b""), post(1, "")].concat()).await;
    let unknown = said(&server, [b"PROXY UNKNOWN\r\n".to_vec(), post(2, "")].concat()).await;
    assert!(local.ends_with(OK) && unknown.ends_with(OK), "{local} {unknown}");
    assert_eq!(database.rows().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_begins_behind_the_header() {
    let authority = Authority::new();
    authority.write(authority.issue(2040));
    let (database, server) = authority.server(&[&REQUIRED[..], &[TAKEN]].concat()).await;
    let address = server.url.trim_start_matches("http://");
    for (number, (header, is_taken)) in
        [(v1("203.0.113.7"), true), (v2_of([203, 0, 113, 7]), true), (v1("198.51.100.7"), false)]
            .into_iter()
            .enumerate()
    {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(&header).await.unwrap();
        let before = database.rows().await;
        let mut stream = authority.agree_with(stream, &TLS13).await.unwrap();
        tls::post(&mut stream, number).await;
        assert_eq!(database.rows().await - before, i64::from(is_taken));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_cut_anywhere_is_no_request() {
    let (database, server) = server(&[]).await;
    for header in [v1("203.0.113.7"), v2_of([203, 0, 113, 7])] {
        let url = server.url.clone();
        let whole = [header.clone(), post(header.len(), "")].concat();
        spawn_blocking(move || {
            for cut in 0..header.len() {
                let mut stream = connect(&url);
                stream.write_all(&header[..cut]).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer);
                assert_eq!(answer, b"", "{cut} of {header:?}");
            }
            // In single bytes it is as good as whole.
            let mut stream = connect(&url);
            for byte in whole {
                stream.write_all(&[byte]).unwrap();
            }
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with(OK), "{answer}");
        })
        .await
        .unwrap();
    }
    assert_eq!(database.rows().await, 2);
    // All but the two that sent nothing, as the health checks of some load balancers do.
    let cut = v1("203.0.113.7").len() + v2_of([0; 4]).len() - 2;
    assert_eq!(server.figures().await.outcome("head_broken"), u64::try_from(cut).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_header_ends_the_connection() {
    let (_database, server) = server(&[("TRTC_SERVER__HEADER_TIMEOUT_MS", "300")]).await;
    for trickles in [false, true] {
        let mut stream = connect(&server.url);
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let talk = move || {
            let begun = Instant::now();
            let mut answer = Vec::new();
            if trickles {
                stream.write_all(b"PROXY UNKNOWN ").unwrap();
            }
            // One byte whenever nothing came for 20 ms: less than a line has in that time.
            while begun.elapsed() < PATIENCE {
                match stream.read_to_end(&mut answer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    _ => break,
                }
                if trickles {
                    let _ = stream.write_all(b"x");
                }
            }
            assert!(begun.elapsed() < PATIENCE, "it may wait for ever");
            answer
        };
        assert_eq!(spawn_blocking(talk).await.unwrap(), b"");
    }
    let closed = |reason: &str| format!("trtc_connections_closed_total{{reason=\"{reason}\"}}");
    server.shows(&closed("idle"), 1).await;
    server.shows(&closed("head_too_slow"), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_holds_its_share_of_slots_behind_a_balancer() {
    let (_database, server) = server(&[("TRTC_SERVER__CONNECTIONS_MAX", "16")]).await;
    let url = server.url.clone();
    let open = async move |client: String, number: usize| {
        let url = url.clone();
        let talk = move || {
            let mut stream = connect(&url);
            stream.write_all(&v1(&client)).unwrap();
            assert!(posts(&mut stream, number), "{client}");
            stream
        };
        spawn_blocking(talk).await.unwrap()
    };
    let mut others = Vec::new();
    // These wait for longer, and would go first if all were the load balancer's.
    for number in 0..10 {
        others.push(open(format!("198.51.100.{number}"), number).await);
    }
    let mut many = Vec::new();
    for number in 10..16 {
        many.push(open("203.0.113.7".to_owned(), number).await);
    }
    for number in 16..20 {
        others.push(open(format!("198.51.100.{number}"), number).await);
    }
    let left = spawn_blocking(move || {
        for (number, stream) in others.iter_mut().enumerate() {
            assert!(posts(stream, 100 + number), "the connection of {number} is closed");
        }
        many.iter_mut().filter_map(|stream| posts(stream, 200).then_some(())).count()
    });
    assert_eq!(left.await.unwrap(), 2);
}

fn logged(settings: &str) -> Logged {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("my.toml"), settings).unwrap();
    let serving = crate::process::Serving::start(folder.path(), &["--config", "my.toml"]);
    Logged { serving, _folder: folder }
}

#[test]
fn only_a_trusted_proxy_may_send_a_header() {
    let settings = "[server]\nproxy_protocol = \"required\"\n[auth]\nsource_addresses = [\"203.0.113.0/24\"]\n\
                    trusted_proxies = [\"192.0.2.0/24\"]\n";
    let logged = logged(settings);
    for header in [v1("203.0.113.7"), v2_of([203, 0, 113, 7])] {
        let answer = exchange(&logged.serving.url, &[header, post(1, "")].concat());
        assert!(!answer.contains(OK), "{answer}");
    }
    // The second is not named: the next line is of another kind.
    let line = logged.serving.next_error(|line| line["reason"].is_string());
    assert_eq!(line["reason"], "proxy_protocol_untrusted", "{line}");
    assert_eq!(line["address"], "127.0.0.1", "{line}");
    assert!(line["advice"].as_str().unwrap().contains("auth.trusted_proxies"), "{line}");
    // Without a header it is served as what it is.
    let line = logged.warning_of(&post(1, ""));
    assert_eq!(
        (&line["reason"], &line["address"]),
        (&"address_foreign".into(), &"127.0.0.1".into())
    );
}

#[test]
fn a_trusted_proxys_connection_without_a_header_is_named() {
    let settings =
        "[server]\nproxy_protocol = \"required\"\n[auth]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let logged = logged(settings);
    for (bytes, reason, found) in [
        (post(1, ""), "proxy_protocol_missing", "an HTTP request"),
        (
            b"PROXY TCP4 203.0.113.7 192.0.2.1\r\n".to_vec(),
            "proxy_protocol_malformed",
            "two addresses",
        ),
    ] {
        assert_eq!(exchange(&logged.serving.url, &bytes), "");
        let line = logged.serving.next_error(|line| line["reason"].is_string());
        assert_eq!(
            (&line["reason"], &line["address"]),
            (&reason.into(), &"127.0.0.1".into()),
            "{line}"
        );
        assert!(line["found"].as_str().unwrap().contains(found), "{line}");
        // Nothing of what was sent.
        assert!(!line.to_string().contains("203.0.113.7"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_header_is_no_request() {
    let (database, server) = server(&[]).await;
    assert_eq!(said(&server, post(1, "")).await, "");
    let counted = || async { server.figures().await.outcome("head_broken") == 1 };
    eventually("it is counted", counted).await;
    assert_eq!(database.rows().await, 0);
}

#[test]
fn the_commands_say_who_must_send_a_header() {
    let folder = tempfile::tempdir().unwrap();
    let write = |proxies: &str| {
        let config = format!(
            "[server]\nproxy_protocol = \"required\"\n[auth]\ntrusted_proxies = [{proxies}]\n[[apps]]\nsdk_app_id = {APP}\n"
        );
        std::fs::write(folder.path().join("my.toml"), config).unwrap();
    };
    write("");
    let said = failed(folder.path(), &["check-config", "--config", "my.toml"], 1);
    assert!(said.contains("`auth.trusted_proxies` is empty"), "{said}");
    write("\"127.0.0.0/8\"");
    let said = done(folder.path(), &["check-config", "--config", "my.toml"]);
    assert!(said.contains("PROXY protocol required from 127.0.0.0/8"), "{said}");
    let said = failed(folder.path(), &["send", "--all", "--config", "my.toml"], 1);
    assert!(said.contains("server.proxy_protocol") && said.contains("`--to`"), "{said}");
}
