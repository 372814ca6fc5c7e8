//! Explains database errors: cause and hint.

use std::io::ErrorKind;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteError;

use crate::sql::embedded_error::EmbeddedError;
use protocol::diagnostic::Diagnostic;

/// A pooler gives each transaction another session.
pub(crate) const SHARED: &str = "a pooler that shares sessions stands before PostgreSQL (of PgBouncer: `pool_mode = \
                                 transaction` or `statement`): settings and prepared statements do not last there";
pub(crate) const SHARED_HINT: &str = "name PostgreSQL itself in `store.direct_url`, for what needs a session (`pool_mode = \
                                      transaction` only), set `pool_mode = session` in the pooler, or name PostgreSQL \
                                      itself in `store.url`";
/// Reads go to another server than writes.
pub(crate) const BALANCED: &str = "a load balancer stands before PostgreSQL and sends reads to another server, which may lack \
                                   what was just written";
pub(crate) const BALANCED_HINT: &str = "of pgpool-II set `app_name_redirect_preference_list = 'trtc-callbacks.*:primary'`, or \
                                        `load_balance_mode = off`; or name the primary itself in `store.url`";
/// Statement pooling, where no transaction is possible.
const ONE_STATEMENT: &str = "a pooler that ends a session after each statement stands before PostgreSQL (of PgBouncer: \
                             `pool_mode = statement`), and events are written in transactions";
const ONE_STATEMENT_HINT: &str = "set `pool_mode = transaction` in the pooler and name PostgreSQL itself in \
                                  `store.direct_url`, or set `pool_mode = session`";
const UNREACHED_HINT: &str =
    "see that it runs, and that `store.url` has the right host and port for it";
/// For refused or timed-out connections, where the failing part is not known.
const NO_CONNECTION_HINT: &str = "see that it runs, that `store.url` has the right host and port for it, and that it, or a \
                                  pooler before it, has connections left";
const TABLES_HINT: &str = "`trtc-callbacks migrate` makes them, and so does `serve` on its start; does `store.url` name \
                           the right database?";

/// The database's message, without the driver's additions for its own developers.
pub(crate) fn cause(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Configuration(error) | sqlx::Error::Tls(error) => error.to_string(),
        _ => error.to_string(),
    }
}

/// Cause and hint of [`StoreError::Unavailable`](crate::StoreError).
pub(crate) fn unavailable(error: &sqlx::Error) -> Diagnostic {
    let (problem, hint) = explain(error);
    Diagnostic { problem, hint: hint.map(str::to_owned) }
}

fn explain(error: &sqlx::Error) -> (String, Option<&'static str>) {
    let cause = cause(error);
    let not = |what: &str| format!("the store is not available: {what}");
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            match code.parse::<u32>() {
                Ok(code)
                    if database.try_downcast_ref::<SqliteError>().is_some()
                        || database.try_downcast_ref::<EmbeddedError>().is_some() =>
                {
                    of_sqlite(code, &cause)
                }
                _ => of_postgres(&code, &cause),
            }
        }
        // The driver retries and does not report the error it met.
        sqlx::Error::PoolTimedOut => {
            (not("no connection to it could be had in time"), Some(NO_CONNECTION_HINT))
        }
        sqlx::Error::Io(io) if io.kind() == ErrorKind::ConnectionRefused => {
            (not(&format!("nothing listens there: {cause}")), Some(UNREACHED_HINT))
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => of_connection(&cause),
        _ => (not(&cause), None),
    }
}

/// Explains a SQLite code. The lowest byte is the primary code.
fn of_sqlite(code: u32, cause: &str) -> (String, Option<&'static str>) {
    let not = format!("the store is not available: {cause}");
    let hint = match code & 0xff {
        1 if cause.starts_with("no such table") => {
            return (format!("the store has no tables yet: {cause}"), Some(TABLES_HINT));
        }
        3 | 8 | 14 => {
            "see that this user may write the file and its folder, and that both are there"
        }
        5 | 6 => "another process writes the file: one server has it for itself",
        11 | 26 => {
            "keep the file, and restore a backup or what `sqlite3 FILE .recover` finds in it"
        }
        13 => "make room on the disk",
        _ => return (not, None),
    };
    (not, Some(hint))
}

/// Explains an error code of PostgreSQL or of a pooler in front of it.
fn of_postgres(code: &str, cause: &str) -> (String, Option<&'static str>) {
    let not = format!("the store is not available: {cause}");
    let hint = match code {
        // Poolers report this with PostgreSQL's code for a protocol violation, as they have no codes of their own.
        "08P01" if cause.contains("startup parameter") => {
            let hint = "this is a pooler's word: take the parameter out of `store.url`, or set \
                        `ignore_startup_parameters = extra_float_digits,options` in PgBouncer";
            return (not, Some(hint));
        }
        "08P01" if cause.contains("statement pooling") => {
            let text = format!("the store is not available: {ONE_STATEMENT}: {cause}");
            return (text, Some(ONE_STATEMENT_HINT));
        }
        "42P05" | "26000" => {
            return (format!("the store is not available: {SHARED}: {cause}"), Some(SHARED_HINT));
        }
        "42P01" => return (format!("the store has no tables yet: {cause}"), Some(TABLES_HINT)),
        "40001" | "40P01" => {
            let text = format!("the store gave up, since others write the same rows: {cause}");
            return (text, None);
        }
        "28P01" | "28000" => {
            "see that user and password of `store.url` are right, and that `pg_hba.conf` lets them in"
        }
        "3D000" => "create the database, or name another in `store.url`",
        "42501" => {
            "the role of `store.url` lacks a right: `trtc-callbacks doctor` says which, and how to grant it"
        }
        "25006" => {
            "name the primary in `store.url`, not a standby; or see why `default_transaction_read_only` is on (a full disk?)"
        }
        "53100" => "make room on the database's disk",
        "53300" => {
            "raise `max_connections` of PostgreSQL, or lower `ingest.lanes` and `store.readers_max`"
        }
        _ => return (not, None),
    };
    (not, Some(hint))
}

/// Explains why no connection could be made.
fn of_connection(cause: &str) -> (String, Option<&'static str>) {
    let has = |part: &str| cause.contains(part);
    let not = |what: &str| format!("the store is not available: {what}");
    if has("CaUsedAsEndEntity") {
        let text = "its certificate is one of a CA (`CaUsedAsEndEntity`), as `openssl req -x509` makes it, and no server's";
        let hint = "make one with `-addext basicConstraints=critical,CA:FALSE`, or set `sslmode=require`, which encrypts \
                    and does not check who answers";
        return (not(text), Some(hint));
    }
    let hint = if has("failed to lookup address") {
        "no such name is known here: see the host in `store.url`"
    } else if has("No such file") {
        "the socket that `store.url` names is not there, or a certificate that PGSSLROOTCERT, PGSSLCERT or PGSSLKEY names"
    } else if has("UnknownIssuer") {
        "name the file of the CA that signed the server's certificate with `sslrootcert` in `store.url`"
    } else if has("NotValidForName") || has("not valid for name") {
        "its certificate is for another name: use that one in `store.url`, or `sslmode=verify-ca`"
    } else if has("certificate expired") || has("Expired") {
        "renew the server's certificate"
    } else if has("does not support TLS") {
        "switch `ssl` on in PostgreSQL, or set another `sslmode` in `store.url`"
    } else {
        return (not(cause), None);
    };
    (not(cause), Some(hint))
}

/// What [`StoreError::Migrate`](crate::StoreError) says.
pub(crate) fn migrating(error: &MigrateError) -> Diagnostic {
    let stopped = |what: &str| format!("bring its tables up to this version: {what}");
    // Without saying that the store is away.
    let by_database = |problem: &str, error| Diagnostic {
        problem: stopped(problem),
        hint: unavailable(error).hint,
    };
    let (problem, hint) = match error {
        MigrateError::Execute(error) => return by_database(&cause(error), error),
        MigrateError::ExecuteMigration(error, number) => {
            let found = by_database(&format!("migration {number}: {}", cause(error)), error);
            let usual = "its transaction was undone: remove what is in its way, or run the version before this one";
            return Diagnostic { hint: found.hint.or_else(|| Some(usual.to_owned())), ..found };
        }
        MigrateError::VersionMissing(number) => (
            format!(
                "a newer version of trtc-callbacks has changed the store's tables (migration {number})"
            ),
            "run the newer version, or restore the backup from before it",
        ),
        MigrateError::VersionMismatch(number) => (
            format!(
                "migration {number} was applied to the store in another form than this version has"
            ),
            "run the version that made these tables, or begin with a new database",
        ),
        MigrateError::Dirty(number) => (
            format!("migration {number} of the store's tables broke off half-way"),
            "look into the database's log, and mend it by hand or restore a backup",
        ),
        _ => return stopped(&error.to_string()).into(),
    };
    Diagnostic::new(problem, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_errors_have_hints() {
        let io = |kind: ErrorKind, text: &str| sqlx::Error::Io(std::io::Error::new(kind, text));
        for (error, hint) in [
            (sqlx::Error::PoolTimedOut, "has connections left"),
            (io(ErrorKind::ConnectionRefused, "refused"), "right host and port"),
            (io(ErrorKind::NotFound, "No such file or directory"), "PGSSLROOTCERT"),
            (io(ErrorKind::Other, "failed to lookup address information"), "no such name is known"),
            (
                io(ErrorKind::InvalidData, "invalid peer certificate: UnknownIssuer"),
                "`sslrootcert`",
            ),
            (
                io(ErrorKind::InvalidData, "certificate not valid for name \"db\""),
                "`sslmode=verify-ca`",
            ),
            (io(ErrorKind::InvalidData, "invalid peer certificate: certificate expired"), "renew"),
            (sqlx::Error::Tls("server does not support TLS".into()), "switch `ssl` on"),
        ] {
            let said = unavailable(&error);
            assert!(said.problem.starts_with("the store is not available: "), "{said}");
            assert!(said.hint.as_ref().is_some_and(|heard| heard.contains(hint)), "{said}");
        }
    }

    #[test]
    fn database_error_codes_have_hints() {
        for (code, cause, hint) in [
            ("08P01", "unsupported startup parameter: options", "ignore_startup_parameters"),
            (
                "08P01",
                "transaction blocks not allowed in statement pooling mode",
                "store.direct_url",
            ),
            ("26000", "prepared statement \"sqlx_s_1\" does not exist", "pool_mode = session"),
            ("42501", "permission denied for table events", "`trtc-callbacks doctor`"),
            ("25006", "cannot execute INSERT in a read-only transaction", "name the primary"),
            ("28P01", "password authentication failed", "user and password"),
            ("53300", "too many clients already", "max_connections"),
        ] {
            let (text, heard) = of_postgres(code, cause);
            assert!(text.contains(cause) && heard.unwrap_or("").contains(hint), "{text} {heard:?}");
        }
        for (code, cause, hint) in [
            (1, "no such table: events", "`trtc-callbacks migrate`"),
            (1032, "attempt to write a readonly database", "may write the file and its folder"),
            (13, "database or disk is full", "make room"),
            (26, "file is not a database", "restore a backup"),
        ] {
            let (text, heard) = of_sqlite(code, cause);
            assert!(text.contains(cause) && heard.unwrap_or("").contains(hint), "{text} {heard:?}");
        }
    }
}
