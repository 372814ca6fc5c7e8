//! Errors of the spool.

use protocol::diagnostic::Hint;

/// Why a spool operation failed.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file cannot be created or opened, and a retry will not help.
    #[error("open the spool `{path}`: {reason}")]
    Open {
        /// The path of the file.
        path: String,
        /// The system's message.
        reason: String,
        /// The hint.
        hint: &'static str,
    },
    /// The size limit is reached, or the disk is full.
    #[error("the spool is full")]
    Full,
    /// The file is damaged.
    #[error("the spool is damaged: {0}")]
    Damaged(String),
    /// Any other error, most likely an I/O error.
    #[error("the spool failed: {0}")]
    Failed(String),
}

impl Hint for SpoolError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Open { hint, .. } => Some((*hint).to_owned()),
            Self::Full | Self::Damaged(_) | Self::Failed(_) => None,
        }
    }
}

impl From<sqlx::Error> for SpoolError {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            // SQLITE_FULL; SQLITE_CORRUPT, SQLITE_NOTADB.
            Some(13) => Self::Full,
            Some(11 | 26) => Self::Damaged(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// SQLite's message for a code, without its extended part.
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff)
}
