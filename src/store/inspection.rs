//! What a store is like, for those who look after it. Nothing is changed, and nothing is judged.

use sqlx::migrate::{Migration, Migrator};

use crate::clock::UnixMillis;
use crate::diagnostic::Diagnostic;

/// Rows are counted up to so many; a larger count means "more".
pub const COUNT_MAX: i64 = 10_000;

/// What a store is like.
#[derive(Debug, Clone)]
pub struct Examination {
    /// Its name and version, such as `PostgreSQL 16.4`.
    pub database: String,
    /// Which migrations it has.
    pub migrations: Migrations,
    /// Whether an event could be stored, by one that was stored and taken back; `None` where there are no tables yet.
    pub writable: Option<Result<(), String>>,
    /// How many events are parked, counted up to [`COUNT_MAX`] and one more; `None` where there are no tables yet.
    pub parked: Option<i64>,
    /// What only one kind of store has.
    pub kind: Kind,
}

/// Which migrations a store has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Migrations {
    /// Those of this version that it lacks, as `number name`.
    pub pending: Vec<String>,
    /// The numbers of those that this version does not know: it was migrated by a newer one.
    pub unknown: Vec<i64>,
    /// The numbers of those that were applied in another form than this version has.
    pub altered: Vec<i64>,
    /// The number of one that broke off half-way.
    pub broken: Option<i64>,
}

/// What only one kind of store has.
#[derive(Debug, Clone)]
pub enum Kind {
    /// It is a PostgreSQL.
    Postgres(PostgresState),
    /// It is a SQLite file.
    Sqlite(SqliteState),
}

/// What a PostgreSQL is like.
#[derive(Debug, Clone)]
pub struct PostgresState {
    /// Whether it is new enough for us.
    pub version_fits: bool,
    /// The database's encoding.
    pub encoding: String,
    /// Whether it only follows another server and takes no writes.
    pub standby: bool,
    /// The settings that a commit's safety hangs on and that are off.
    pub unsafe_settings: Vec<String>,
    /// Whether role or database say that sessions only read.
    pub read_only_by_default: bool,
    /// Whether a partition could be made, by one that was made and taken back; `None` where there are no tables yet, or
    /// others were in the way.
    pub makes_partitions: Option<Result<(), String>>,
    /// The rights that the role of the URL lacks: who may not do what, and who grants it, and how.
    pub missing_rights: Vec<Diagnostic>,
    /// The months, this one and the next, that no partition covers at their present or first moment. Empty where
    /// there are no tables yet.
    pub months_without_partition: Vec<String>,
    /// How many rows are in the default partition, counted up to [`COUNT_MAX`] and one more.
    pub default_rows: i64,
    /// The server's clock.
    pub clock: UnixMillis,
}

/// What a SQLite file is like.
#[derive(Debug, Clone)]
pub struct SqliteState {
    /// `wal` where a server has made it.
    pub journal_mode: String,
    /// What is damaged, where it was asked to look; `None` where it was not, or nothing is.
    pub damage: Option<String>,
}

impl Migrations {
    /// Compares those that were applied, each with whether it was finished and its checksum, with those of this version.
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
