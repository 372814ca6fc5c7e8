//! Start of a PostgreSQL session: required settings are set and then verified, regardless of the defaults of role,
//! database or pooler.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::time::timeout;

use crate::database_error::{SHARED, SHARED_HINT};
use crate::error::StoreError;
use crate::postgres::error::classify;
use protocol::diagnostic::Diagnostic;

/// The oldest supported server, as `server_version_num`.
pub(crate) const VERSION_MIN: i32 = 140_000;
/// Timeout of connecting outside of a pool.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Number of comparisons of two sessions, since other clients may use the pooler at the same time.
const LOOKS: u32 = 3;

/// Settings made after the session has started. Not as startup options: poolers drop or refuse those.
#[derive(Debug, Clone)]
pub(crate) struct SessionSettings(Vec<(&'static str, String)>);

impl SessionSettings {
    /// The settings that every session needs. `statement`: the statement timeout; `idle`: how long a transaction may
    /// be idle. `None`: unlimited.
    pub(crate) fn new(statement: Option<Duration>, idle: Option<Duration>) -> Self {
        let millis = |most: Option<Duration>| most.map_or(0, |most| most.as_millis()).to_string();
        Self(vec![
            // A stricter level fails where two writers meet, and our statements need none.
            ("default_transaction_isolation", "read committed".to_owned()),
            // Not `default_transaction_read_only`: hosting providers switch it on to protect a full disk.
            ("statement_timeout", millis(statement)),
            ("idle_in_transaction_session_timeout", millis(idle)),
            // Waiting for a lock is bounded by the statement timeout, or by `set local` where that is not enough.
            ("lock_timeout", "0".to_owned()),
            // An idle connection of a pool must not be closed by the server.
            ("idle_session_timeout", "0".to_owned()),
        ])
    }

    /// Adds a setting or replaces its value.
    pub(crate) fn with(self, name: &'static str, value: impl Into<String>) -> Self {
        let mut all = self.without(name);
        all.0.push((name, value.into()));
        all
    }

    /// Removes a setting.
    pub(crate) fn without(mut self, name: &'static str) -> Self {
        self.0.retain(|(set, _)| *set != name);
        self
    }

    /// Sets them, and verifies that they last.
    pub(crate) async fn apply(&self, session: &mut PgConnection) -> Result<(), sqlx::Error> {
        let listed = |write: &dyn Fn(&str, &str) -> String| {
            let each: Vec<String> = self.0.iter().map(|(name, value)| write(name, value)).collect();
            format!("select concat_ws(', ', {})", each.join(", "))
        };
        // Names and values are constants and numbers. Not prepared: a pooler may not support it.
        let set =
            listed(&|name, value| format!("'{name}=' || set_config('{name}', '{value}', false)"));
        let look = listed(&|name, _| format!("'{name}=' || current_setting('{name}')"));
        let set = text(session, set).await?;
        let found = text(session, look).await?;
        if set == found {
            return Ok(());
        }
        // In the form in which PostgreSQL reports each.
        let lost: Vec<&str> = found.split(", ").filter(|part| !set.contains(part)).collect();
        let problem = format!("the session does not keep its settings: {}", lost.join(", "));
        Err(sqlx::Error::Configuration(problem.into()))
    }
}

async fn text(session: &mut PgConnection, sql: String) -> Result<String, sqlx::Error> {
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(session).await?;
    sqlx::Row::try_get(&row, 0)
}

/// Sets the application name shown in the server's statistics, unless the URL has one; `part` names the component.
pub(crate) fn named(address: PgConnectOptions, part: &str) -> PgConnectOptions {
    let name = address.get_application_name().unwrap_or("trtc-callbacks");
    let name = format!("{name} {part}").trim_end().to_owned();
    // The driver's `extra_float_digits` is not needed: PostgreSQL writes floats exactly, and poolers refuse unknown
    // startup parameters.
    address.application_name(&name).extra_float_digits(None)
}

/// Connects without a pool, which would retry and hide the cause of a failure.
pub(crate) async fn connect(address: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    match timeout(CONNECT_MAX, address.connect()).await {
        Ok(connected) => connected.map_err(classify),
        Err(_) => Err(StoreError::Unready(Diagnostic::new(
            format!(
                "the store is not available: it gave no answer within {} s",
                CONNECT_MAX.as_secs()
            ),
            "see that host and port in `store.url` are right, and that no firewall stands between",
        ))),
    }
}

/// Connects and applies the settings.
pub(crate) async fn begin(
    address: &PgConnectOptions,
    settings: &SessionSettings,
) -> Result<PgConnection, StoreError> {
    let mut session = connect(address).await?;
    settings.apply(&mut session).await.map_err(classify)?;
    Ok(session)
}

/// Refuses a server that cannot store every event. Prepares no statement, as a pooler may not have been detected yet.
pub(crate) async fn check_server(session: &mut PgConnection) -> Result<(), StoreError> {
    let asked = "select concat_ws(' ', current_setting('server_version_num'), current_setting('server_encoding'))";
    let said = text(session, asked.to_owned()).await.map_err(classify)?;
    let (version, encoding) = said.split_once(' ').unwrap_or((&said, ""));
    if version.parse::<i32>().unwrap_or(0) < VERSION_MIN {
        return Err(StoreError::Address(Diagnostic::new(
            format!("PostgreSQL {version} is too old"),
            "use PostgreSQL 14 or newer",
        )));
    }
    if encoding != "UTF8" {
        return Err(StoreError::Address(Diagnostic::new(
            format!("the database's encoding is {encoding}, which cannot hold every text"),
            "create the database with `encoding 'UTF8' template template0`",
        )));
    }
    Ok(())
}

/// Refuses a pooler that shares sessions, within a connection or between two: neither settings nor prepared
/// statements would last.
pub(crate) async fn refuse_shared(
    session: &mut PgConnection,
    address: &PgConnectOptions,
) -> Result<(), StoreError> {
    // A second connection may exceed the limit; then the comparison is skipped.
    let Ok(mut other) = connect(address).await else { return Ok(()) };
    let first = backend(session).await?;
    let mut shared = false;
    for _ in 0..LOOKS {
        // A pooler in session mode queues the second connection while it has no free server connection.
        let Ok(of_other) = timeout(CONNECT_MAX, backend(&mut other)).await else { return Ok(()) };
        let (of_other, again) = (of_other?, backend(session).await?);
        shared = shared || of_other == first || again != first || of_other == again;
    }
    // It only ran queries: an error on closing it loses nothing.
    let _ = other.close().await;
    if shared {
        return Err(StoreError::Unready(Diagnostic::new(SHARED, SHARED_HINT)));
    }
    Ok(())
}

async fn backend(session: &mut PgConnection) -> Result<String, StoreError> {
    text(session, "select pg_backend_pid()::text".to_owned()).await.map_err(classify)
}
