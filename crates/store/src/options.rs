//! Options of opening a store.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

/// Options of opening a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// `postgres://…` or `sqlite://…`.
    pub url: SecretString,
    /// An address of the same database where each connection has a session of its own, for what needs one; then `url` may
    /// lead to a pooler that gives each transaction another. `None`: `url` is for all (PostgreSQL).
    pub direct_url: Option<SecretString>,
    /// Number of connections for writers (PostgreSQL; SQLite has one writer).
    pub writers: u32,
    /// Number of connections for readers.
    pub readers: u32,
    /// Timeout of acquiring a connection and of a writer's statement.
    pub timeout: Duration,
    /// Timeout of a reader's statement; `None`: none.
    pub read_timeout: Option<Duration>,
    /// The span of time of a partition (PostgreSQL).
    pub partition_span: PartitionSpan,
    /// Number of partitions to create ahead (PostgreSQL); of days at least a week's.
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

/// The span of time of a partition of `events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum PartitionSpan {
    /// A month in UTC.
    Month,
    /// A day in UTC.
    Day,
}

impl TryFrom<String> for PartitionSpan {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "month" => Ok(Self::Month),
            "day" => Ok(Self::Day),
            _ => Err(format!("expected month or day, found `{word}`")),
        }
    }
}

impl PartitionSpan {
    /// The word in the configuration, which is PostgreSQL's, too.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Day => "day",
        }
    }

    /// How PostgreSQL writes its begin in the name of a partition.
    pub(crate) fn digits(self) -> &'static str {
        match self {
            Self::Month => "YYYY_MM",
            Self::Day => "YYYY_MM_DD",
        }
    }
}
