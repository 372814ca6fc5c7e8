//! Classification of SQLite errors.

use std::path::Path;

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
