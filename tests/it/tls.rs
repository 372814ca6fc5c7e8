//! HTTPS on the public listener.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream as StdTcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::diagnostic::Hint;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ClientConfig, ProtocolVersion, RootCertStore};
use tokio_util::sync::CancellationToken;
use trtc_callbacks::clock::Clock;
use trtc_callbacks::http::certificate_expiry;
use trtc_callbacks::server::{self, Listeners};

use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, OK, Server, destroy_room, eventually, settings,
};

/// A CA of the test, and the files that the server reads.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    folder: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), root, folder: tempfile::tempdir().unwrap() }
    }

    /// A certificate for `localhost` that ends with this year, and its key.
    pub(crate) fn issue(&self, year: i32) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    pub(crate) fn write(&self, (certificate, key): (String, String)) {
        fs::write(self.key(), key).unwrap();
        fs::write(self.certificate(), certificate).unwrap();
    }

    fn settings(&self, changes: &[(&str, &str)]) -> (Database, trtc_callbacks::settings::Settings) {
        let database = Database::sqlite();
        let (certificate, key) = (self.certificate(), self.key());
        let files = [
            ("TRTC_SERVER__TLS_CERTIFICATE", certificate.to_str().unwrap()),
            ("TRTC_SERVER__TLS_KEY", key.to_str().unwrap()),
        ];
        let settings = settings(&database, &[&files, changes].concat());
        (database, settings)
    }

    pub(crate) async fn server(&self, changes: &[(&str, &str)]) -> (Database, Server) {
        let (database, settings) = self.settings(changes);
        (database, Server::start_with(settings).await)
    }

    async fn start(&self, settings: trtc_callbacks::settings::Settings) -> Result<(), String> {
        let bind = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
        let listeners = Listeners { public: bind().await, ops: bind().await };
        let ran = server::run(settings, listeners, Clock::manual(NOW), CancellationToken::new());
        ran.await.map_err(|error| error.diagnostic().to_string())
    }

    /// A connection over TLS of this version.
    async fn connect_with(
        &self,
        server: &Server,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.agree_with(TcpStream::connect(address(server)).await?, version).await
    }

    /// The same on a connection that is open.
    pub(crate) async fn agree_with(
        &self,
        stream: TcpStream,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn connect(&self, server: &Server) -> TlsStream<TcpStream> {
        self.connect_with(server, &TLS13).await.unwrap()
    }
}

fn address(server: &Server) -> &str {
    server.url.trim_start_matches("http://")
}

/// Posts an event on a connection and expects the OK envelope; the connection stays open.
pub(crate) async fn post(stream: &mut TlsStream<TcpStream>, number: usize) {
    let body = destroy_room(number);
    let length = body.len();
    let head = format!(
        "POST /?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}"
    );
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(OK.as_bytes()) {
        let read = stream.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
    }
}

/// Whoever once sent an accepted request may hold connections for nothing. They go before those that are new.
#[tokio::test(flavor = "multi_thread")]
async fn idle_verified_connections_block_no_new_one() {
    let authority = Authority::new();
    authority.write(authority.issue(2040));
    let (database, server) = authority.server(&[("TRTC_SERVER__CONNECTIONS_MAX", "16")]).await;
    let mut idle = Vec::new();
    for number in 0..16 {
        let mut stream = authority.connect(&server).await;
        post(&mut stream, number).await;
        idle.push(stream);
    }
    let evicted = || async {
        server.figures().await.value("trtc_connections_closed_total{reason=\"evicted\"}")
    };
    let mut silent = Vec::new();
    for round in 0..3 {
        let honest = TcpStream::connect(address(&server)).await.unwrap();
        // These come while it is agreed on TLS, and each needs a place.
        for _ in 0..4 {
            silent.push(TcpStream::connect(address(&server)).await.unwrap());
        }
        let all = 5 * (round + 1);
        eventually("all have a place", || async { evicted().await == all }).await;
        let mut honest = authority.agree_with(honest, &TLS13).await.unwrap();
        post(&mut honest, usize::try_from(100 + round).unwrap()).await;
        idle.push(honest);
    }
    assert_eq!(database.rows().await, 19);
}

fn seen(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn der(pem: &str) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_comes_over_https_in_tls_1_2_and_1_3() {
    let authority = Authority::new();
    authority.write(authority.issue(2040));
    let (database, server) = authority.server(&[]).await;
    let versions = [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)];
    for (number, (version, agreed)) in versions.into_iter().enumerate() {
        let mut stream = authority.connect_with(&server, version).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(agreed));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        post(&mut stream, number).await;
    }
    // An ordinary client, too.
    let root = reqwest::Certificate::from_der(&authority.root).unwrap();
    let client = trtc_callbacks::tencent_api::http_client()
        .tls_certs_only([root])
        .resolve("localhost", address(&server).parse().unwrap())
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let port = address(&server).rsplit_once(':').unwrap().1;
    let url = format!("https://localhost:{port}/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}");
    let answer = client.post(url).body(destroy_room(2)).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), OK);
    assert_eq!(database.rows().await, 3);
    assert!(server.client.post(&server.url).send().await.is_err(), "plain HTTP was answered");
    let figures = server.figures().await;
    assert_eq!(figures.outcome("stored"), 3);
    assert_eq!(figures.value("trtc_tls_certificate_expiry_seconds"), 2_240_524_800);
    assert_eq!(
        certificate_expiry(&authority.certificate(), &authority.key()).unwrap().as_secs(),
        2_240_524_800
    );
}

#[test]
fn doctor_says_when_the_certificate_ends() {
    let authority = Authority::new();
    let examined = || {
        let output = crate::process::program(authority.certificate().parent().unwrap())
            .args(["doctor", "--sdk-app-id", APP])
            .env("TRTC_SERVER__TLS_CERTIFICATE", authority.certificate())
            .env("TRTC_SERVER__TLS_KEY", authority.key())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    authority.write(authority.issue(2200));
    assert!(examined().contains("\nok    certificate: "), "{}", examined());
    authority.write(authority.issue(2020));
    assert!(examined().contains("\nfail  certificate: "), "{}", examined());
    let (certificate, _) = authority.issue(2200);
    let (_, key) = authority.issue(2200);
    authority.write((certificate, key));
    let said = examined();
    assert!(said.contains("\nfail  certificate: ") && said.contains("\n      hint: "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_speaks_tls_1_1_is_refused() {
    let authority = Authority::new();
    authority.write(authority.issue(2040));
    let (_database, server) = authority.server(&[]).await;
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session, one cipher suite of that time, no compression, and the signatures it knows: nothing else is wrong.
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    let mut stream = TcpStream::connect(address(&server)).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    // A fatal alert: protocol_version.
    assert_eq!((answer.first(), answer.get(5..)), (Some(&21), Some(&[2, 70][..])), "{answer:?}");
    let errors = server.figures().await.value("trtc_tls_handshake_errors_total");
    assert_eq!(errors, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valid_new_certificate_is_used_and_a_broken_one_ignored() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(2040), authority.issue(2041));
    authority.write(first.clone());
    let (database, server) = authority.server(&[]).await;
    let mut old = authority.connect(&server).await;
    post(&mut old, 0).await;
    assert_eq!(seen(&old), der(&first.0));
    let reloads = |result: &str| format!("trtc_tls_reloads_total{{result=\"{result}\"}}");

    // Half of the new pair: a certificate that does not belong to the key.
    fs::write(authority.certificate(), &second.0).unwrap();
    let failed = || async { server.figures().await.value(&reloads("failed")) == 1 };
    eventually("the pair is found mismatched", failed).await;
    let mut stream = authority.connect(&server).await;
    post(&mut stream, 1).await;
    assert_eq!(seen(&stream), der(&first.0));

    fs::write(authority.key(), &second.1).unwrap();
    let done = || async { server.figures().await.value(&reloads("done")) == 1 };
    eventually("the new pair is in use", done).await;
    let mut new = authority.connect(&server).await;
    post(&mut new, 2).await;
    assert_eq!(seen(&new), der(&second.0));
    post(&mut old, 3).await;
    let figures = server.figures().await;
    assert_eq!(figures.value("trtc_tls_certificate_expiry_seconds"), 2_272_060_800);
    assert_eq!(database.rows().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_arrive_ends_the_connection() {
    let authority = Authority::new();
    authority.write(authority.issue(2040));
    let (_database, server) = authority.server(&[("TRTC_SERVER__HEADER_TIMEOUT_MS", "500")]).await;
    for sent in [&b""[..], &[22, 3, 1, 0, 200, 1]] {
        let (address, sent) = (address(&server).to_owned(), sent.to_vec());
        let talk = move || {
            let mut stream = StdTcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(&sent).unwrap();
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
            }
            answer
        };
        assert_eq!(tokio::task::spawn_blocking(talk).await.unwrap(), b"");
    }
    let errors = || async { server.figures().await.value("trtc_tls_handshake_errors_total") == 2 };
    eventually("both handshakes are counted", errors).await;
    assert_eq!(server.figures().await.value("trtc_requests_total"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_silent_before_the_handshake_is_evicted() {
    let authority = Authority::new();
    authority.write(authority.issue(2040));
    let (database, server) = authority.server(&[("TRTC_SERVER__CONNECTIONS_MAX", "1")]).await;
    let _silent = TcpStream::connect(address(&server)).await.unwrap();
    let open = || async { server.figures().await.value("trtc_connections") == 1 };
    eventually("the silent one has the place", open).await;
    let mut stream = authority.connect(&server).await;
    post(&mut stream, 0).await;
    assert_eq!(database.rows().await, 1);
    let evicted = "trtc_connections_closed_total{reason=\"evicted\"}";
    assert_eq!(server.figures().await.value(evicted), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_tls_files_at_start_are_named_with_a_hint() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue(2040);
    let (_, other) = authority.issue(2040);
    let scrambled = key.replace("PRIVATE", "PRIVATE KEY-----\nx");
    for (certificate, key, problem) in [
        (certificate.as_str(), other.as_str(), "key.pem` for the certificate `"),
        (key.as_str(), key.as_str(), "there is no certificate in `"),
        (certificate.as_str(), certificate.as_str(), "there is no private key in `"),
        (certificate.as_str(), scrambled.as_str(), "there is no private key in `"),
        (&certificate[..certificate.len() / 2], key.as_str(), "certificate.pem` is no PEM file"),
    ] {
        authority.write((certificate.to_owned(), key.to_owned()));
        let (_database, settings) = authority.settings(&[]);
        let message = authority.start(settings).await.unwrap_err();
        assert!(message.contains(problem), "{message}");
        assert!(message.contains("\nhint: give "), "{message}");
        let secret = key.lines().nth(1).unwrap();
        assert!(!message.contains(secret), "{message}");
    }
    fs::remove_file(authority.key()).unwrap();
    let (_database, settings) = authority.settings(&[]);
    let message = authority.start(settings).await.unwrap_err();
    assert!(message.starts_with("read `") && message.contains("key.pem"), "{message}");
    assert!(message.contains("\nhint: see that the PEM file is there"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_still_used() {
    let authority = Authority::new();
    authority.write(authority.issue(2020));
    let (_database, server) = authority.server(&[]).await;
    let refused = authority.connect_with(&server, &TLS13).await.unwrap_err().to_string();
    assert!(refused.contains("expired"), "{refused}");
    let ends = server.figures().await.value("trtc_tls_certificate_expiry_seconds");
    assert_eq!(ends, 1_609_372_800);
}
