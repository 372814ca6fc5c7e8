//! TLS: whom the client trusts, and how it shows who it is.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forward::destination::checked::TlsFiles;
use forward::http::{Attempt, Client, ClientSettings, FailureClass, Guard};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use protocol::source_filter::Networks;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::names::Names;
use crate::receiver::{Receiver, Stream, class, read_request, send, settings};

/// A CA of the test, and a folder for its files.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    folder: tempfile::TempDir,
}

/// A certificate and its key, as PEM.
pub(crate) type Identity = (String, String);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        // A name of its own: two CAs of one name would be told apart by their signatures only.
        let name = format!("CA {:?}", &key.public_key_raw()[..8]);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        Self { issuer: Issuer::new(params, key), certificate, folder }
    }

    /// A certificate for `receiver.test` and 127.0.0.1 that ends with this year, for servers and clients.
    pub(crate) fn issue(&self, year: i32) -> Identity {
        let mut params = CertificateParams::new(vec!["receiver.test".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.file("ca.pem", &self.certificate)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()).unwrap();
        roots
    }
}

/// What a receiver shows, whom it asks for a certificate, and what it speaks.
pub(crate) fn server(
    identity: &Identity,
    clients: Option<&Authority>,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let roots = Arc::new(authority.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(identity.0.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity.1.as_bytes()).unwrap();
    builder.with_single_cert(chain.collect::<Result<_, _>>().unwrap(), key).unwrap()
}

/// A receiver with TLS that answers 204 to each request.
pub(crate) async fn receiver(config: ServerConfig) -> Receiver {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Receiver::start(move |stream| {
        let handshake = acceptor.accept(stream).into_fallible();
        async move {
            match handshake.await {
                Ok(stream) => answer(stream).await,
                // A reset at once could overtake the alert, which is the reason.
                Err((_, mut stream)) => {
                    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                }
            }
        }
    })
    .await
}

async fn answer(mut stream: impl Stream) {
    while read_request(&mut stream).await.is_some() {
        stream.write_all(b"HTTP/1.1 204 X\r\n\r\n").await.unwrap();
    }
}

pub(crate) fn client(receiver: &Receiver, host: &str, tls: TlsFiles) -> Client {
    let url = format!("https://{host}:{}/hook/s3cret?key=k3y", receiver.address.port());
    let settings = ClientSettings { tls, ..settings(&url) };
    let guard = Guard::new(Networks::parse(["127.0.0.1"]).unwrap());
    Client::with_resolver(settings, guard, Arc::new(Names::new(&[&["127.0.0.1"]]))).unwrap()
}

fn trusting(authority: &Authority) -> TlsFiles {
    TlsFiles { ca: Some(authority.ca_file()), ..TlsFiles::default() }
}

fn assert_tls(attempt: &Attempt, detail: &str) {
    assert_eq!((attempt.status, class(attempt)), (None, FailureClass::Tls), "{attempt:?}");
    let text = &attempt.failure.as_ref().unwrap().detail;
    assert!(text.contains(detail), "{text}");
}

#[tokio::test]
async fn a_ca_of_ones_own_is_trusted_by_name_and_by_address() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let receiver = receiver(server(&authority.issue(2099), None, &[version])).await;
        for host in ["receiver.test", "127.0.0.1"] {
            let attempt = send(&client(&receiver, host, trusting(&authority))).await;
            assert_eq!((attempt.status, attempt.failure), (Some(204), None));
            assert_eq!(attempt.peer, Some(receiver.address));
        }
    }
}

#[tokio::test]
async fn an_unknown_ca_an_old_certificate_and_another_name_are_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let versions = [&TLS13, &TLS12];
    let valid = receiver(server(&authority.issue(2099), None, &versions)).await;
    let attempt = send(&client(&valid, "receiver.test", trusting(&other))).await;
    assert_tls(&attempt, "UnknownIssuer");
    // Nor do the system's CAs know it.
    let attempt = send(&client(&valid, "receiver.test", TlsFiles::default())).await;
    assert_tls(&attempt, "UnknownIssuer");
    let attempt = send(&client(&valid, "another.test", trusting(&authority))).await;
    assert_tls(&attempt, "receiver.test");
    let expired = receiver(server(&authority.issue(2001), None, &versions)).await;
    let attempt = send(&client(&expired, "receiver.test", trusting(&authority))).await;
    assert_tls(&attempt, "expired");
}

#[tokio::test]
async fn a_receiver_may_ask_for_a_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (certificate, key) = clients.issue(2099);
    for version in [&TLS12, &TLS13] {
        let config = server(&authority.issue(2099), Some(&clients), &[version]);
        let receiver = receiver(config).await;
        let attempt = send(&client(&receiver, "receiver.test", trusting(&authority))).await;
        assert_tls(&attempt, "alert");
        let tls = TlsFiles {
            certificate: Some((
                clients.file("client.pem", &certificate),
                clients.file("client.key", &key),
            )),
            ..trusting(&authority)
        };
        let attempt = send(&client(&receiver, "receiver.test", tls)).await;
        assert_eq!((attempt.status, attempt.failure), (Some(204), None));
    }
}

#[tokio::test]
async fn a_receiver_without_tls_is_a_tls_failure() {
    let authority = Authority::new();
    let receiver = Receiver::start(async |mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let attempt = send(&client(&receiver, "receiver.test", trusting(&authority))).await;
    assert_tls(&attempt, "corrupt message");
}

#[tokio::test]
async fn a_handshake_that_hangs_or_breaks_has_its_class() {
    let authority = Authority::new();
    let hanging = Receiver::start(async |mut stream| {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let url = format!("https://{}/", hanging.address);
    let connect_timeout = Duration::from_millis(300);
    let settings = ClientSettings { connect_timeout, tls: trusting(&authority), ..settings(&url) };
    let attempt = send(&crate::receiver::client(settings)).await;
    assert_eq!(class(&attempt), FailureClass::Timeout);
    assert_eq!(attempt.failure.unwrap().detail, "it was not connected");

    let closing = Receiver::start(async |stream| drop(stream)).await;
    let attempt = send(&client(&closing, "receiver.test", trusting(&authority))).await;
    assert_eq!(class(&attempt), FailureClass::Connect, "{attempt:?}");
}

/// A receiver of HTTP/2. It answers with more than is read, or breaks the stream.
async fn http_2_receiver(authority: &Authority, is_broken: bool) -> Receiver {
    let mut config = server(&authority.issue(2099), None, &[&TLS13]);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Receiver::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
            let service = service_fn(move |request: hyper::Request<Incoming>| async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                assert!(!body.is_empty());
                let answer = Full::new(Bytes::from(vec![b'x'; 1 << 20]));
                if is_broken { Err("broken") } else { Ok(hyper::Response::new(answer)) }
            });
            let _ =
                http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
        }
    })
    .await
}

#[tokio::test]
async fn http_2_is_spoken_where_the_receiver_does() {
    let authority = Authority::new();
    let receiver = http_2_receiver(&authority, false).await;
    let client = client(&receiver, "receiver.test", trusting(&authority));
    for _ in 0..3 {
        let attempt = send(&client).await;
        assert_eq!((attempt.status, attempt.version), (Some(200), Some("HTTP/2")));
        assert_eq!((attempt.failure, attempt.is_truncated), (None, true));
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_stream_of_http_2_that_breaks_is_a_reset() {
    let authority = Authority::new();
    let receiver = http_2_receiver(&authority, true).await;
    let client = client(&receiver, "receiver.test", trusting(&authority));
    let attempt = send(&client).await;
    assert_eq!((attempt.status, class(&attempt)), (None, FailureClass::Reset), "{attempt:?}");
    assert_eq!(receiver.connections(), 1);
}
