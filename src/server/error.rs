//! Why the server did not start.

use crate::http::TlsError;
use crate::settings::SettingsError;
use crate::store::{SpoolError, StoreError};
use protocol::diagnostic::{Diagnostic, Hint};

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings do not do.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The certificate or its key does not do.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store cannot be used.
    #[error("open the store {url}: {reason}")]
    Store {
        /// Which one, without its password.
        url: String,
        /// What is wrong with it.
        reason: StoreError,
    },
    /// The stream cannot be used.
    #[error("{}", .0.problem)]
    Stream(Diagnostic),
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl Hint for StartError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Settings(error) => error.hint(),
            Self::Tls(error) => error.hint(),
            Self::Store { reason, .. } => reason.hint(),
            Self::Stream(found) => found.hint.clone(),
            Self::Spool(error) => error.hint(),
        }
    }
}
