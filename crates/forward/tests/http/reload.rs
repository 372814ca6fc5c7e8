//! TLS files that are missing, wrong, or replaced while the client is in use.

use std::fs;
use std::path::PathBuf;

use forward::destination::checked::TlsFiles;
use forward::http::{Client, ClientSettings, FailureClass, Guard, HttpClientError};
use protocol::diagnostic::Hint;
use tokio_rustls::rustls::version::TLS13;

use crate::receiver::{class, send, settings};
use crate::tls::{Authority, client, receiver, server};

fn error(tls: TlsFiles) -> HttpClientError {
    let settings = ClientSettings { tls, ..settings("https://hooks.test/") };
    let error = Client::new(settings, Guard::default()).unwrap_err();
    assert!(error.hint().is_some());
    error
}

#[tokio::test]
async fn wrong_files_are_named() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue(2099);
    let (_, other_key) = authority.issue(2099);
    let write = |name: &str, text: &str| Some(authority.file(name, text));
    let absent = Some(PathBuf::from("/nonexistent/ca.pem"));
    let text = error(TlsFiles { ca: absent, ..TlsFiles::default() }).to_string();
    assert!(text.starts_with("read `tls_ca` /nonexistent/ca.pem: No such file"), "{text}");
    let large = write("large.pem", &"x".repeat((1 << 20) + 1));
    let text = error(TlsFiles { ca: large, ..TlsFiles::default() }).to_string();
    assert!(text.ends_with("larger than 1 MiB"), "{text}");
    for text in ["", "hello", &key] {
        let ca = write("wrong.pem", text);
        assert_eq!(error(TlsFiles { ca, ..TlsFiles::default() }), HttpClientError::NoCertificate);
    }
    let certificate = authority.file("certificate.pem", &certificate);
    let of = |key| TlsFiles { certificate: Some((certificate.clone(), key)), ca: None };
    assert_eq!(error(of(authority.file("key.pem", "hello"))), HttpClientError::NoIdentity);
    let foreign = error(of(authority.file("other.pem", &other_key)));
    assert!(
        matches!(&foreign, HttpClientError::Http(text) if text.contains("KeyMismatch")),
        "{foreign}"
    );
}

#[tokio::test]
async fn files_that_change_are_used_once_they_fit() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let strangers = Authority::new();
    let config = server(&authority.issue(2099), Some(&clients), &[&TLS13]);
    let receiver = receiver(config).await;
    let (certificate, key) = strangers.issue(2099);
    let folder = &authority;
    let files = TlsFiles {
        ca: Some(authority.ca_file()),
        certificate: Some((
            folder.file("client.pem", &certificate),
            folder.file("client.key", &key),
        )),
    };
    let client = client(&receiver, "receiver.test", files);
    assert_eq!(class(&send(&client).await), FailureClass::Tls);
    assert_eq!(client.reload().await, Ok(false));

    let (certificate, key) = clients.issue(2099);
    folder.file("client.pem", &certificate);
    // Only the certificate is there yet.
    assert!(matches!(client.reload().await, Err(HttpClientError::Http(_))));
    assert_eq!(class(&send(&client).await), FailureClass::Tls);
    let path = folder.file("client.key", &key);
    assert_eq!(client.reload().await, Ok(true));
    assert_eq!(send(&client).await.status, Some(204));
    assert_eq!(client.reload().await, Ok(false));

    fs::remove_file(path).unwrap();
    assert!(matches!(client.reload().await, Err(HttpClientError::File { setting: "tls_key", .. })));
    assert_eq!(send(&client).await.status, Some(204));
}
