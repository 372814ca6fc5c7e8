//! Classification of PostgreSQL errors.

use crate::error::StoreError;

/// Distinguishes a row that the database will never accept from a database that cannot accept any now.
pub(crate) fn classify(error: sqlx::Error) -> StoreError {
    let database = error.as_database_error();
    let code = database.and_then(sqlx::error::DatabaseError::code);
    // A failed check without a name is that of the default partition: the event's own partition was attached while
    // the statement waited, and a retry succeeds.
    let misrouted = code.as_deref() == Some("23514")
        && database.is_some_and(|error| error.constraint().is_none());
    match code.as_deref().and_then(|code| code.get(..2)).filter(|_| !misrouted) {
        // Data exceptions, integrity violations, program limits (an index row too large), errors raised by a trigger.
        // All others, a missing table or privilege included, are not the row's fault.
        Some("22" | "23" | "54" | "P0") => StoreError::Refused(error),
        _ => StoreError::Unavailable(error),
    }
}
