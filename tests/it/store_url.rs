//! What `store.url` may name, tried with a server that answers there.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::process::{failed, program};
use crate::support::{DESTROY_ROOM, Database, Server, destroy_room, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_at_an_ipv6_address_is_reached() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else {
        eprintln!("SKIPPED: this machine has no ::1, so only the reading of such a URL is tested");
        return;
    };
    let database = Database::postgres().await;
    let (before, place) = database.url.rsplit_once('@').unwrap();
    let (server, name) = place.split_once('/').unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("{before}@[::1]:{port}/{name}");
    let server = server.to_owned();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        }
    });
    let server = Server::start_with(settings(&database, &[("TRTC_STORE__URL", &url)])).await;
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
    assert_eq!(database.rows().await, 1);
    server.stop().await;
}

/// Stands in for a PostgreSQL with this certificate, up to the handshake; its address.
async fn with_certificate(certificate: CertificateDer<'static>, key: &KeyPair) -> u16 {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let acceptor =
        TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(b"S").await.unwrap();
            // Whether the client takes it is its own affair.
            let _ = acceptor.accept(stream).await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_certificate_used_by_a_server_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    for (is_ca, said, hint) in [
        (
            IsCa::Ca(BasicConstraints::Unconstrained),
            "(`CaUsedAsEndEntity`), as `openssl req -x509` makes it",
            "hint: make one with `-addext basicConstraints=critical,CA:FALSE`",
        ),
        // As the hint has it: this one is taken, and then nobody answers.
        (IsCa::ExplicitNoCa, "the store is not available: ", ""),
    ] {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let taken = matches!(is_ca, IsCa::ExplicitNoCa);
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let file = folder.path().join("root.pem");
        std::fs::write(&file, certificate.pem()).unwrap();
        let port = with_certificate(certificate.der().clone(), &key).await;
        let url = |mode: &str, file: &str| {
            format!("postgres://u@localhost:{port}/x?sslmode={mode}&sslrootcert={file}")
        };
        let file = file.to_str().unwrap();
        let migrate = |url: String| failed(folder.path(), &["migrate", "--store", &url], 1);
        let heard = tokio::task::block_in_place(|| migrate(url("verify-full", file)));
        assert!(heard.contains(said) && heard.contains(hint), "{heard}");
        assert_eq!(heard.contains("certificate"), !taken, "{heard}");
        let heard = tokio::task::block_in_place(|| migrate(url("verify-full", "missing.pem")));
        assert!(heard.contains("`sslrootcert`: read missing.pem: No such file"), "{heard}");
    }
}

#[test]
fn no_value_of_a_parameter_reaches_a_log() {
    let folder = tempfile::tempdir().unwrap();
    for query in ["sslpassword=s3cret", "s3cret", "sslmode=s3cret", "options=%ff&x=s3cret"] {
        let output = program(folder.path())
            .args(["serve", "--sdk-app-id", crate::support::APP, "--listen", "127.0.0.1:0"])
            .args(["--ops-listen", "127.0.0.1:0", "--store"])
            .arg(format!("postgres://u:s3cret@127.0.0.1:1/x?{query}"))
            .env("TRTC_LOG__FILTER", "trace")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("`store.url`") && !said.contains("=s3cret"), "{said}");
    }
}
