//! The client of the vendor's REST API over HTTP, against the stand-in.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use protocol::AppId;
use protocol::diagnostic::Hint;
use secrecy::{ExposeSecret, SecretString};
use trtc_callbacks::clock::Clock;
use trtc_callbacks::tencent_api::{
    CallbackConfig, Client, Deleted, Egress, Endpoint, Failure, Limits, Product, Signer,
    TokenConfig, VendorError,
};

use crate::support::NOW;
use crate::vendor_stub::{App, Fault, Options, Stub};

pub(crate) const APP: i64 = 1_400_000_001;
pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
pub(crate) const URL: &str = "https://callbacks.example.com/a-secret-path";

/// Limits that let a test fail soon.
pub(crate) fn limits() -> Limits {
    Limits { pause: Duration::from_millis(2), ..Limits::default() }
}

/// A stand-in that knows one app, and whose clock moves on with each request.
pub(crate) async fn stub() -> (Stub, Clock) {
    let clock = Clock::manual(NOW);
    let apps = vec![App::new(APP, KEY)];
    let options = Options { apps, ticks: true, ..Options::new(clock.clone()) };
    (Stub::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap(), clock)
}

pub(crate) fn client_of(stub: &Stub, clock: &Clock, limits: Limits) -> Client {
    client_as(stub, clock, limits, (APP, "administrator", KEY))
}

fn client_as(stub: &Stub, clock: &Clock, limits: Limits, who: (i64, &str, &str)) -> Client {
    Client::new(Endpoint::parse(&stub.origin()).unwrap(), signer_as(clock, who), limits).unwrap()
}

fn signer_of(clock: &Clock) -> Signer {
    signer_as(clock, (APP, "administrator", KEY))
}

fn signer_as(clock: &Clock, (app, identifier, key): (i64, &str, &str)) -> Signer {
    let app = AppId::parse(&app.to_string()).unwrap();
    let clock = clock.clone();
    Signer::new(app, identifier, key.into(), move || clock.now()).unwrap()
}

/// Whose product's commands they are does not matter here.
fn config(product: Product) -> CallbackConfig {
    CallbackConfig::new(URL, product.usual_commands())
}

fn codes(stub: &Stub) -> Vec<Option<i64>> {
    stub.seen().iter().map(|seen| seen.code).collect()
}

fn token(text: &str, enabled: bool) -> TokenConfig {
    TokenConfig { token: Some(text.into()), enabled: Some(enabled) }
}

#[tokio::test]
async fn every_product_is_set_shown_updated_and_deleted() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    for product in Product::ALL {
        assert_eq!(client.callback(product).await.unwrap(), None);
        let receipt = client.set_callback(product, &config(product)).await.unwrap();
        assert!(receipt.request_id.unwrap().starts_with("Id-"));
        assert_eq!(receipt.tries, 1);
        assert_eq!(client.callback(product).await.unwrap(), Some(config(product)));

        let other = CallbackConfig { url: "https://example.com".to_owned(), ..config(product) };
        if product.has_update() {
            let error = client.set_callback(product, &other).await.unwrap_err();
            assert_eq!(error.code(), Some(100_300));
            client.update_callback(product, &other).await.unwrap();
        } else {
            client.set_callback(product, &other).await.unwrap();
        }
        assert_eq!(client.callback(product).await.unwrap(), Some(other.clone()));
        assert!(matches!(client.delete_callback(product).await.unwrap(), Deleted::Gone(_)));
        assert_eq!(client.callback(product).await.unwrap(), None);
        assert_eq!(stub.config(APP, product.service()), None);
        if product.has_update() {
            let error = client.update_callback(product, &other).await.unwrap_err();
            assert_eq!(error.code(), Some(100_301));
        }
    }
    let paths: HashSet<String> = stub.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths.len(), 11, "{paths:?}");
}

#[tokio::test]
async fn a_call_has_no_update_and_none_is_sent() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    let error = client.update_callback(Product::Call, &config(Product::Call)).await.unwrap_err();
    assert_eq!((error.failure, error.tries), (Failure::NoSuchAction, 0));
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn deleting_what_is_not_registered_succeeds() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    assert!(matches!(client.delete_callback(Product::Room).await.unwrap(), Deleted::Gone(_)));
    stub.fail("delete_callback", 1, Fault::Code(100_301));
    assert_eq!(client.delete_callback(Product::Room).await.unwrap(), Deleted::WasNotThere);
    stub.fail("delete_callback_token", 1, Fault::Code(100_302));
    assert_eq!(client.delete_callback_token().await.unwrap(), Deleted::WasNotThere);
}

#[tokio::test]
async fn a_token_is_set_shown_changed_in_part_and_deleted() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    assert!(client.callback_token().await.unwrap().is_none());
    let part = TokenConfig { enabled: Some(true), ..TokenConfig::default() };
    let error = client.set_callback_token(&part).await.unwrap_err();
    assert_eq!(error.code(), Some(100_002), "the first time both are needed");

    client.set_callback_token(&token("first", false)).await.unwrap();
    client.set_callback_token(&part).await.unwrap();
    assert_eq!(stub.token(APP), Some(("first".to_owned(), true)));
    let part = TokenConfig { token: Some("second".into()), enabled: None };
    client.set_callback_token(&part).await.unwrap();
    let shown = client.callback_token().await.unwrap().unwrap();
    assert_eq!(shown.token.as_ref().unwrap().expose_secret(), "second");
    assert_eq!(shown.enabled, Some(true));
    assert!(!format!("{shown:?}").contains("second"), "{shown:?}");

    assert!(matches!(client.delete_callback_token().await.unwrap(), Deleted::Gone(_)));
    assert_eq!(stub.token(APP), None);
}

#[tokio::test]
async fn a_token_of_invalid_length_is_not_sent() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    for unfit in [token("", true), token(&"a".repeat(129), true), TokenConfig::default()] {
        let error = client.set_callback_token(&unfit).await.unwrap_err();
        assert_eq!(error.failure, Failure::TokenUnfit);
    }
    assert!(stub.seen().is_empty());
    client.set_callback_token(&token(&"é".repeat(128), true)).await.unwrap();
}

#[tokio::test]
async fn the_addresses_that_callbacks_come_from_are_listed() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    let networks = async |egress| {
        let list = client.ip_list(egress).await.unwrap();
        assert!(list.unreadable.is_empty());
        list.networks.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(networks(Egress::China).await, ["203.0.113.7/32", "198.51.100.0/25"]);
    assert_eq!(networks(Egress::Overseas).await, ["192.0.2.0/24", "2001:db8::/32"]);

    let odd = r#"{"ActionStatus":"OK","ErrorCode":0,"IPList":["1.2.3.4","soon",7]}"#;
    stub.fail("GetIPList", 1, Fault::Text(odd.to_owned()));
    let list = client.ip_list(Egress::China).await.unwrap();
    assert_eq!((list.networks.len(), list.unreadable), (1, vec!["\"soon\"".into(), "7".into()]));
    stub.fail("GetIPList", 1, Fault::Text(r#"{"ActionStatus":"OK","ErrorCode":0}"#.to_owned()));
    let error = client.ip_list(Egress::China).await.unwrap_err().diagnostic().to_string();
    assert!(error.starts_with("GetIPList at 127.0.0.1:"), "{error}");
    assert!(error.contains("`IPList` is not a list"), "{error}");
}

#[tokio::test]
async fn each_attempt_has_a_new_random_and_a_new_signature() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    stub.fail("set_callback", 3, Fault::Code(60008));
    let receipt = client.set_callback(Product::Live, &config(Product::Live)).await.unwrap();
    assert_eq!(receipt.tries, 4);
    let seen = stub.seen();
    assert_eq!(codes(&stub), [60008, 60008, 60008, 0].map(Some));
    let randoms: HashSet<u32> = seen.iter().map(|seen| seen.random).collect();
    let signatures: HashSet<&str> = seen.iter().map(|seen| seen.usersig.as_str()).collect();
    assert_eq!((randoms.len(), signatures.len()), (4, 4));

    // The next call has a random of its own, and the signature that went well.
    client.callback(Product::Live).await.unwrap();
    let last = stub.seen().pop().unwrap();
    assert!(!randoms.contains(&last.random));
    assert_eq!(last.usersig, seen[3].usersig);
}

#[tokio::test]
async fn attempts_are_limited_and_counted_in_the_error() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    stub.fail("get_callback", 9, Fault::Code(100_001));
    let error = client.callback(Product::Live).await.unwrap_err();
    assert_eq!((error.tries, stub.seen().len()), (4, 4));
    let text = error.diagnostic().to_string();
    assert!(text.contains("[RequestId Id-") && text.contains(", 4 tries]\nhint: "), "{text}");
}

#[tokio::test]
async fn all_attempts_share_one_deadline() {
    let (stub, clock) = stub().await;
    let limits = Limits {
        all_tries: Duration::from_secs(1),
        tries_max: 1000,
        pause: Duration::from_millis(20),
        ..Limits::default()
    };
    let client = client_of(&stub, &clock, limits);
    stub.fail("get_callback", 1000, Fault::Code(60008));
    let begun = Instant::now();
    let error = client.callback(Product::Live).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!((2..50).contains(&error.tries), "{error}");

    stub.fail("delete_callback", 1, Fault::DelayMs(60_000));
    let error = client.delete_callback(Product::Live).await.unwrap_err();
    assert!(matches!(error.failure, Failure::TimedOut(_)), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_response_timeout_is_retried() {
    let (stub, clock) = stub().await;
    let limits = Limits { one_try: Duration::from_secs(1), ..limits() };
    let client = client_of(&stub, &clock, limits);
    stub.fail("get_callback", 1, Fault::DelayMs(60_000));
    assert_eq!(client.callback(Product::Live).await.unwrap(), None);
    assert_eq!(codes(&stub), [None, Some(100_301)]);
}

#[test]
fn the_vendors_timeout_is_shorter_than_ours() {
    assert!(Limits::default().one_try > Duration::from_secs(3));
    assert!(Limits::default().connect > Duration::from_secs(3));
}

#[tokio::test]
async fn connection_and_server_errors_are_retried() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    for fault in [Fault::Drop, Fault::Status(500), Fault::Status(503), Fault::Status(429)] {
        let before = stub.seen().len();
        stub.fail("get_callback", 1, fault.clone());
        assert_eq!(client.callback(Product::Live).await.unwrap(), None, "{fault:?}");
        assert_eq!(stub.seen().len() - before, 2, "{fault:?}");
        stub.fail("get_callback", 4, fault.clone());
        let error = client.callback(Product::Live).await.unwrap_err();
        assert_eq!(error.tries, 4, "{fault:?}");
        assert!(error.diagnostic().to_string().contains("\nhint: "), "{error}");
    }
}

#[tokio::test]
async fn an_invalid_response_is_an_error_without_a_retry() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    let text = |text: &str| Fault::Text(text.to_owned());
    for (fault, said) in [
        (Fault::Status(403), "HTTP status 403"),
        (Fault::Status(404), "HTTP status 404"),
        (Fault::Redirect("https://example.com/".to_owned()), "HTTP status 307"),
        (text(""), "not JSON of the documented form"),
        (text("<html>sign in</html>"), "not JSON of the documented form"),
        (text("[]"), "not JSON of the documented form"),
        (text("{}"), "not JSON of the documented form"),
        (text(r#"{"ActionStatus":"OK"}"#), "no `ErrorCode`"),
        (text(r#"{"ErrorCode":0}"#), "`ActionStatus` not `OK`"),
        (text(r#"{"ActionStatus":"FAIL","ErrorCode":0}"#), "`ActionStatus` not `OK`"),
        (text(r#"{"ActionStatus":"OK","ErrorCode":0,"Response":{"Url":7}}"#), "`Url` is not text"),
        (Fault::Long(2 << 20), "longer than 1048576 bytes"),
    ] {
        stub.fail("get_callback", 1, fault);
        let error = client.callback(Product::Live).await.unwrap_err();
        assert_eq!(error.tries, 1, "{error}");
        assert!(error.diagnostic().to_string().contains(said), "{error}");
        assert!(error.diagnostic().to_string().contains("\nhint: "), "{error}");
    }
}

#[tokio::test]
async fn a_successful_response_may_lack_fields() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    for (response, config) in [
        ("", None),
        (r#","Response":null"#, None),
        (r#","Response":{}"#, None),
        (r#","Response":{"Url":""}"#, None),
        (r#","Response":{"Url":"http://a.b"}"#, Some(CallbackConfig::new("http://a.b", [""; 0]))),
        (
            r#","Response":{"Url":"http://a.b","CallbackCommandList":["New.Word"]},"More":{}"#,
            Some(CallbackConfig::new("http://a.b", ["New.Word"])),
        ),
    ] {
        let text = format!(r#"{{"ErrorCode":0,"ActionStatus":"OK"{response}}}"#);
        stub.fail("get_callback", 1, Fault::Text(text));
        assert_eq!(client.callback(Product::Live).await.unwrap(), config, "{response}");
    }
}

#[tokio::test]
async fn status_200_with_a_failure_code_is_an_error() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    stub.fail(
        "get_callback",
        1,
        Fault::Text(r#"{"ActionStatus":"FAIL","ErrorCode":60002}"#.into()),
    );
    let error = client.callback(Product::Live).await.unwrap_err();
    assert_eq!((error.code(), &error.request_id), (Some(60002), &None));
    stub.fail("get_callback", 1, Fault::Text(r#"{"ErrorCode":424242,"RequestId":"Id-x"}"#.into()));
    let text = client.callback(Product::Live).await.unwrap_err().diagnostic().to_string();
    assert!(text.contains("code 424242: a code that is not documented [RequestId Id-x]"), "{text}");
    assert!(text.contains("\nhint: look the code up"), "{text}");
}

#[tokio::test]
async fn calls_share_one_connection() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    for _ in 0..5 {
        client.clone().callback(Product::Live).await.unwrap();
    }
    assert_eq!((stub.seen().len(), stub.connections()), (5, 1));
}

#[tokio::test]
async fn no_more_than_200_calls_are_made_in_a_second() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    let begun = Instant::now();
    let calls = (0..400).map(|_| client.callback(Product::Live));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(result.unwrap(), None);
    }
    assert!(begun.elapsed() > Duration::from_secs(2), "{:?}", begun.elapsed());
    let mut times: Vec<Instant> = stub.seen().iter().map(|seen| seen.at).collect();
    times.sort();
    for window in times.windows(201) {
        let took = window[200] - window[0];
        assert!(took >= Duration::from_millis(900), "201 calls in {took:?}");
    }
}

#[tokio::test]
async fn a_wrong_key_identifier_app_or_site_has_a_hint() {
    let clock = Clock::manual(NOW);
    let chinese = App { site: "china", ..App::new(1_400_000_002, KEY) };
    let apps = vec![App::new(APP, KEY), chinese];
    let options = Options { apps, ..Options::new(clock.clone()) };
    let stub = Stub::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    let another = KEY.replace('0', "f");
    for (who, code, hint) in [
        ((APP, "administrator", another.as_str()), 70009, "`SDKSecretKey` of this very SDKAppID"),
        ((APP, "administrator", another.as_str()), 70009, "`--secret-key-file`"),
        ((APP, "somebody", KEY), 60010, "name an admin of the app with `--identifier`"),
        ((1_400_000_002, "administrator", KEY), 60026, "with `--region`"),
        ((1_400_000_002, "administrator", KEY), 60026, "with `--host`"),
        ((1_400_000_003, "administrator", KEY), 70020, "check the SDKAppID"),
    ] {
        let client = client_as(&stub, &clock, limits(), who);
        let error = client.callback(Product::Live).await.unwrap_err();
        assert_eq!((error.code(), error.tries), (Some(code), 1), "{error}");
        let text = error.diagnostic().to_string();
        assert!(text.split_once("\nhint: ").unwrap().1.contains(hint), "{text}");
        assert!(text.starts_with(&format!("live get_callback at {}: code", client.host())));
    }
    let slow = Clock::manual(NOW.minus(Duration::from_hours(1)));
    let error = client_of(&stub, &slow, limits())
        .callback(Product::Live)
        .await
        .unwrap_err()
        .diagnostic()
        .to_string();
    assert!(error.contains("code 70001") && error.contains("set this machine's clock"), "{error}");
}

#[tokio::test]
async fn an_unreachable_host_is_named_in_the_error() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    let origin = stub.origin();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap();
    drop((free, stub));
    for (client, host) in [
        (client, origin.trim_start_matches("http://").to_owned()),
        (
            {
                let endpoint = Endpoint::parse(&format!("http://{nobody}")).unwrap();
                Client::new(endpoint, signer_of(&clock), limits()).unwrap()
            },
            nobody.to_string(),
        ),
    ] {
        let error = client.callback(Product::Call).await.unwrap_err();
        assert!(matches!(error.failure, Failure::Unreachable(_)), "{error:?}");
        let text = error.diagnostic().to_string();
        assert!(text.starts_with(&format!("call get_callback at {host}: cannot be reached")));
        assert!(text.contains("--region"), "{text}");
        assert_hides(&error, &[KEY]);
    }
}

fn assert_hides(error: &VendorError, secrets: &[&str]) {
    let shown = format!("{error} {error:?} {error:#?}");
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(!shown.contains("usersig="), "{shown}");
    assert!(!shown.contains("?sdkappid"), "{shown}");
}

#[tokio::test]
async fn debug_output_has_no_key_signature_or_token() {
    let (stub, clock) = stub().await;
    let limits = Limits { one_try: Duration::from_millis(300), tries_max: 1, ..limits() };
    let client = client_of(&stub, &clock, limits);
    let secret_token = "a-token-of-live";
    let signatures = |clock: &Clock| -> SecretString { signer_of(clock).sign().unwrap() };
    for fault in [
        Fault::Code(70009),
        Fault::Status(502),
        Fault::Drop,
        Fault::DelayMs(60_000),
        Fault::Text("rubbish".to_owned()),
        Fault::Long(2 << 20),
    ] {
        stub.fail("set_callback_token", 1, fault);
        let error = client.set_callback_token(&token(secret_token, true)).await.unwrap_err();
        let usersig = signatures(&Clock::manual(NOW));
        assert_hides(&error, &[KEY, secret_token, usersig.expose_secret()]);
    }
    let shown = format!("{client:?} {client:#?}");
    assert!(!shown.contains(KEY) && shown.contains("127.0.0.1"), "{shown}");
    let shown = format!("{:?}", config(Product::Live));
    assert!(shown.contains("https://callbacks.example.com") && !shown.contains("a-secret-path"));
}

#[tokio::test]
async fn a_secret_the_vendor_echoes_is_not_shown() {
    let clock = Clock::manual(NOW);
    let options = Options { apps: vec![App::new(APP, KEY)], ..Options::new(clock.clone()) };
    let stub = Stub::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    let client = client_of(&stub, &clock, limits());
    stub.fail("set_callback_token", 1, Fault::Echo(100_002));
    let error = client.set_callback_token(&token("tok", true)).await.unwrap_err();
    let usersig = signer_of(&clock).sign().unwrap();
    let shown = format!("{error}\n{error:?}");
    assert!(shown.contains("usersig=[secret]"), "the test is about something: {shown}");
    for secret in [KEY, "tok\"", usersig.expose_secret()] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.lines().all(|line| line.len() < 1000), "{shown}");
}
