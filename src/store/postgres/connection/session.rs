//! How a session with PostgreSQL is begun: what we rely on is set in it, and looked at, whatever role, database or pooler
//! have by default.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::time::timeout;

use crate::diagnostic::Diagnostic;
use crate::store::database_error::{SHARED, SHARED_HINT};
use crate::store::error::StoreError;
use crate::store::postgres::error::classify;

/// The oldest server this was built for, as `server_version_num`.
pub(crate) const VERSION_MIN: i32 = 140_000;
/// How long a connection may take to come about where no pool makes it.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How often two sessions are compared, in case others use the pooler too.
const LOOKS: u32 = 3;

/// What is set in a session after it was begun. Not with the options of its start: a pooler drops or refuses those.
#[derive(Debug, Clone)]
pub(crate) struct SessionSettings(Vec<(&'static str, String)>);

impl SessionSettings {
    /// What every session relies on. `statement`: how long a statement may take; `idle`: how long a transaction may stand
    /// still. `None`: as long as it does.
    pub(crate) fn new(statement: Option<Duration>, idle: Option<Duration>) -> Self {
        let millis = |most: Option<Duration>| most.map_or(0, |most| most.as_millis()).to_string();
        Self(vec![
            // A stricter one fails where rows are written from two sides, and what is written needs none.
            ("default_transaction_isolation", "read committed".to_owned()),
            // Not `default_transaction_read_only`: providers switch it on to keep a disk from filling up.
            ("statement_timeout", millis(statement)),
            ("idle_in_transaction_session_timeout", millis(idle)),
            // Waiting for a lock is bounded by the statement, and where it is not by `set local`.
            ("lock_timeout", "0".to_owned()),
            // One that rests in a pool is not to be ended.
            ("idle_session_timeout", "0".to_owned()),
        ])
    }

    /// One more, or another value of one of them.
    pub(crate) fn with(self, name: &'static str, value: impl Into<String>) -> Self {
        let mut all = self.without(name);
        all.0.push((name, value.into()));
        all
    }

    /// All but this one.
    pub(crate) fn without(mut self, name: &'static str) -> Self {
        self.0.retain(|(set, _)| *set != name);
        self
    }

    /// Sets them, and sees that they last.
    pub(crate) async fn apply(&self, session: &mut PgConnection) -> Result<(), sqlx::Error> {
        let listed = |write: &dyn Fn(&str, &str) -> String| {
            let each: Vec<String> = self.0.iter().map(|(name, value)| write(name, value)).collect();
            format!("select concat_ws(', ', {})", each.join(", "))
        };
        // Names and values are fixed words and numbers. Not prepared: a pooler may not know how.
        let set =
            listed(&|name, value| format!("'{name}=' || set_config('{name}', '{value}', false)"));
        let look = listed(&|name, _| format!("'{name}=' || current_setting('{name}')"));
        let set = text(session, set).await?;
        let found = text(session, look).await?;
        if set == found {
            return Ok(());
        }
        // Each as PostgreSQL itself writes it.
        let lost: Vec<&str> = found.split(", ").filter(|part| !set.contains(part)).collect();
        let problem = format!("the session does not keep its settings: {}", lost.join(", "));
        Err(sqlx::Error::Configuration(problem.into()))
    }
}

async fn text(session: &mut PgConnection, sql: String) -> Result<String, sqlx::Error> {
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(session).await?;
    sqlx::Row::try_get(&row, 0)
}

/// Names our sessions for whoever looks at the server, unless the URL does; `part` is which of ours it is.
pub(crate) fn named(address: PgConnectOptions, part: &str) -> PgConnectOptions {
    let name = address.get_application_name().unwrap_or("trtc-callbacks");
    let name = format!("{name} {part}").trim_end().to_owned();
    // PostgreSQL writes floats exactly anyhow, and poolers refuse what they do not know at the start of a session.
    address.application_name(&name).extra_float_digits(None)
}

/// A connection of its own, without a pool that would try again and again and keep back why it fails.
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

/// The same, with what we rely on set.
pub(crate) async fn begin(
    address: &PgConnectOptions,
    settings: &SessionSettings,
) -> Result<PgConnection, StoreError> {
    let mut session = connect(address).await?;
    settings.apply(&mut session).await.map_err(classify)?;
    Ok(session)
}

/// Refuses a server that cannot keep every event. Prepares no statement, as what stands before it is not known yet.
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

/// Refuses a pooler that gives two sessions of ours the same one of the server's, or one of ours now this and now that:
/// nothing that is set or prepared would last.
pub(crate) async fn refuse_shared(
    session: &mut PgConnection,
    address: &PgConnectOptions,
) -> Result<(), StoreError> {
    // One connection more may not be allowed; then there is nothing to compare with.
    let Ok(mut other) = connect(address).await else { return Ok(()) };
    let first = backend(session).await?;
    let mut shared = false;
    for _ in 0..LOOKS {
        // A pooler in session mode has it wait for one of the server's, of which it may have no more.
        let Ok(of_other) = timeout(CONNECT_MAX, backend(&mut other)).await else { return Ok(()) };
        let (of_other, again) = (of_other?, backend(session).await?);
        shared = shared || of_other == first || again != first || of_other == again;
    }
    // It was only asked.
    let _ = other.close().await;
    if shared {
        return Err(StoreError::Unready(Diagnostic::new(SHARED, SHARED_HINT)));
    }
    Ok(())
}

async fn backend(session: &mut PgConnection) -> Result<String, StoreError> {
    text(session, "select pg_backend_pid()::text".to_owned()).await.map_err(classify)
}
