//! The only place that knows SQL: two stores behind one trait.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use sqlx::migrate::MigrateError;
use uuid::Uuid;

use crate::callback::{AppId, Event};
use crate::clock::UnixMillis;
use crate::store::url::Place;

mod backup;
pub(crate) mod column_values;
pub(crate) mod database_error;
pub(crate) mod erase;
pub(crate) mod inspection;
pub(crate) mod model;
pub(crate) mod postgres;
pub(crate) mod query;
pub(crate) mod read;
pub(crate) mod rebuild;
pub(crate) mod sessions;
pub(crate) mod spool;
pub(crate) mod sql;
pub(crate) mod sqlite;
pub(crate) mod url;

pub use crate::store::column_values::*;
pub use crate::store::erase::accounts::{Accounts, Change, Key, Record, Scan, Table, accounts};
pub use crate::store::erase::projections::{Erased as ErasedRows, Erasing, RowKey, model_tables};
pub use crate::store::inspection::{
    COUNT_MAX, Examination, Kind, Migrations, MissingRight, PostgresState, SqliteState, examine,
};
pub use crate::store::model::event::StoredEvent;
pub use crate::store::model::read_models::{
    Anomaly, Battle, BattleRoom, Call, Count, Found, GiftRow, JsonText, Live, Member, Recording,
    Room, RoomChangeRow, Stay, TopAccount, UserCall, Visit,
};
pub use crate::store::model::recording_file::RecordingFile;
pub use crate::store::model::timeline::{CallStep, arrivals, steps};
pub use crate::store::query::filters::{
    AnomalyFilter, CallFilter, CountBy, CountFilter, DetailPage, DetailPlace, RoomFilter, Step,
    UserCallFilter, UserVisitFilter,
};
pub use crate::store::query::list::{Gifts, List, LiveRoom, Lives, Part, UserVisit, Visits};
pub use crate::store::read::read_models::{
    COUNTS_MAX, DETAIL_BYTES_MAX, DETAILS_MAX, Details, EVENTS_SCANNED_MAX, FOUND_MAX,
    LIFE_EARLY_MS, LIST_BYTES_MAX, MARKS_SCANNED_MAX, OPEN_COUNTED_MAX, PAGE_BYTES_MAX, ReadModels,
    RoomKey, Subject,
};
pub use crate::store::rebuild::tables::{Progress, Rebuilding, Scope, Stage, Tally};
pub use crate::store::sessions::facts::{Attendance, LiveFacts, SettledLife, Span};
pub use crate::store::sessions::queue::{QUEUE_COUNTED_MAX, Queued, RoomId, SLOT_MS, Settling};
pub use crate::store::sessions::sweep::{Drift, OpenCall, Overdue, SWEEP_ROWS};
pub use crate::store::sessions::windows::Window;
pub use crate::store::sessions::write::{Finding, Known, Settlement};
pub use crate::store::spool::handle::{Batch, Size, Spool, SpoolError, Spooled};
pub use crate::store::spool::inspect::{SpoolExamination, examine_spool};
pub use crate::store::spool::salvage::Salvage;
pub use crate::store::sql::upsert::Entry;
pub use crate::store::url::{check_url, display_url, file};
pub use backup::{Backup, BackupError};

/// Where events are kept. All methods may be called from many tasks at once.
#[async_trait]
pub trait Store: ReadModels + Send + Sync + fmt::Debug {
    /// Brings the tables up to this version's. Does nothing where they are; replicas may call it together.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// What has to be done now and then for the store to go on taking events, such as making partitions ahead.
    async fn upkeep(&self, now: UnixMillis) -> Result<(), StoreError>;

    /// The names of partitions that hold nothing that happened at `before` or later. None where there are no
    /// partitions.
    async fn expired_partitions(&self, before: UnixMillis) -> Result<Vec<String>, StoreError> {
        let _ = before;
        Ok(Vec::new())
    }

    /// Drops one of [`Store::expired_partitions`], with all it holds. `false` when it is gone already, or another
    /// replica is at it. An error when others use the events just now: it does not wait for them, since writers would
    /// wait behind it.
    async fn drop_partition(&self, name: &str, before: UnixMillis) -> Result<bool, StoreError> {
        let _ = (name, before);
        Ok(false)
    }

    /// Deletes at most `rows_max` events of those outside of partitions that happened before `before`, as many parked
    /// ones that were parked before, and as many rows of each table of the read models that tell of nothing later.
    /// Returns how many; none when there is nothing more to delete.
    async fn delete_expired(&self, before: UnixMillis, rows_max: u32) -> Result<u64, StoreError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Stores all of `entries` or none, those that are new with their changes, and says of each whether it was. Give
    /// them ordered by the events' ids, so that two writers that hold the same events never wait for each other in a
    /// circle.
    async fn insert(&self, entries: &[Entry<'_>]) -> Result<Vec<Inserted>, StoreError>;

    /// Puts aside an event that [`Store::insert`] refused, whole and with the reason.
    async fn park(&self, event: &Event, reason: &str, now: UnixMillis) -> Result<(), StoreError>;

    /// The stored events that `filter` lets through.
    async fn events(&self, filter: &EventFilter) -> Result<Vec<StoredEvent>, StoreError>;

    /// Whether the event with this id is stored.
    async fn contains(&self, id: Uuid) -> Result<bool, StoreError>;

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
    #[error("{}", database_error::unavailable(.0))]
    Unavailable(sqlx::Error),
    /// The store is there, and something about it or before it must be mended first: the same request may succeed then.
    #[error("{problem}\nhint: {hint}")]
    Unready {
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// The store will not take one of the rows, now or later.
    #[error("the store refuses a row: {}", database_error::cause(.0))]
    Refused(sqlx::Error),
    /// The tables could not be brought up to this version.
    #[error("{}", database_error::migrating(.0))]
    Migrate(MigrateError),
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        Self::Migrate(error)
    }
}

impl StoreError {
    /// Whether the question took longer than a reader may.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        let Self::Unavailable(error) = self else { return false };
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        // PostgreSQL's `query_canceled`, and SQLITE_INTERRUPT.
        matches!(code.as_deref(), Some("57014" | "9"))
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unready { .. } => true,
            Self::Unavailable(error)
            | Self::Migrate(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => {
                // Of what a database answers, only that it cannot now: not a wrong password, a missing right or a table
                // in the way. What a pooler lost (26, and a statement that is there twice) may be mended in it. A database
                // of SQLite has one digit fewer.
                let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
                let code = code.as_deref().filter(|code| code.len() == 5).unwrap_or("08000");
                code == "42P05" || ["08", "25", "26", "40", "53", "55", "57"].contains(&&code[..2])
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
    /// By this account.
    pub operator: Option<String>,
    /// From this platform, as sent.
    pub platform: Option<String>,
    /// Of the request that the vendor calls so.
    pub request_id: Option<String>,
    /// Whose body, where it is JSON, has this text in it as it stands.
    pub text: Option<String>,
    /// Only those whose body did not fit its command.
    pub undecoded: bool,
    /// That happened at this time or later.
    pub since: Option<UnixMillis>,
    /// That happened before this time.
    pub until: Option<UnixMillis>,
    /// That arrived at this time or later.
    pub received_since: Option<UnixMillis>,
    /// That arrived before this time.
    pub received_until: Option<UnixMillis>,
    /// Which end to begin at.
    pub order: Order,
    /// At most so many.
    pub limit: u32,
}

impl EventFilter {
    /// The events of one call, the earliest first: its timeline.
    #[must_use]
    pub fn of_call(app: AppId, call_id: &str, limit: u32) -> Self {
        Self {
            app: Some(app),
            call_id: Some(call_id.to_owned()),
            order: Order::Oldest { after: None },
            limit,
            ..Self::default()
        }
    }

    /// The events of one life of a room, the earliest first: its timeline.
    #[must_use]
    pub fn of_room(room: &Room, limit: u32) -> Self {
        Self {
            app: AppId::parse(&room.sdk_app_id.to_string()),
            room_id: Some(room.room_id.clone()),
            since: Some(room.from_at),
            until: room.until_at,
            order: Order::Oldest { after: None },
            limit,
            ..Self::default()
        }
    }
}

/// The order of a list of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By event time, the latest first, behind this event where one is named.
    Newest {
        /// The time and id of the last event of the page before.
        after: Option<(UnixMillis, Uuid)>,
    },
    /// By event time, the earliest first, behind this event where one is named.
    Oldest {
        /// The time and id of the last event of the page before.
        after: Option<(UnixMillis, Uuid)>,
    },
    /// By the time of their arrival, the earliest first, behind this event where one is named.
    Arrived {
        /// The time of arrival and the id of the last event of the page before.
        after: Option<(UnixMillis, Uuid)>,
    },
}

impl Default for Order {
    fn default() -> Self {
        Self::Newest { after: None }
    }
}

/// One page of a list of events; see [`ReadModels::event_page`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events; may be fewer than asked for, or none, though more come behind.
    pub events: Vec<StoredEvent>,
    /// Behind which place to go on: `after` of the next page. `None` at the end of the list.
    pub next: Option<(UnixMillis, Uuid)>,
}

/// One page of the visits within one life of a room; see [`ReadModels::visits`].
#[derive(Debug, Clone, Default)]
pub struct VisitPage {
    /// The visits; may be fewer than asked for, or none, though more come behind.
    pub visits: Vec<Visit>,
    /// Behind which place to go on: `after` of the next page. `None` at the end of the list.
    pub next: Option<DetailPlace>,
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

/// Opens the store that the URL names. It need not answer yet, unless it is a file.
///
/// # Errors
/// When the URL is of no known kind or broken, or the file cannot be opened, or a certificate that it names is not there.
pub async fn open(options: &StoreOptions) -> Result<Arc<dyn Store>, StoreError> {
    match Place::to_open(&options.url)? {
        Place::Postgres(address) => {
            Ok(Arc::new(postgres::events_store::Postgres::open(address, options)))
        }
        Place::Sqlite(address) => {
            Ok(Arc::new(sqlite::events_store::Sqlite::open(address, options).await?))
        }
    }
}
