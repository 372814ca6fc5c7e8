//! How a store is opened.

use std::time::Duration;

use secrecy::SecretString;

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
    /// How long one statement of a reader may take. `None`: as long as it does.
    pub read_timeout: Option<Duration>,
    /// How many monthly partitions to make ahead (PostgreSQL).
    pub partitions_ahead: u32,
    /// How long events are kept, so that no partition is made that would be dropped at once. `None`: for good.
    pub keep: Option<Duration>,
    /// Make a SQLite file where it is missing.
    pub create: bool,
}

impl StoreOptions {
    /// The same store for one who only reads: a missing file is an error, and a statement may take longer.
    #[must_use]
    pub fn to_read(self) -> Self {
        Self { create: false, timeout: Duration::from_secs(10), read_timeout: None, ..self }
    }
}
