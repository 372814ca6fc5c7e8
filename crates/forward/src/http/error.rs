//! Why there is no client for a destination, or no request for it.

use std::path::PathBuf;

use protocol::diagnostic::Hint;

use super::blocked_address::BlockedAddress;

/// Why there is no client for a destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpClientError {
    /// The guard refuses its URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A TLS file cannot be read.
    #[error("read `{setting}` {}: {reason}", path.display())]
    File {
        /// Which setting names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file of CAs holds none.
    #[error("`tls_ca` has no certificate in PEM form")]
    NoCertificate,
    /// The files of certificate and key do not hold one of each.
    #[error("`tls_certificate` and `tls_key` do not have a certificate and a key in PEM form")]
    NoIdentity,
    /// The value of this header cannot be sent.
    #[error("the value of the header `{0}` cannot be sent")]
    Header(String),
    /// The HTTP client cannot be made.
    #[error("prepare the HTTP client: {0}")]
    Http(String),
}

impl Hint for HttpClientError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Url(error) => return error.hint(),
            Self::File { .. } => "does the file exist, and may this user read it?",
            Self::NoCertificate => "it begins with `-----BEGIN CERTIFICATE-----`",
            Self::NoIdentity => {
                "a key begins with `-----BEGIN PRIVATE KEY-----` and has no passphrase"
            }
            Self::Header(_) => "it has to be visible ASCII",
            Self::Http(_) => {
                "do certificate and key belong together, and does the machine have certificates of public CAs (the package `ca-certificates` for example)?"
            }
        };
        Some(hint.to_owned())
    }
}

/// A URL that no client is made for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is of another scheme, or has no host.
    #[error("the URL is not one of HTTP")]
    Scheme,
    /// No request could name it.
    #[error("the URL has a host or path that HTTP cannot carry")]
    Unusable,
    /// Its host is an address that is not to be sent to.
    #[error(transparent)]
    Blocked(#[from] BlockedAddress),
    /// A name, without TLS, while nothing but public addresses is allowed.
    #[error("`http://` with the name of a host: events would be readable on the way")]
    PlainToName,
    /// A name, without TLS, that only the proxy resolves.
    #[error(
        "`http://` with the name of a host, through a proxy: events would be readable on the way"
    )]
    PlainToProxy,
    /// The name of a NATS server, without TLS, while nothing but public addresses is allowed.
    #[error("`nats://` with the name of a host: events would be readable on the way")]
    PlainToServer,
    /// NATS servers are given several users.
    #[error("the servers have different users or passwords")]
    Users,
    /// The proxy is not one that is spoken to by plain HTTP.
    #[error("`proxy` is not an `http://` URL")]
    Proxy,
}

impl Hint for UrlError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Blocked(blocked) => return blocked.hint(),
            Self::Scheme => "write `https://host/path`",
            Self::Unusable => "write the name of the host in ASCII letters, digits and hyphens",
            Self::PlainToName => {
                "use `https://`, write the address itself (`http://10.0.3.7:8080/hook`), or add its network to forwarding.allow_networks"
            }
            Self::PlainToProxy => "use `https://`",
            Self::PlainToServer => {
                "use `tls://`, write the address itself (`nats://10.0.3.7:4222`), or add its network to forwarding.allow_networks"
            }
            Self::Users => "give all of them the same, or none",
            Self::Proxy => {
                "write `http://host:port`; TLS to the destination goes through it unbroken"
            }
        };
        Some(hint.to_owned())
    }
}
