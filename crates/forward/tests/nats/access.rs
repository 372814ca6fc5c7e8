//! Users, credentials, TLS and the guard.

use std::time::Duration;

use forward::answer::{Failure, Response};
use forward::http::Guard;
use forward::nats::{Client, ClientSettings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::server::{PLAIN, Server, destination, publish};

const OK: Response<'static> = Response::Status { status: 200, retry_after: None };

const USERS: &str = r#"
accounts { A { jetstream: enabled, users: [
  { user: "mey er", password: "p@ss" },
  { user: "reader", password: "r", permissions: { publish: { deny: "trtc.>" } } }
] } }
"#;

#[tokio::test]
async fn the_user_of_the_url_is_used_and_shown_nowhere() {
    let Some(server) = Server::start(USERS).await else { return };
    let url = |user: &str| format!("nats://{user}@127.0.0.1:{}", server.port);
    let admin = async_nats::ConnectOptions::with_user_and_password("mey er".into(), "p@ss".into());
    let admin = admin.connect(server.url()).await.unwrap();
    let stream = json!({"name": "S", "subjects": ["trtc.events.>"]});
    crate::server::ask(&admin, "STREAM.CREATE.S", &stream).await;

    let client = crate::server::client(&url("mey%20er:p%40ss"), |_| {});
    assert_eq!(publish(&client, 1, 10).await.response(), OK);
    assert!(!format!("{client:?}").contains("p%40ss"));

    for wrong in ["mey%20er:hunter2", "nobody:hunter2"] {
        let attempt = publish(&crate::server::client(&url(wrong), |_| {}), 1, 10).await;
        assert_eq!(attempt.response(), Response::Failure(Failure::Unusable), "{attempt:?}");
        assert!(!format!("{attempt:?}").contains("hunter2"));
    }
    let anonymous = publish(&server.client(|_| {}), 1, 10).await;
    assert_eq!(anonymous.response(), Response::Failure(Failure::Unusable), "{anonymous:?}");

    let may_not = crate::server::client(&url("reader:r"), |settings| settings.timeout_ms = 1_000);
    let attempt = publish(&may_not, 2, 10).await;
    assert_eq!(attempt.response(), Response::Failure(Failure::Timeout));
    let said = attempt.result.unwrap_err().found.problem;
    assert!(said.to_lowercase().contains("permissions violation"), "{said}");
}

#[test]
fn servers_of_several_users_are_refused() {
    let of = |url: &str| ClientSettings::of(&destination(url, |_| {})).map(|_| ());
    assert!(of("tls://u:p@a.example,tls://u:p@b.example").is_ok());
    let error = of("tls://u:p@a.example,tls://u:other@b.example").unwrap_err();
    assert_eq!(error.to_string(), "the servers have different users or passwords");
}

#[tokio::test]
async fn credentials_that_cannot_be_read_are_said_with_their_file() {
    let Some(server) = Server::start(PLAIN).await else { return };
    let wrong = server.folder.path().join("wrong.creds");
    std::fs::write(&wrong, "hunter2").unwrap();
    for file in [server.folder.path().join("missing.creds"), wrong] {
        let client = server.client(|settings| settings.credentials_file = Some(file.clone()));
        let attempt = publish(&client, 1, 10).await;
        assert_eq!(attempt.response(), Response::Failure(Failure::Unusable));
        let said = attempt.result.unwrap_err().found.to_string();
        assert!(said.contains(".creds") && !said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn tls_trusts_the_given_authority_only() {
    let Some(probe) = Server::prepare(1, PLAIN, "") else { return };
    let folder = probe.folder.path();
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.join(name), certificate.pem()).unwrap();
        (params, key)
    };
    let (params, key) = authority("ca.pem");
    authority("other.pem");
    let own = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&own, &Issuer::from_params(&params, &key)).unwrap();
    std::fs::write(folder.join("cert.pem"), leaf.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), own.serialize_pem()).unwrap();
    let file = |name: &str| folder.join(name);
    let config =
        format!("tls {{ cert_file: {:?}\nkey_file: {:?} }}", file("cert.pem"), file("key.pem"));
    let Some(server) = Server::start(&config).await else { return };

    let trusting = |ca: &str, url: &str| {
        let (ca, url) = (file(ca), url.to_owned());
        crate::server::client(&url, move |settings| settings.tls_ca = Some(ca))
    };
    let url = server.url();
    let no_stream = Response::Status { status: 503, retry_after: None };
    for url in [url.clone(), url.replace("nats:", "tls:")] {
        assert_eq!(publish(&trusting("ca.pem", &url), 1, 10).await.response(), no_stream, "{url}");
        let attempt = publish(&trusting("other.pem", &url), 1, 10).await;
        assert_eq!(attempt.response(), Response::Failure(Failure::Tls), "{attempt:?}");
        let attempt = publish(&trusting("missing.pem", &url), 1, 10).await;
        assert_eq!(attempt.response(), Response::Failure(Failure::Unusable), "{attempt:?}");
    }
}

#[tokio::test]
async fn nothing_is_said_without_tls_where_it_is_required() {
    let Some(server) = Server::start(PLAIN).await else { return };
    server.stream(json!({})).await;
    let attempt =
        publish(&crate::server::client(&server.url().replace("nats:", "tls:"), |_| {}), 1, 1).await;
    assert_eq!(attempt.response(), Response::Failure(Failure::Tls), "{attempt:?}");
}

#[tokio::test]
async fn a_name_of_an_own_network_is_refused() {
    let Some(server) = Server::start(PLAIN).await else { return };
    let url = format!("nats://localhost:{}", server.port);
    let attempt = publish(&crate::server::client(&url, |_| {}), 1, 10).await;
    assert_eq!(attempt.response(), Response::Failure(Failure::BlockedAddress), "{attempt:?}");
    let networks = protocol::source_filter::Networks::parse(["127.0.0.0/8", "::1/128"].into_iter());
    let settings = ClientSettings::of(&destination(&url, |_| {})).unwrap();
    let client = Client::new(settings, Guard::new(networks.unwrap()));
    let attempt = publish(&client, 1, 10).await;
    assert_eq!(attempt.response(), Response::Status { status: 503, retry_after: None });
    // Of several servers those that may be used are.
    let both = format!("{url},{}", server.url());
    let attempt = publish(&crate::server::client(&both, |_| {}), 1, 10).await;
    assert_eq!(attempt.response(), Response::Status { status: 503, retry_after: None });
}

#[tokio::test]
async fn nobody_there_is_no_connection() {
    let [port] = crate::server::free_ports();
    let client = crate::server::client(&format!("nats://127.0.0.1:{port}"), |_| {});
    let started = std::time::Instant::now();
    let all = (0..8).map(|number| publish(&client, number, 10));
    for attempt in futures_util::future::join_all(all).await {
        assert_eq!(attempt.response(), Response::Failure(Failure::Connect), "{attempt:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(1), "those that wait share the failure");
}
