//! Why a store failed, and whether trying again may help.

use sqlx::migrate::MigrateError;

use crate::diagnostic::{Diagnostic, Hint};
use crate::store::database_error::{cause, migrating, unavailable};

/// Why a store did not do what it was asked to. The text of each names its cause; there is no chain behind it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store's address cannot be used. Trying again will not help.
    #[error("{}", .0.problem)]
    Address(Diagnostic),
    /// The store is not there, or not ready: the same request may succeed later.
    #[error("{}", unavailable(.0).problem)]
    Unavailable(sqlx::Error),
    /// The store is there, and something about it or before it must be mended first: the same request may succeed then.
    #[error("{}", .0.problem)]
    Unready(Diagnostic),
    /// The store will not take one of the rows, now or later.
    #[error("the store refuses a row: {}", cause(.0))]
    Refused(sqlx::Error),
    /// The tables could not be brought up to this version.
    #[error("{}", migrating(.0).problem)]
    Migrate(MigrateError),
}

impl Hint for StoreError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Address(diagnostic) | Self::Unready(diagnostic) => diagnostic.hint.clone(),
            Self::Unavailable(error) => unavailable(error).hint,
            Self::Migrate(error) => migrating(error).hint,
            Self::Refused(_) => None,
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        Self::Migrate(error)
    }
}

impl StoreError {
    /// Whether the question took longer than a reader may.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        let Self::Unavailable(error) = self else { return false };
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        // PostgreSQL's `query_canceled`, and SQLITE_INTERRUPT.
        matches!(code.as_deref(), Some("57014" | "9"))
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unready(_) => true,
            Self::Unavailable(error)
            | Self::Migrate(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => {
                // Of what a database answers, only that it cannot now: not a wrong password, a missing right or a table
                // in the way. What a pooler lost (26, and a statement that is there twice) may be mended in it. A database
                // of SQLite has one digit fewer.
                let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
                let code = code.as_deref().filter(|code| code.len() == 5).unwrap_or("08000");
                code == "42P05" || ["08", "25", "26", "40", "53", "55", "57"].contains(&&code[..2])
            }
            Self::Migrate(_) | Self::Address(_) | Self::Refused(_) => false,
        }
    }
}
