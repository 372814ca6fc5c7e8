//! Why there is no client for a destination.

use std::path::PathBuf;

use protocol::diagnostic::Hint;

use super::guard::UrlError;

/// Why there is no client for a destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
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
    /// Only one of certificate and key is given.
    #[error("only one of `tls_certificate` and `tls_key` is given")]
    HalfIdentity,
    /// The HTTP client cannot be made.
    #[error("prepare the HTTP client: {0}")]
    Http(String),
}

impl Hint for ClientError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Url(error) => return error.hint(),
            Self::File { .. } => "does the file exist, and may this user read it?",
            Self::NoCertificate => "it begins with `-----BEGIN CERTIFICATE-----`",
            Self::NoIdentity => {
                "a key begins with `-----BEGIN PRIVATE KEY-----` and has no passphrase"
            }
            Self::HalfIdentity => "give both, or none",
            Self::Http(_) => {
                "do certificate and key belong together, and does the machine have certificates of public CAs (the package `ca-certificates` for example)?"
            }
        };
        Some(hint.to_owned())
    }
}
