//! Classification of SQLite errors.

use std::borrow::Cow;
use std::error::Error;
use std::path::Path;

use sqlx::error::{DatabaseError, ErrorKind};

use crate::error::StoreError;
use protocol::diagnostic::Diagnostic;

/// There is no file to open.
pub(crate) fn missing(file: &Path) -> StoreError {
    StoreError::Address(Diagnostic::new(
        format!("there is no SQLite file `{}`", file.display()),
        "`serve` makes it; if it is elsewhere, give `--store sqlite://path/to/file.db`",
    ))
}

pub(crate) fn unopened(file: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Address(Diagnostic::new(
        format!("open the SQLite file `{}`: {error}", file.display()),
        "see that it is a SQLite database and writable, or set `store.url` to another place",
    ))
}

/// Distinguishes a row that the database will never accept from a database that cannot accept any now.
pub(crate) fn classify(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let primary = code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
    match primary {
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH. Busy, full, read-only and I/O errors are not the row's
        // fault.
        Some(18..=20) => StoreError::Refused(error),
        _ => StoreError::Unavailable(error),
    }
}

/// An error of SQLite's own interface, as one of the driver of all other statements: what it means is judged in one place.
pub(crate) fn embedded(error: rusqlite::Error) -> sqlx::Error {
    match error {
        rusqlite::Error::SqliteFailure(found, message) => {
            let message = message.unwrap_or_else(|| found.to_string());
            let code = found.extended_code.to_string();
            sqlx::Error::Database(Box::new(EmbeddedError { code, message }))
        }
        error => sqlx::Error::Decode(error.into()),
    }
}

/// A result code of SQLite with its text.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct EmbeddedError {
    code: String,
    message: String,
}

impl DatabaseError for EmbeddedError {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.as_str().into())
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}
