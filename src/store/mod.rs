//! The only place that knows SQL: two stores behind one trait.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::callback::{AppId, Event};
use crate::clock::UnixMillis;

mod postgres;
mod rows;
mod sqlite;

pub use rows::StoredEvent;

/// Where events are kept. All methods may be called from many tasks at once.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Brings the tables up to this version's. Does nothing where they are; replicas may call it together.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// What has to be done now and then for the store to go on taking events, such as making partitions ahead.
    async fn upkeep(&self, now: UnixMillis) -> Result<(), StoreError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Stores all of `events` or none, and says of each whether it was new. Give them ordered by id, so that two
    /// writers that hold the same events never wait for each other in a circle.
    async fn insert(&self, events: &[&Event]) -> Result<Vec<Inserted>, StoreError>;

    /// Puts aside an event that [`Store::insert`] refused, whole and with the reason.
    async fn park(&self, event: &Event, reason: &str, now: UnixMillis) -> Result<(), StoreError>;

    /// The stored events that `filter` lets through.
    async fn events(&self, filter: &EventFilter) -> Result<Vec<StoredEvent>, StoreError>;

    /// Finishes what is under way and closes every connection.
    async fn close(&self);
}

/// What became of one event that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is a row now.
    New,
    /// It already was one.
    Duplicate,
}

/// Why a store did not do what it was asked to. The text of each names its cause; there is no chain behind it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store's address cannot be used. Trying again will not help.
    #[error("{problem}\nhint: {hint}")]
    Address {
        /// What is wrong with it.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// The store is not there, or not ready: the same request may succeed later.
    #[error("the store is not available: {}", cause(.0))]
    Unavailable(sqlx::Error),
    /// The store will not take one of the rows, now or later.
    #[error("the store refuses a row: {}", cause(.0))]
    Refused(sqlx::Error),
    /// The tables could not be brought up to this version.
    #[error("bring its tables up to this version: {}", migrate_cause(.0))]
    Migrate(sqlx::migrate::MigrateError),
}

/// What the database said, without what the driver adds for its own developers.
fn cause(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

fn migrate_cause(error: &sqlx::migrate::MigrateError) -> String {
    match error {
        sqlx::migrate::MigrateError::Execute(error) => cause(error),
        _ => error.to_string(),
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migrate(error)
    }
}

impl StoreError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Migrate(sqlx::migrate::MigrateError::Execute(error)) => {
                // Of what a database answers, only that it cannot now: not a missing right, or a table in the way.
                let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
                let class = code.as_deref().and_then(|code| code.get(..2)).unwrap_or("08");
                ["08", "40", "53", "55", "57"].contains(&class)
            }
            Self::Migrate(_) | Self::Address { .. } | Self::Refused(_) => false,
        }
    }
}

/// Which stored events, and in which order.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of this app.
    pub app: Option<AppId>,
    /// Of this family, by its stored name.
    pub family: Option<String>,
    /// Of this command, by its canonical name.
    pub command: Option<String>,
    /// About this call.
    pub call_id: Option<String>,
    /// About this room.
    pub room_id: Option<String>,
    /// That happened at this time or later.
    pub since: Option<UnixMillis>,
    /// That happened before this time.
    pub until: Option<UnixMillis>,
    /// That arrived at this time or later.
    pub received_since: Option<UnixMillis>,
    /// Which end to begin at.
    pub order: Order,
    /// At most so many.
    pub limit: u32,
}

/// The order of a list of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// By event time, the latest first.
    #[default]
    Newest,
    /// By event time, the earliest first, behind this event where one is named.
    Oldest {
        /// The time and id of the last event of the page before.
        after: Option<(UnixMillis, Uuid)>,
    },
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// `postgres://…` or `sqlite://…`.
    pub url: SecretString,
    /// How many connections write at once (PostgreSQL; SQLite has one writer).
    pub writers: u32,
    /// How many connections read at once.
    pub readers: u32,
    /// How long to wait for a connection, and for one statement of a writer.
    pub timeout: Duration,
    /// How many monthly partitions to make ahead (PostgreSQL).
    pub partitions_ahead: u32,
    /// Make a SQLite file where it is missing.
    pub create: bool,
}

impl StoreOptions {
    /// The same store for one who only reads: a missing file is an error, and a statement may take longer.
    #[must_use]
    pub fn to_read(self) -> Self {
        Self { create: false, timeout: Duration::from_secs(10), ..self }
    }
}

/// Opens the store that the URL names. It need not answer yet, unless it is a file.
///
/// # Errors
/// When the URL is of no known kind or broken, or the file cannot be opened.
pub async fn open(options: &StoreOptions) -> Result<Arc<dyn Store>, StoreError> {
    let url = options.url.expose_secret();
    match url.split_once(':').map_or("", |(scheme, _)| scheme) {
        "postgres" | "postgresql" => Ok(Arc::new(postgres::Postgres::open(options)?)),
        "sqlite" => Ok(Arc::new(sqlite::Sqlite::open(options).await?)),
        scheme => Err(StoreError::Address {
            problem: format!("`store.url` begins with `{scheme}:`, which is no kind of store"),
            hint: "give `postgres://user:password@host/database` or `sqlite://path/to/file.db`"
                .into(),
        }),
    }
}

/// The URL without its password and parameters, for people to read.
#[must_use]
pub fn display_url(url: &SecretString) -> String {
    let url = url.expose_secret();
    let bare = url.split_once('?').map_or(url, |(bare, _)| bare);
    match (bare.split_once("://"), bare.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://…@{place}"),
        _ => bare.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let shown = |url: &str| display_url(&url.into());
        assert_eq!(shown("postgres://u:p@ss@db:5432/x?password=p"), "postgres://…@db:5432/x");
        assert_eq!(shown("postgres://db/x"), "postgres://db/x");
        assert_eq!(shown("sqlite://data/x.db"), "sqlite://data/x.db");
    }
}
