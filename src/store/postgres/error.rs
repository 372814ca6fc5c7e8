//! What an error of PostgreSQL means for the caller.

use crate::store::error::StoreError;

/// Tells a row the database will never take from a database that cannot take any now.
pub(crate) fn classify(error: sqlx::Error) -> StoreError {
    let database = error.as_database_error();
    let code = database.and_then(sqlx::error::DatabaseError::code);
    // A check that failed and has no name is that of the default partition: the event's own one was attached while the
    // statement waited, and will take it.
    let misrouted = code.as_deref() == Some("23514")
        && database.is_some_and(|error| error.constraint().is_none());
    match code.as_deref().and_then(|code| code.get(..2)).filter(|_| !misrouted) {
        // Data exceptions, integrity violations, limits of the program (an index row too large), errors raised by
        // a trigger. Everything else, a missing table or permission too, is the database's fault and not the row's.
        Some("22" | "23" | "54" | "P0") => StoreError::Refused(error),
        _ => StoreError::Unavailable(error),
    }
}
