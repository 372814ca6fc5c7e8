//! The two listeners, over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use protocol::verify::sign;
use secrecy::SecretString;

use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, OK, Server, destroy_room, eventually, settings, stored,
};

const JSON: &str = "application/json";

async fn server(changes: &[(&str, &str)]) -> (Database, Server) {
    let database = Database::sqlite();
    let server = Server::start_with(settings(&database, changes)).await;
    (database, server)
}

fn query(rest: &str) -> String {
    format!("/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}{rest}")
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_post_holds_is_answered_with_the_envelope() {
    let (database, server) = server(&[]).await;
    let body = destroy_room(1).into_bytes();
    for (path, body) in [
        (query(""), body.clone()),
        (query(""), body.clone()),
        (query(""), b"\xff\xfe".to_vec()),
        (query(""), Vec::new()),
        (format!("/callback?SdkAppid={APP}&CallbackCommand=No.SuchThing"), b"{}".to_vec()),
        ("/?SdkAppid=5&CallbackCommand=x".to_owned(), body.clone()),
        ("/".to_owned(), body),
    ] {
        let answer = server.post_raw(&path, body).await;
        assert_eq!(answer, (200, JSON.to_owned(), OK.to_owned()), "{path}");
    }
    assert_eq!(database.rows().await, 4);
    let figures = server.figures().await;
    assert_eq!(figures.outcome("stored"), 4);
    assert_eq!(figures.outcome("duplicate"), 1);
    assert_eq!(figures.outcome("rejected_app_foreign"), 1);
    assert_eq!(figures.outcome("rejected_app_missing"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_query_keys_do_not_override_the_vendors() {
    let (database, server) = server(&[("TRTC_CALLBACK_TOKEN", "t0ken")]).await;
    let time = NOW.as_secs();
    let sign = sign(&SecretString::from("t0ken"), &time.to_string());
    // The vendor merges a registered URL's own keys among its own, in the order of the alphabet.
    let path = format!(
        "/?CallbackCommand=Push.OfflinePush&ClientIP=203.0.113.7&OptPlatform=Web&RequestTime={time}&SdkAppid={APP}\
         &Sign={sign}&clientip=own&command=im&contenttype=json&optplatform=own&requesttime=1&sdkappid=1&sign=my-own"
    );
    let body = r#"{"Events":[{"CallbackCommand":"Push.OfflinePush","EventType":1,"EventTime":1764400000,
        "To_Account":"ann"}]}"#;
    server.post_raw(&path, body.into()).await;
    assert_eq!(server.figures().await.outcome("stored"), 1);
    let row = stored(&database).await.remove(0);
    assert_eq!((&*row.command, &*row.family, row.command_sent), ("Push.OfflinePush", "push", None));
    assert_eq!(row.client_ip.as_deref(), Some("203.0.113.7"));
    assert_eq!(row.platform.as_deref(), Some("Web"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_app_takes_signed_requests_only() {
    let (database, server) = server(&[("TRTC_CALLBACK_TOKEN", "new\nold")]).await;
    let signed = |token: &str, time: i64| {
        let sign = sign(&SecretString::from(token), &time.to_string());
        query(&format!("&Sign={sign}&RequestTime={time}"))
    };
    let now = NOW.as_secs();
    for (path, outcome) in [
        (signed("new", now), "stored"),
        (signed("old", now - 60), "stored"),
        (signed("other", now), "rejected_sign_wrong"),
        (signed("new", now - 61), "rejected_request_time_stale"),
        (signed("new", now + 61), "rejected_request_time_stale"),
        (query(""), "rejected_sign_missing"),
    ] {
        let before = server.figures().await.outcome(outcome);
        let rows = database.rows().await;
        let body = destroy_room(usize::try_from(rows).unwrap()).into_bytes();
        let answer = server.post_raw(&path, body).await;
        assert_eq!(answer, (200, JSON.to_owned(), OK.to_owned()));
        assert_eq!(server.figures().await.outcome(outcome), before + 1, "{path}");
        let stored = i64::from(outcome == "stored");
        assert_eq!(database.rows().await, rows + stored, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_requests_may_be_answered_with_403() {
    let (database, server) = server(&[("TRTC_ANSWER__REJECTED", "forbidden")]).await;
    let (status, kind, body) = server.post_raw("/?SdkAppid=5", b"{}".to_vec()).await;
    assert_eq!((status, kind.as_str()), (403, JSON));
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["ActionStatus"], "FAIL");
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
    assert_eq!(database.rows().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_no_callback_gets_a_plain_http_error() {
    let (database, server) = server(&[("TRTC_SERVER__BODY_BYTES_MAX", "2048")]).await;
    let (status, ..) = server.post_raw("/elsewhere", Vec::new()).await;
    assert_eq!(status, 404);
    let get = server.client.get(&server.url).send().await.unwrap();
    assert_eq!(get.status(), 405);
    assert_eq!(get.headers()["allow"], "POST");
    let (status, ..) = server.post_raw(&query(""), vec![b' '; 2049]).await;
    assert_eq!(status, 413);
    let (status, ..) = server.post_raw(&query(""), vec![b' '; 2048]).await;
    assert_eq!(status, 200);
    assert_eq!(database.rows().await, 1);
    let figures = server.figures().await;
    for outcome in ["not_found", "method_not_allowed", "body_too_large", "stored"] {
        assert_eq!(figures.outcome(outcome), 1, "{outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_limit_holds_while_reading_a_body_of_unknown_length() {
    let (database, server) = server(&[("TRTC_SERVER__BODY_BYTES_MAX", "2048")]).await;
    let head =
        format!("POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", query(""));
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1024));
    // Two chunks are taken; the third is over the limit, and the end never comes.
    let answer = raw(&server, &format!("{head}{chunk}{chunk}{chunk}")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(database.rows().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_declared_too_large_is_refused_without_reading() {
    let (_database, server) = server(&[("TRTC_SERVER__BODY_TIMEOUT_MS", "600000")]).await;
    let head =
        format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n{{", query(""));
    let answer = raw(&server, &head).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(server.figures().await.outcome("body_too_large"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_times_out() {
    let (database, server) = server(&[("TRTC_SERVER__BODY_TIMEOUT_MS", "100")]).await;
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{", query(""));
    let answer = raw(&server, &head).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(database.rows().await, 0);
    assert_eq!(server.figures().await.outcome("body_too_slow"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_or_oversized_head_ends_the_connection() {
    let changes =
        [("TRTC_SERVER__HEADER_TIMEOUT_MS", "1000"), ("TRTC_SERVER__HEADER_BYTES_MAX", "16384")];
    let (_database, server) = server(&changes).await;
    let answer = raw(&server, "POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(server.figures().await.outcome("head_too_slow"), 1);
    let large = format!("POST / HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(17000));
    let answer = raw(&server, &large).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(server.figures().await.outcome("head_too_large"), 1);
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configured_paths_replace_the_usual_ones() {
    let (database, server) = server(&[("TRTC_SERVER__CALLBACK_PATHS", "/k3y/rtc")]).await;
    let (status, ..) = server.post_raw(&query(""), b"{}".to_vec()).await;
    assert_eq!(status, 404);
    let path = format!("/k3y/rtc{}", query("").trim_start_matches('/'));
    let (status, ..) = server.post_raw(&path, b"{}".to_vec()).await;
    assert_eq!(status, 200);
    assert_eq!(database.rows().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outcomes_add_up_to_the_requests() {
    let changes = [("TRTC_SERVER__BODY_TIMEOUT_MS", "2000")];
    let (_database, server) = server(&changes).await;
    for number in 0..20 {
        server.post_body(DESTROY_ROOM, destroy_room(number % 7)).await;
        server.post_raw("/elsewhere", Vec::new()).await;
        server.post_raw("/?SdkAppid=7", Vec::new()).await;
    }
    let slow = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{", query(""));
    raw(&server, &slow).await;
    // One that goes away before its body is complete.
    let mut gone = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    gone.write_all(slow.as_bytes()).unwrap();
    let requests = "trtc_requests_total";
    eventually("62 requests", || async { server.figures().await.value(requests) == 62 }).await;
    drop(gone);
    eventually("62 outcomes", || async { server.figures().await.outcomes() == 62 }).await;
    let figures = server.figures().await;
    assert_eq!(figures.value(requests), 62);
    assert_eq!(figures.outcomes(), 62, "{}", figures.0);
    assert_eq!(figures.value("trtc_event_lag_seconds_count"), 20);
    assert_eq!(figures.value("trtc_events_total{family=\"room\",body=\"typed\"}"), 20);
    assert_eq!(figures.value("trtc_queue_events"), 0);
    assert_eq!(figures.value("trtc_queue_bytes"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_open_and_metrics_need_the_token() {
    let (_database, server) = server(&[("TRTC_OPS__TOKEN", "s3cret")]).await;
    assert_eq!(server.get_ops("/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(server.get_ops("/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(server.get_ops("/metrics").await.0, 401);
    let url = format!("{}/metrics", server.ops_url);
    for (token, status) in [("s3cret", 200), ("s3cre", 401), ("s3cretx", 401), ("", 401)] {
        let answer = server.client.get(&url).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), status, "{token}");
    }
    // The name of a scheme is not case-sensitive, and no other one does.
    for (sent, status) in [("bearer s3cret", 200), ("BEARER s3cret", 200), ("Basic s3cret", 401)] {
        let answer = server.client.get(&url).header("Authorization", sent).send().await.unwrap();
        assert_eq!(answer.status(), status, "{sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_tells_when_the_store_is_away() {
    let database = Database::postgres().await;
    let server = Server::start(&database).await;
    assert_eq!(server.get_ops("/readyz").await, (200, "ok\n".to_owned()));
    database.vanish().await;
    // The spool takes what comes, so whoever sends callbacks here should go on.
    let (status, text) = server.get_ops("/readyz").await;
    assert_eq!((status, text.as_str()), (200, "ok\nstore: not available\n"));
    assert_eq!(server.get_ops("/livez").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_store_and_spool_is_not_ready() {
    let database = Database::postgres().await;
    let mut settings = settings(&database, &[]);
    settings.spool.path = "".into();
    let server = Server::start_with(settings).await;
    database.vanish().await;
    let (status, text) = server.get_ops("/readyz").await;
    assert_eq!(
        (status, text.as_str()),
        (503, "events are not kept\nstore: not available\nspool: none\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_beyond_the_body_budget_are_shed_and_counted() {
    let changes = [
        ("TRTC_SERVER__BODY_BYTES_MAX", "1048576"),
        ("TRTC_INGEST__QUEUE_BYTES_MAX", "1048576"),
        ("TRTC_SERVER__BODY_TIMEOUT_MS", "600000"),
        ("TRTC_ANSWER__WHEN_NOT_STORED", "unavailable"),
    ];
    let (database, server) = server(&changes).await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let large = " ".repeat(900_000);
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 900001\r\n\r\n", query(""));
    let mut tries = 0;
    let mut slow = loop {
        // All but its last byte arrives, and stays in memory. On a busy machine the other one may be read first.
        let mut slow = TcpStream::connect(&address).unwrap();
        slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        slow.write_all(format!("{head}{large}").as_bytes()).unwrap();
        let (status, _, text) = server.post_raw(&query(""), large.clone().into_bytes()).await;
        if status == 503 {
            assert!(text.contains("FAIL"), "{text}");
            break slow;
        }
        tries += 1;
        assert!(tries < 20, "there was always room for another");
    };
    // Small ones still fit beside it, and a stranger's body takes no room.
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
    let (status, ..) = server.post_raw("/?SdkAppid=5", large.clone().into_bytes()).await;
    assert_eq!(status, 200);
    slow.write_all(b"1").unwrap();
    let mut answer = [0; 13];
    slow.read_exact(&mut answer).unwrap();
    // On a machine so busy that it took a second, it was told to give up.
    assert!([b"HTTP/1.1 200 ", b"HTTP/1.1 503 "].contains(&&answer), "{answer:?}");
    let (status, ..) = server.post_raw(&query(""), large.clone().into_bytes()).await;
    assert_eq!(status, 200, "the room is free again");
    let figures = server.figures().await;
    assert!(figures.outcome("shed") > 0);
    assert_eq!(figures.value("trtc_requests_total"), figures.outcomes());
    assert!(database.rows().await >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_many_requests() {
    let (database, server) = server(&[]).await;
    let request = |number| {
        let body = destroy_room(number);
        let head =
            format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}", query(""), body.len());
        let close = if number == 3 { "\r\nConnection: close" } else { "" };
        format!("{head}{close}\r\n\r\n{body}")
    };
    // Pipelined: the vendor would wait for each answer, but need not.
    let all: String = (1..=3).map(request).collect();
    let answers = raw(&server, &all).await;
    assert_eq!(answers.matches(OK).count(), 3, "{answers}");
    assert_eq!(database.rows().await, 3);
}

/// Sends bytes on a connection of their own, and reads until the server closes it.
pub(crate) async fn raw(server: &Server, request: &str) -> String {
    let address = server.url.trim_start_matches("http://").to_owned();
    let request = request.as_bytes().to_vec();
    let talk = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        // A server that closes with unread bytes resets the connection: what came before counts.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    };
    tokio::task::spawn_blocking(talk).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_sent_before_the_stop_is_answered() {
    let (database, server) = server(&[]).await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let send = |number| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let body = destroy_room(number);
        let head =
            format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}", query(""), body.len());
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        stream
    };
    let streams: Vec<TcpStream> = (0..20).map(send).collect();
    server.stop().await;
    for mut stream in streams {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with(OK), "{answer}");
    }
    assert_eq!(database.rows().await, 20);
}
