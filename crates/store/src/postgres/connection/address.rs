//! Where PostgreSQL is: one host, or several of which one is the primary.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::timeout;

use crate::error::StoreError;
use crate::postgres::connection::session::{SessionSettings, text};
use crate::postgres::error::classify;
use protocol::diagnostic::{Diagnostic, Hint};

/// Timeout of connecting outside of a pool.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Timeout of connecting to one of several hosts and asking what it is.
const HOST_MAX: Duration = Duration::from_secs(2);

/// The key of the settings that has the address of most connections.
pub(crate) const URL_KEY: &str = "store.url";

/// A parsed URL of PostgreSQL.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// Each host, with user, password and database. Never empty.
    pub(crate) hosts: Vec<PgConnectOptions>,
    /// The settings of the URL's `options`. They are set once a session has begun, since poolers drop or refuse options of
    /// its start.
    pub(crate) options: Vec<(String, String)>,
    /// The key of the settings that has it.
    pub(crate) key: &'static str,
}

impl Address {
    /// Sets the application name shown in the server's statistics, unless the URL has one; `part` names the component.
    pub(crate) fn named(mut self, part: &str) -> Self {
        let named = |host: PgConnectOptions| {
            let name = host.get_application_name().unwrap_or("trtc-callbacks");
            let name = format!("{name} {part}").trim_end().to_owned();
            // The driver's `extra_float_digits` is not needed: PostgreSQL writes floats exactly, and poolers refuse
            // unknown startup parameters.
            host.application_name(&name).extra_float_digits(None)
        };
        self.hosts = self.hosts.into_iter().map(named).collect();
        self
    }

    pub(crate) fn first(&self) -> &PgConnectOptions {
        self.hosts.first().expect("a URL without a host is refused when it is parsed")
    }

    pub(crate) fn has_several_hosts(&self) -> bool {
        self.hosts.len() > 1
    }

    /// Connects without a pool, which would retry and hide the cause of a failure. Of several hosts to the primary.
    pub(crate) async fn connect(&self) -> Result<PgConnection, StoreError> {
        if self.has_several_hosts() {
            return self.primary().await.map(|(_, connection)| connection);
        }
        match timeout(CONNECT_MAX, self.first().connect()).await {
            Ok(connected) => connected.map_err(|error| self.told(classify(error))),
            Err(_) => Err(StoreError::Unready(Diagnostic::new(
                format!(
                    "the store is not available: it gave no answer within {} s",
                    CONNECT_MAX.as_secs()
                ),
                format!(
                    "see that host and port in `{}` are right, and that no firewall stands between",
                    self.key
                ),
            ))),
        }
    }

    /// Connects and applies the settings, and those of the URL.
    pub(crate) async fn begin(
        &self,
        settings: SessionSettings,
    ) -> Result<PgConnection, StoreError> {
        let mut session = self.connect().await?;
        settings.and(&self.options).apply(&mut session).await.map_err(classify)?;
        Ok(session)
    }

    /// Asks all hosts at once. The first of them that is a primary, by its place, and a connection to it.
    pub(crate) async fn primary(&self) -> Result<(usize, PgConnection), StoreError> {
        let mut found = Vec::new();
        for (place, asked) in join_all(self.hosts.iter().map(ask)).await.into_iter().enumerate() {
            match asked {
                Ok(connection) => return Ok((place, connection)),
                Err(problem) => found.push(format!("{}: {problem}", shown(&self.hosts[place]))),
            }
        }
        let problem = format!(
            "the store is not available: none of its hosts is a primary ({})",
            found.join("; ")
        );
        let hint =
            format!("see that one of them runs and was promoted, and that `{}` names it", self.key);
        Err(StoreError::Unready(Diagnostic::new(problem, hint)))
    }

    /// The error, with the key in its hint that has this address.
    fn told(&self, error: StoreError) -> StoreError {
        if self.key == URL_KEY {
            return error;
        }
        let Diagnostic { problem, hint } = error.diagnostic();
        let problem = format!("{problem} (`{}`)", self.key);
        let hint = hint.map(|hint| hint.replace(URL_KEY, self.key));
        let told = Diagnostic { problem, hint };
        if error.is_unavailable() { StoreError::Unready(told) } else { StoreError::Address(told) }
    }
}

/// A connection to this host if it is a primary, else why not.
async fn ask(host: &PgConnectOptions) -> Result<PgConnection, String> {
    let asked = async {
        let mut connection = host.connect().await?;
        let standby = text(&mut connection, "select pg_is_in_recovery()::text".to_owned()).await?;
        Ok((connection, standby == "true"))
    };
    match timeout(HOST_MAX, asked).await {
        Ok(Ok((connection, false))) => Ok(connection),
        Ok(Ok(_)) => Err("a standby".to_owned()),
        Ok(Err(error)) => Err(crate::database_error::cause(&error)),
        Err(_) => Err(format!("no answer within {} s", HOST_MAX.as_secs())),
    }
}

/// Host and port, for display.
pub(crate) fn shown(host: &PgConnectOptions) -> String {
    let name = host.get_host();
    match host.get_socket() {
        Some(socket) => socket.display().to_string(),
        None if name.contains(':') => format!("[{name}]:{}", host.get_port()),
        None => format!("{name}:{}", host.get_port()),
    }
}
