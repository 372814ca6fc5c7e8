//! Why the spool failed.

use crate::diagnostic::Hint;

/// Why the spool did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file cannot be made or opened, for reasons that do not go away by themselves.
    #[error("open the spool `{path}`: {reason}")]
    Open {
        /// Where it was to be.
        path: String,
        /// What the system said.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// It has reached its size, or its disk is full.
    #[error("the spool is full")]
    Full,
    /// The file is no spool any more.
    #[error("the spool is damaged: {0}")]
    Damaged(String),
    /// Anything else: the disk's fault, most likely.
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

/// What SQLite says is wrong, without its finer distinctions.
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff)
}
