//! Servers of NATS that let in only whom they know: by credentials, or by a certificate.

use std::path::Path;
use std::process::Command;

use async_nats::ConnectOptions;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair as Nkey;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::forwarding::{known, with};
use crate::nats_server::NatsServer;
use crate::stream::{STREAM, command, post, role, rows_become, start};
use crate::support::{Database, eventually};

/// The stream of the destination.
const EVENTS: &str = "EVENTS";

/// Claims as `nsc` writes them, signed by whoever issues them.
fn token(issuer: &Nkey, subject: &Nkey, nats: &Value) -> String {
    let claims = json!({
        "jti": subject.public_key(), "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "trtc",
        "sub": subject.public_key(), "nats": nats,
    });
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

/// An operator with one account for events, and the lines of a server that trusts it.
struct Operator {
    account: Nkey,
    lines: String,
}

impl Operator {
    fn new() -> Self {
        let (operator, account, system) =
            (Nkey::new_operator(), Nkey::new_account(), Nkey::new_account());
        let own = token(&operator, &operator, &json!({ "type": "operator", "version": 2 }));
        let of = |account: &Nkey, disk: i64| {
            let limits = json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
                "mem_storage": disk, "disk_storage": disk, "streams": disk, "consumer": disk, "max_ack_pending": disk,
            });
            let nats = json!({ "type": "account", "version": 2, "limits": limits });
            format!("{}: {}", account.public_key(), token(&operator, account, &nats))
        };
        let lines = format!(
            "operator: {own}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{\n{}\n{}\n}}",
            system.public_key(),
            of(&account, -1),
            of(&system, 0),
        );
        Self { account, lines }
    }

    /// The credentials of a user, whom this account lets in.
    fn credentials(account: &Nkey) -> String {
        let user = Nkey::new_user();
        let nats = json!({
            "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1,
        });
        let (token, seed) = (token(account, &user, &nats), user.seed().unwrap());
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// A server with a stream and a destination that are let in: both take events.
async fn events_come_through(
    nats: &NatsServer,
    url: &str,
    stream: &[(&str, &str)],
    destination: &str,
    own: ConnectOptions,
) {
    let database = Database::sqlite();
    let file = format!(
        "[[forward]]\nname = 'warehouse'\nurl = '{url}'\ncreate_stream = true\nstream = '{EVENTS}'\n{destination}\n"
    );
    let mut settings =
        role(&database, nats, "all", &[&[("TRTC_STREAM_URL", url)], stream].concat());
    settings.forward = with(&database, &file).forward;
    let server = start(settings).await;
    known(&database, "warehouse").await;
    post(&server, 0..3).await;
    assert_eq!(server.figures().await.value("trtc_stream_publish_total{result=\"stored\"}"), 3);
    rows_become(&database, 3).await;
    let context = async_nats::jetstream::new(own.connect(url).await.unwrap());
    for name in [STREAM, EVENTS] {
        let has_all = || async {
            let stream = context.get_stream(name).await;
            stream.is_ok_and(|stream| stream.cached_info().state.messages == 3)
        };
        eventually(name, has_all).await;
    }
    server.stop().await;
}

/// What `doctor` finds of the stream and of a destination, with these settings of both.
fn doctor(
    nats: &NatsServer,
    url: &str,
    stream: &[(&str, &str)],
    destination: &str,
) -> (String, String) {
    let database = Database::sqlite();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trtc.toml");
    let table = format!("[[forward]]\nname = 'warehouse'\nurl = '{url}'\n{destination}\n");
    std::fs::write(&file, table).unwrap();
    let mut doctor: Command = command(&database, nats, folder.path(), "all");
    doctor.env("TRTC_STREAM_URL", url).env("TRTC_CONFIG", &file).envs(stream.iter().copied());
    let output = doctor.arg("doctor").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = |of: &str| {
        let line = said.lines().find(|line| line.starts_with("fail") && line.contains(of));
        line.unwrap_or_else(|| panic!("no failure of {of} in {said}")).to_owned()
    };
    (line("stream: "), line("destination `warehouse`"))
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_an_account_let_stream_and_destination_in() {
    let operator = Operator::new();
    let Some(nats) = NatsServer::start_with(&operator.lines).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let written = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let credentials = Operator::credentials(&operator.account);
    let file = written("own.creds", &credentials);
    let own = ConnectOptions::with_credentials(&credentials).unwrap();
    let with = |file: &str| format!("credentials_file = '{file}'");
    let stream = [("TRTC_STREAM__CREDENTIALS_FILE", file.as_str())];
    events_come_through(&nats, &nats.url(), &stream, &with(&file), own).await;

    let foreign = written("foreign.creds", &Operator::credentials(&Nkey::new_account()));
    let stream = [("TRTC_STREAM__CREDENTIALS_FILE", foreign.as_str())];
    let (of_stream, of_destination) = doctor(&nats, &nats.url(), &stream, &with(&foreign));
    assert!(of_stream.contains("authorization violation"), "{of_stream}");
    assert!(of_destination.contains("authorization violation"), "{of_destination}");
}

/// Writes a certificate and its key.
fn write_certificate(folder: &Path, name: &str, authority: &Issuer<'_, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_lets_stream_and_destination_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let authority = Issuer::new(params, key);
    write_certificate(folder.path(), "server", &authority);
    write_certificate(folder.path(), "client", &authority);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(path);
    let lines = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {ca:?}, verify: true }}",
        path("server.pem"),
        path("server.key"),
    );
    let Some(nats) = NatsServer::start_with(&lines).await else { return };
    let url = format!("tls://{}", nats.address());
    let own = ConnectOptions::new()
        .add_root_certificates(ca.clone().into())
        .add_client_certificate(certificate.clone().into(), key.clone().into());
    let stream = [
        ("TRTC_STREAM__TLS_CA", ca.as_str()),
        ("TRTC_STREAM__TLS_CERTIFICATE", certificate.as_str()),
        ("TRTC_STREAM__TLS_KEY", key.as_str()),
    ];
    let destination =
        format!("tls_ca = '{ca}'\ntls_certificate = '{certificate}'\ntls_key = '{key}'");
    events_come_through(&nats, &url, &stream, &destination, own).await;

    let (of_stream, of_destination) =
        doctor(&nats, &url, &stream[..1], &format!("tls_ca = '{ca}'"));
    for said in [of_stream, of_destination] {
        assert!(said.to_lowercase().contains("certificate"), "{said}");
    }
}
