//! The state of a store, for operators. Read-only, without judgement.

use sqlx::migrate::{Migration, Migrator};

use crate::options::PartitionSpan;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// Rows are counted up to this number; a larger count means "more".
pub const COUNT_MAX: i64 = 10_000;

/// The state of a store.
#[derive(Debug, Clone)]
pub struct Examination {
    /// Its name and version, such as `PostgreSQL 16.4`.
    pub database: String,
    /// The state of its migrations.
    pub migrations: Migrations,
    /// Whether an event can be stored, tried with a row that was rolled back; `None` without tables.
    pub writable: Option<Result<(), String>>,
    /// Number of dead letters, counted up to [`COUNT_MAX`] + 1; `None` without tables.
    pub parked: Option<i64>,
    /// State particular to the kind of store.
    pub kind: Kind,
}

/// The applied migrations compared with those of this version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Migrations {
    /// Migrations of this version that are missing, as `number name`.
    pub pending: Vec<String>,
    /// Numbers of unknown migrations, made by a newer version.
    pub unknown: Vec<i64>,
    /// Numbers of migrations that were applied with another checksum.
    pub altered: Vec<i64>,
    /// The number of a migration that failed half-way.
    pub broken: Option<i64>,
}

/// State particular to the kind of store.
#[derive(Debug, Clone)]
pub enum Kind {
    /// PostgreSQL.
    Postgres(PostgresState),
    /// SQLite.
    Sqlite(SqliteState),
}

/// The state of a PostgreSQL database.
#[derive(Debug, Clone)]
pub struct PostgresState {
    /// Whether its version is supported.
    pub version_fits: bool,
    /// The database's encoding.
    pub encoding: String,
    /// Whether `store.url` leads to a pooler that gives each transaction another session; `None` where no other URL is
    /// given for what needs a session.
    pub shares_sessions: Option<bool>,
    /// Whether it is a standby, which accepts no writes.
    pub standby: bool,
    /// The durability settings that are off.
    pub unsafe_settings: Vec<String>,
    /// Whether role or database default to read-only transactions.
    pub read_only_by_default: bool,
    /// Whether a partition can be made, tried with one that was rolled back; `None` without tables, or where a lock
    /// was not available.
    pub makes_partitions: Option<Result<(), String>>,
    /// The privileges that the role of the URL lacks, each with the statement that grants it.
    pub missing_rights: Vec<Diagnostic>,
    /// The span of time for which partitions are made.
    pub partition_span: PartitionSpan,
    /// Of this month or day and the next, those without a partition. Empty without tables.
    pub without_partition: Vec<String>,
    /// Number of rows in the default partition, counted up to [`COUNT_MAX`] + 1.
    pub default_rows: i64,
    /// The server's clock.
    pub clock: UnixMillis,
}

/// The state of a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteState {
    /// The journal mode: `wal` once a server has used it.
    pub journal_mode: String,
    /// The first damage found; `None` where there is none or it was not looked for.
    pub damage: Option<String>,
}

impl Migrations {
    /// Compares the applied migrations (number, finished, checksum) with those of this version.
    pub(crate) fn compare(ours: &Migrator, applied: &[(i64, bool, Vec<u8>)]) -> Self {
        let known = |version: &i64| ours.version_exists(*version);
        let pending = ours.iter().filter(|ours| {
            ours.migration_type.is_up_migration()
                && applied.iter().all(|(version, ..)| *version != ours.version)
        });
        Self {
            pending: pending.map(|ours| format!("{} {}", ours.version, ours.description)).collect(),
            unknown: applied.iter().map(|(version, ..)| *version).filter(|v| !known(v)).collect(),
            altered: ours
                .iter()
                .filter(|ours| applied.iter().any(is_other_form_of(ours)))
                .map(|ours| ours.version)
                .collect(),
            broken: applied.iter().find(|(_, done, _)| !done).map(|(version, ..)| *version),
        }
    }
}

fn is_other_form_of(ours: &Migration) -> impl Fn(&(i64, bool, Vec<u8>)) -> bool {
    |(version, _, checksum)| *version == ours.version && **checksum != *ours.checksum
}
