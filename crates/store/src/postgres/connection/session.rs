//! Start of a PostgreSQL session: required settings are set and then verified, regardless of the defaults of role,
//! database or pooler.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

/// Settings made after the session has started. Not as startup options: poolers drop or refuse those.
#[derive(Debug, Clone)]
pub(crate) struct SessionSettings(Vec<(Cow<'static, str>, String)>);

impl SessionSettings {
    /// The settings that every session needs. `statement`: the statement timeout; `idle`: how long a transaction may
    /// be idle. `None`: unlimited.
    pub(crate) fn new(statement: Option<Duration>, idle: Option<Duration>) -> Self {
        let millis = |most: Option<Duration>| most.map_or(0, |most| most.as_millis()).to_string();
        let all = Self(Vec::new());
        // A stricter level fails where two writers meet, and our statements need none.
        all.with("default_transaction_isolation", "read committed")
            // Not `default_transaction_read_only`: hosting providers switch it on to protect a full disk.
            .with("statement_timeout", millis(statement))
            .with("idle_in_transaction_session_timeout", millis(idle))
            // Waiting for a lock is bounded by the statement timeout, or by `set local` where that is not enough.
            .with("lock_timeout", "0")
            // An idle connection of a pool must not be closed by the server.
            .with("idle_session_timeout", "0")
            // The driver asks for these at the start of a session, and a pooler may drop it. It reads text as UTF-8, and
            // dates in texts are written and read by these.
            .with("client_encoding", "UTF8")
            .with("DateStyle", "ISO, MDY")
            .with("TimeZone", "UTC")
    }

    /// Adds the `options` of a URL, except those that the server needs otherwise.
    pub(crate) fn and(mut self, options: &[(String, String)]) -> Self {
        for (name, value) in options {
            if !self.0.iter().any(|(set, _)| set.eq_ignore_ascii_case(name)) {
                self.0.push((name.clone().into(), value.clone()));
            }
        }
        self
    }

    /// Adds a setting or replaces its value.
    pub(crate) fn with(self, name: &'static str, value: impl Into<String>) -> Self {
        let mut all = self.without(name);
        all.0.push((name.into(), value.into()));
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
            let each = self.0.iter().map(|(name, value)| write(&quoted(name), &quoted(value)));
            let each: Vec<String> = each.collect();
            format!("select concat_ws(chr(10), {})", each.join(", "))
        };
        // Not prepared: a pooler may not support it.
        let set =
            listed(&|name, value| format!("{name} || '=' || set_config({name}, {value}, false)"));
        let look = listed(&|name, _| format!("{name} || '=' || current_setting({name})"));
        let set = text(session, set).await?;
        let found = text(session, look).await?;
        if set == found {
            return Ok(());
        }
        // In the form in which PostgreSQL reports each.
        let known: Vec<&str> = set.lines().collect();
        let lost: Vec<&str> = found.lines().filter(|line| !known.contains(line)).collect();
        let problem = format!("the session does not keep its settings: {}", lost.join(", "));
        Err(sqlx::Error::Configuration(problem.into()))
    }

    /// The statements that begin a transaction with these settings, for sessions that do not last.
    pub(crate) fn begin(&self) -> String {
        let begin = "begin isolation level read committed".to_owned();
        let of_sessions = ["default_transaction_isolation", "idle_session_timeout"];
        let set = self.0.iter().filter(|(name, _)| !of_sessions.contains(&&**name));
        set.fold(begin, |begin, (name, value)| {
            format!("{begin}; select set_config({}, {}, true)", quoted(name), quoted(value))
        })
    }
}

/// A literal of SQL. `standard_conforming_strings` is on since PostgreSQL 9.1; a backslash would need it.
fn quoted(text: &str) -> String {
    if text.contains('\\') {
        return format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// The first column of the only row, without preparing the statement.
pub(crate) async fn text(session: &mut PgConnection, sql: String) -> Result<String, sqlx::Error> {
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(session).await?;
    sqlx::Row::try_get(&row, 0)
}
