//! Errors of SQLite's own interface.

use std::borrow::Cow;
use std::error::Error;

use sqlx::error::{DatabaseError, ErrorKind};

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
