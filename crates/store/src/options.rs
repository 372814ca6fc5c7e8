//! Options of opening a store.

use std::time::Duration;

use secrecy::SecretString;

/// Options of opening a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// `postgres://…` or `sqlite://…`.
    pub url: SecretString,
    /// Number of connections for writers (PostgreSQL; SQLite has one writer).
    pub writers: u32,
    /// Number of connections for readers.
    pub readers: u32,
    /// Timeout of acquiring a connection and of a writer's statement.
    pub timeout: Duration,
    /// Timeout of a reader's statement; `None`: none.
    pub read_timeout: Option<Duration>,
    /// Number of monthly partitions to create ahead (PostgreSQL).
    pub partitions_ahead: u32,
    /// Retention of events, so that no already expired partition is created; `None`: unlimited.
    pub keep: Option<Duration>,
    /// Whether to create a missing SQLite file.
    pub create: bool,
}

impl StoreOptions {
    /// The same store for read-only use: a missing file is an error, and statements get a longer timeout.
    #[must_use]
    pub fn to_read(self) -> Self {
        Self { create: false, timeout: Duration::from_secs(10), read_timeout: None, ..self }
    }
}
