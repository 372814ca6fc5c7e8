//! Errors of a store, and whether a retry may help.

use sqlx::migrate::MigrateError;

use crate::database_error::{cause, migrating, unavailable};
use protocol::diagnostic::{Diagnostic, Hint};

/// Why a store operation failed. The text has the cause; there is no source chain behind it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store's URL is invalid. Permanent.
    #[error("{}", .0.problem)]
    Address(Diagnostic),
    /// The store is unreachable or not ready. A retry may succeed.
    #[error("{}", unavailable(.0).problem)]
    Unavailable(sqlx::Error),
    /// The store or a pooler in front of it is misconfigured. A retry may succeed once that is corrected.
    #[error("{}", .0.problem)]
    Unready(Diagnostic),
    /// The store refuses one of the rows. Permanent.
    #[error("the store refuses a row: {}", cause(.0))]
    Refused(sqlx::Error),
    /// The migration failed.
    #[error("{}", migrating(.0).problem)]
    Migrate(MigrateError),
}

/// Whether a row that the database gave cannot be read.
pub(crate) fn is_undecodable(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. })
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
    /// Whether a read ran into its timeout.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        let Self::Unavailable(error) = self else { return false };
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        // `query_canceled` of PostgreSQL, SQLITE_INTERRUPT of SQLite.
        matches!(code.as_deref(), Some("57014" | "9"))
    }

    /// Whether a row was read that is not as this program writes it: reading it again gives the same.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        let Self::Unavailable(error) = self else { return matches!(self, Self::Refused(_)) };
        is_undecodable(error)
    }

    /// Whether a retry of the same request may succeed.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unready(_) => true,
            Self::Unavailable(error)
            | Self::Migrate(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => {
                // Of the database's own errors only those that pass: no wrong password, missing privilege or missing
                // table. State lost by a pooler (class 26, and a prepared statement that exists twice) is included,
                // since correcting the pooler helps.
                let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
                match code.as_deref() {
                    Some(code) if code.len() == 5 => {
                        let classes = ["08", "25", "26", "40", "53", "55", "57"];
                        code == "42P05" || classes.contains(&&code[..2])
                    }
                    // SQLITE_ERROR, such as a table that exists. SQLite's other codes, which are numbers, count as passing.
                    code => code != Some("1"),
                }
            }
            Self::Migrate(_) | Self::Address(_) | Self::Refused(_) => false,
        }
    }
}
