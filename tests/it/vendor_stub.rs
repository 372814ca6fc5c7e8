//! The stand-in for the vendor's REST API, the one of `examples/vendor_stub`, within the tests.

use std::time::Duration;

use protocol::AppId;
use reqwest::Method;
use secrecy::ExposeSecret;
use trtc_callbacks::clock::Clock;
use trtc_callbacks::tencent_api::UserSig;

use crate::support::NOW;
use crate::vendor::{APP, KEY, stub};

#[path = "../../examples/vendor_stub/book.rs"]
mod book;
#[path = "../../examples/vendor_stub/gate.rs"]
mod gate;
#[path = "../../examples/vendor_stub/reply.rs"]
mod reply;
#[path = "../../examples/vendor_stub/seen.rs"]
mod seen;
#[path = "../../examples/vendor_stub/stub.rs"]
mod stub;
#[path = "../../examples/vendor_stub/ticket.rs"]
pub(crate) mod ticket;

pub(crate) use book::{Config, Fault};
pub(crate) use stub::{App, Options, Stub};

/// The code that a request gets; the usual query where none is given in place of a part of it.
async fn code(
    stub: &Stub,
    method: Method,
    path: &str,
    query: &[(&str, String)],
    body: &str,
) -> i64 {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let url = format!("{}{path}?{query}", stub.origin());
    let client =
        trtc_callbacks::tencent_api::http_client().no_proxy().timeout(Duration::from_secs(5));
    let request = client.build().unwrap().request(method, url).body(body.to_owned());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    answer["ErrorCode"].as_i64().unwrap()
}

/// The query of a sound call, with a signature for this app and account.
fn query(app: i64, identifier: &str, key: &str, made_ago: Duration) -> Vec<(&'static str, String)> {
    let app = AppId::parse(&app.to_string()).unwrap();
    let (now, expire) = (NOW.minus(made_ago), Duration::from_mins(10));
    let usersig = UserSig::new(app, identifier, &key.into(), now, expire).unwrap().encode();
    vec![
        ("sdkappid", APP.to_string()),
        ("identifier", "administrator".to_owned()),
        ("usersig", usersig.expose_secret().to_owned()),
        ("random", "4294967295".to_owned()),
        ("contenttype", "json".to_owned()),
    ]
}

#[tokio::test]
async fn the_stand_in_refuses_what_the_vendor_would() {
    const PATH: &str = "/v4/live_config/get_callback";
    let clock = Clock::manual(NOW);
    let options = Options { apps: vec![App::new(APP, KEY)], ..Options::new(clock) };
    let stub = Stub::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    let sound = query(APP, "administrator", KEY, Duration::ZERO);
    let with = |name: &str, value: &str| {
        let mut query = sound.clone();
        query.retain(|(key, _)| *key != name);
        let name = sound.iter().map(|(key, _)| *key).find(|key| *key == name).unwrap();
        query.extend((!value.is_empty()).then(|| (name, value.to_owned())));
        query
    };
    let post = async |path, query: &[(&str, String)], body| {
        code(&stub, Method::POST, path, query, body).await
    };
    assert_eq!(post(PATH, &sound, "{}").await, 100_301, "it is sound");
    for (query, refused) in [
        (with("sdkappid", ""), 60012),
        (with("sdkappid", "one"), 60006),
        (with("sdkappid", "1400000009"), 70020),
        (with("identifier", ""), 60025),
        (with("identifier", "admin"), 70013),
        (with("usersig", ""), 60025),
        (with("usersig", "rubbish"), 70003),
        (with("usersig", &sound[2].1.replace('*', " ")[1..]), 70003),
        (with("random", ""), 60002),
        (with("random", "4294967296"), 60002),
        (with("contenttype", ""), 60025),
        (with("contenttype", "JSON"), 60025),
        (query(APP + 1, "administrator", KEY, Duration::ZERO), 70014),
        (query(APP, "admin", KEY, Duration::ZERO), 70013),
        (query(APP, "administrator", "another", Duration::ZERO), 70009),
        (query(APP, "administrator", KEY, Duration::from_mins(11)), 70001),
    ] {
        assert_eq!(post(PATH, &query, "{}").await, refused, "{query:?}");
    }
    for body in ["", "no JSON", "[]", "1"] {
        assert_eq!(post(PATH, &sound, body).await, 60003, "{body}");
    }
    assert_eq!(code(&stub, Method::GET, PATH, &sound, "{}").await, 60008);
    for path in [
        "/",
        "/v4/live_config",
        "/v4/call_config/update_callback",
        "/v4/room_config/set_callback_token",
    ] {
        assert_eq!(post(path, &sound, "{}").await, 60009, "{path}");
    }
    assert_eq!(post("/v4/ConfigSvc/GetIPList", &sound, "{}").await, 60002, "without a type");
}

#[tokio::test]
async fn the_stand_in_refuses_a_configuration_that_the_vendor_would() {
    const PATH: &str = "/v4/live_config/set_callback";
    let (stub, _) = stub().await;
    let sound = query(APP, "administrator", KEY, Duration::ZERO);
    for body in [
        "{}",
        r#"{"Url":"https://a.b"}"#,
        r#"{"Url":"https://a.b","CallbackCommandList":[]}"#,
        r#"{"Url":"https://a.b","CallbackCommandList":"Live.CallbackAfterCreateRoom"}"#,
        r#"{"Url":"https://a.b","CallbackCommandList":["Call.CallbackAfterStartCall"]}"#,
        r#"{"Url":"https://a.b","CallbackCommandList":["Nothing"]}"#,
        r#"{"Url":"ftp://a.b","CallbackCommandList":["Live.CallbackAfterCreateRoom"]}"#,
        r#"{"Url":"https://a.b/?c","CallbackCommandList":["Live.CallbackAfterCreateRoom"]}"#,
        r#"{"CallbackCommandList":["Live.CallbackAfterCreateRoom"]}"#,
    ] {
        assert_eq!(code(&stub, Method::POST, PATH, &sound, body).await, 100_002, "{body}");
    }
    assert_eq!(stub.config(APP, "live_config"), None);
}
