//! Fills the shadow tables of a rebuild from all events, and stores its progress.
//!
//! [`compare`](crate::rebuild::compare) and [`counts`](crate::rebuild::counts) compare the real tables
//! with them and correct those.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::StoreError;
use crate::model::event::Row;
use crate::model::event::StoredEvent;
use crate::options::StoreOptions;
use crate::sessions::queue::{END, QueueSql, Queued, RoomId, RoomQueue};
use crate::sql::connection::{Arg, DbConnection};
use crate::url::StoreUrl;
use projections::{Batch, Change, TABLES, changes};
use protocol::Event;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// The key of the advisory lock of a rebuild: the letters `trtb`.
const REBUILD_LOCK: i64 = 0x7472_7462;
/// The prefix of shadow tables.
pub(crate) const PREFIX: &str = "rebuild_";
/// Number of events read at once.
const PAGE_EVENTS: usize = 500;
/// Number of rooms compared between two saves of the progress.
const PAGE_ROOMS: u32 = 200;
/// The version whose projections filled the tables: those of another may differ.
const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(crate) const HOUR_MS: i64 = 3_600_000;
/// Rows that expire within this time are skipped, since retention may be deleting them.
const RETENTION_MARGIN_MS: i64 = 2 * HOUR_MS;

/// A rebuild, over a connection of its own. After an error it must not be used again.
#[derive(Debug)]
pub struct Rebuilding {
    pub(crate) connection: DbConnection,
    /// For a SQLite file, the lock against a second rebuild; in PostgreSQL the connection holds it.
    _lock: Option<File>,
}

/// The stage of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Events are read.
    #[default]
    Read,
    /// Facts and calls are compared.
    Compare,
    /// Counts of events are compared.
    Counts,
    /// Room sessions and live sessions are compared.
    Settle,
    /// Those of the rooms of the RTC Engine are compared.
    SettleRtc,
    /// Finished.
    Done,
}

/// The progress and findings of a rebuild. Persisted in the store.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Progress {
    version: String,
    /// Whether this is a dry run, which changes no real row.
    pub dry_run: bool,
    /// The current stage.
    pub stage: Stage,
    /// Number of events read.
    pub events: u64,
    /// The last event that was read: its time in ms and its id.
    after: Option<(i64, Uuid)>,
    /// The index of the table that is compared.
    pub(crate) table: usize,
    /// The position in that table, or in the queue of rooms.
    pub(crate) key: Option<Vec<serde_json::Value>>,
    /// The last compared hour of the counts, in ms.
    pub(crate) hour: Option<i64>,
    /// Findings by table.
    pub tables: BTreeMap<String, Tally>,
}

/// Findings of one table, in rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Match the events.
    pub right: u64,
    /// Missing, though events imply them.
    pub missing: u64,
    /// Differ from the events.
    pub wrong: u64,
    /// Present, though no event implies them.
    pub too_many: u64,
}

impl Tally {
    /// Adds other findings of the table.
    pub fn add(&mut self, other: Self) {
        self.right += other.right;
        self.missing += other.missing;
        self.wrong += other.wrong;
        self.too_many += other.too_many;
    }

    /// Number of rows that do not match.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.missing + self.wrong + self.too_many
    }
}

impl Progress {
    /// The findings of a table.
    pub fn tally(&mut self, table: &str) -> &mut Tally {
        self.tables.entry(table.to_owned()).or_default()
    }

    /// Number of rows that do not match, of all tables.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.tables.values().map(Tally::faults).sum()
    }
}

/// The range of the comparison: older rows may stem from events that have expired.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Start of facts, calls and sessions, in ms.
    pub(crate) from: i64,
    /// Start of hourly counts, in ms.
    pub(crate) hours_from: i64,
    /// Start of counts by minute, in ms.
    pub(crate) minutes_from: i64,
}

impl Rebuilding {
    /// Opens the store of the URL, over a connection of its own. `None` where another rebuild is running.
    ///
    /// # Errors
    /// When the store is unreachable.
    pub async fn open(options: &StoreOptions) -> Result<Option<Self>, StoreError> {
        match StoreUrl::of_sessions(options)? {
            StoreUrl::Postgres(address) => {
                let mut connection = DbConnection::postgres(address, "rebuild", &[]).await?;
                let sql = "select pg_try_advisory_lock($1)";
                let got: Option<(bool,)> = connection.row(sql, &[REBUILD_LOCK.into()]).await?;
                Ok(got.is_some_and(|got| got.0).then_some(Self { connection, _lock: None }))
            }
            StoreUrl::Sqlite(address) => {
                let file = address.get_filename().to_owned();
                if !file.exists() {
                    return Err(crate::sqlite::error::missing(&file));
                }
                let Some(lock) = lock(&file)? else { return Ok(None) };
                let connection = DbConnection::sqlite(address, options.timeout).await?;
                Ok(Some(Self { connection, _lock: Some(lock) }))
            }
        }
    }

    /// Resumes an interrupted rebuild, or begins one at `now`.
    ///
    /// # Errors
    /// When the store does not answer, or its tables are of another version.
    pub async fn begin(&mut self, dry_run: bool, now: UnixMillis) -> Result<Progress, StoreError> {
        let kept: Option<(String,)> =
            self.connection.row("select progress from rebuilds where id = 1", &[]).await?;
        let kept = kept.and_then(|kept| serde_json::from_str::<Progress>(&kept.0).ok());
        let kept = kept.filter(|kept| {
            kept.version == VERSION && (kept.dry_run == dry_run || kept.stage == Stage::Read)
        });
        if let Some(kept) = kept {
            return Ok(Progress { dry_run, ..kept });
        }
        let progress = Progress { version: VERSION.to_owned(), dry_run, ..Progress::default() };
        self.connection.begin().await?;
        self.drop_tables().await?;
        for table in TABLES {
            let name = format!("{PREFIX}{}", table.name);
            let columns = crate::sql::upsert::list(table.columns, |column| column.name.to_owned());
            let sql =
                format!("create table {name} as select {columns} from {} limit 0", table.name);
            self.connection.execute(&sql, &[]).await?;
            let sql = if table.is_log() {
                format!("create index {name}_at on {name} (at)")
            } else {
                let keys: Vec<&str> = table.keys().map(|column| column.name).collect();
                format!("create unique index {name}_key on {name} ({})", keys.join(", "))
            };
            self.connection.execute(&sql, &[]).await?;
        }
        let sql = "insert into rebuilds (id, begun_at, progress) values (1, @at(1), '{}')";
        self.connection.execute(sql, &[now.0.into()]).await?;
        self.save(&progress).await?;
        self.connection.commit().await?;
        Ok(progress)
    }

    /// The number of events, approximately.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn events(&mut self) -> Result<u64, StoreError> {
        let sql = if self.connection.is_postgres() {
            // From the database's statistics: an exact count would take long.
            "select coalesce(sum(greatest(reltuples, 0)), 0)::bigint from pg_class
             where oid in (select inhrelid from pg_inherits where inhparent = 'events'::regclass)"
        } else {
            "select count(*) from events"
        };
        let found: Option<(i64,)> = self.connection.row(sql, &[]).await?;
        Ok(found.map_or(0, |found| found.0.unsigned_abs()))
    }

    /// The range that can be compared at `now`, where events are kept for `keep`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn scope(
        &mut self,
        keep: Option<Duration>,
        minutes_kept: Duration,
        now: UnixMillis,
    ) -> Result<Scope, StoreError> {
        let oldest: Option<(Option<i64>,)> =
            self.connection.row("select @ms(min(event_time)) from events", &[]).await?;
        // Without events nothing is expected, so nothing can be compared.
        let oldest = oldest.and_then(|oldest| oldest.0).unwrap_or(END);
        let kept = keep.map_or(0, |keep| now.minus(keep).0.saturating_add(RETENTION_MARGIN_MS));
        let hour = oldest - oldest.rem_euclid(HOUR_MS);
        Ok(Scope {
            from: oldest.max(kept),
            hours_from: hour.max(kept),
            minutes_from: now.minus(minutes_kept).0.saturating_add(HOUR_MS).max(kept),
        })
    }

    /// Reads the next events. Returns their number.
    ///
    /// # Errors
    /// When the store does not answer or refuses their changes.
    pub async fn read(&mut self, progress: &mut Progress) -> Result<u64, StoreError> {
        let (time, id) = progress.after.unwrap_or((-1, Uuid::nil()));
        let sql = format!(
            "{} where event_time >= @at(1) and (event_time, id) > (@at(1), @id(2))
             order by events.event_time, events.id limit {PAGE_EVENTS}",
            self.connection.dialect().select_events
        );
        let args = [time.into(), id.to_string().as_str().into()];
        let events = self.decoded(&sql, &args).await?;
        let Some(last) = events.last() else {
            progress.stage = Stage::Compare;
            self.analyze().await?;
            self.connection.begin().await?;
            self.save(progress).await?;
            self.connection.commit().await?;
            return Ok(0);
        };
        progress.after = Some((last.event_time.0, last.id));
        progress.events += events.len() as u64;
        let all: Vec<Vec<Change>> = events.iter().map(changes).collect();
        self.connection.begin().await?;
        self.absorb(&all, |_| true).await?;
        self.save(progress).await?;
        self.connection.commit().await?;
        Ok(events.len() as u64)
    }

    /// The next rooms and days whose sessions are to be compared.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rooms(
        &mut self,
        queue: RoomQueue,
        progress: &Progress,
    ) -> Result<Vec<Queued>, StoreError> {
        let QueueSql { table, first, group, .. } = queue.sql();
        let behind = match (&progress.key, queue) {
            (None, _) => "",
            (Some(_), RoomQueue::Kit) => "where (sdk_app_id, room_id, day) > ($1, $2, $3)",
            (Some(_), RoomQueue::Rtc) => "where (sdk_app_id, room_id) > ($1, $2)",
        };
        let sql = format!(
            "select sdk_app_id, room_id, cast({first} as bigint) from {PREFIX}{table} {behind}
             group by {group} order by {group} limit {PAGE_ROOMS}"
        );
        let args = progress.key.as_deref().map_or_else(Vec::new, args);
        let rows: Vec<(i64, String, i64)> = self.connection.rows(&sql, &args).await?;
        let queued = |(app, room_id, day)| Queued {
            room: RoomId { app, room_id },
            day,
            slot_first: 0,
            slot_last: 0,
        };
        Ok(rows.into_iter().map(queued).collect())
    }

    /// Saves the progress past this room and day.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn passed(
        &mut self,
        queue: RoomQueue,
        progress: &mut Progress,
        queued: &Queued,
    ) -> Result<(), StoreError> {
        let Queued { room, day, .. } = queued;
        let mut key = vec![room.app.into(), room.room_id.as_str().into()];
        if queue == RoomQueue::Kit {
            key.push((*day).into());
        }
        progress.key = Some(key);
        self.save(progress).await
    }

    /// Saves the progress past all rooms of a queue.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn all_passed(
        &mut self,
        queue: RoomQueue,
        progress: &mut Progress,
    ) -> Result<(), StoreError> {
        progress.key = None;
        progress.stage = match queue {
            RoomQueue::Kit => Stage::SettleRtc,
            RoomQueue::Rtc => Stage::Done,
        };
        self.save(progress).await
    }

    /// Whether the room is queued to be settled by the server.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_queued(&mut self, queue: RoomQueue, room: &RoomId) -> Result<bool, StoreError> {
        let QueueSql { table, .. } = queue.sql();
        let sql = format!(
            "select cast(1 as bigint) from {table} where sdk_app_id = $1 and room_id = $2 limit 1"
        );
        let args = [room.app.into(), room.room_id.as_str().into()];
        let found: Option<(i64,)> = self.connection.row(&sql, &args).await?;
        Ok(found.is_some())
    }

    /// Queues the room for the server's session worker.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn queue(&mut self, queue: RoomQueue, queued: &Queued) -> Result<(), StoreError> {
        let QueueSql { table, time, .. } = queue.sql();
        let sql = format!(
            "insert into {table} (sdk_app_id, room_id, {time}, slot) values ($1, $2, $3, 0)
             on conflict do nothing"
        );
        let args = [queued.room.app.into(), queued.room.room_id.as_str().into(), queued.day.into()];
        self.connection.execute(&sql, &args).await.map(|_| ())
    }

    /// The rooms of [`Rebuilding::queue`] that are still queued.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn waiting(&mut self, queue: RoomQueue) -> Result<Vec<Queued>, StoreError> {
        let QueueSql { table, first, group, .. } = queue.sql();
        let sql = format!(
            "select sdk_app_id, room_id, cast({first} as bigint) from {table} where slot = 0
             group by {group} order by sdk_app_id, room_id limit {PAGE_ROOMS}"
        );
        let rows: Vec<(i64, String, i64)> = self.connection.rows(&sql, &[]).await?;
        let queued = |(app, room_id, day)| Queued {
            room: RoomId { app, room_id },
            day,
            slot_first: 0,
            slot_last: 0,
        };
        Ok(rows.into_iter().map(queued).collect())
    }

    /// Ends the rebuild, also an interrupted one: its tables and progress are deleted.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn finish(mut self) -> Result<(), StoreError> {
        if !self.connection.is_postgres() {
            // Overwrites their content, which may concern an account that is to be erased.
            self.connection.execute("pragma secure_delete = on", &[]).await?;
        }
        self.connection.begin().await?;
        self.drop_tables().await?;
        self.connection.commit().await?;
        self.connection.close().await;
        Ok(())
    }

    async fn drop_tables(&mut self) -> Result<(), StoreError> {
        for table in TABLES {
            let sql = format!("drop table if exists {PREFIX}{}", table.name);
            self.connection.execute(&sql, &[]).await?;
        }
        self.connection.execute("delete from rebuilds", &[]).await.map(|_| ())
    }

    /// Updates the planner's statistics of the tables.
    async fn analyze(&mut self) -> Result<(), StoreError> {
        if self.connection.is_postgres() {
            for table in TABLES {
                self.connection.execute(&format!("analyze {PREFIX}{}", table.name), &[]).await?;
            }
        }
        Ok(())
    }

    /// Saves the progress within the open transaction.
    pub(crate) async fn save(&mut self, progress: &Progress) -> Result<(), StoreError> {
        // Numbers and texts always serialize.
        let text = serde_json::to_string(progress).unwrap_or_default();
        let sql = "update rebuilds set progress = $1 where id = 1";
        self.connection.execute(sql, &[text.as_str().into()]).await.map(|_| ())
    }

    /// Decodes the events that a statement returns.
    pub(crate) async fn decoded(
        &mut self,
        sql: &str,
        args: &[Arg],
    ) -> Result<Vec<Event>, StoreError> {
        let rows: Vec<Row> = self.connection.rows(sql, args).await?;
        rows.into_iter().map(|row| Ok(StoredEvent::try_from(row)?.into_event())).collect()
    }

    /// Writes the changes of events to the selected shadow tables.
    pub(crate) async fn absorb(
        &mut self,
        all: &[Vec<Change>],
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), StoreError> {
        let batch = Batch::of(all.iter().flatten());
        for (table, rows) in batch.tables().iter().filter(|(table, _)| wanted(table.name)) {
            self.connection.merge(PREFIX, table, rows).await?;
        }
        Ok(())
    }
}

/// A key as parameters.
pub(crate) fn args(key: &[serde_json::Value]) -> Vec<Arg> {
    let arg = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Arg::from(text.as_str()),
        other => Arg::from(other.as_i64()),
    };
    key.iter().map(arg).collect()
}

/// Locks the file that marks a running rebuild; `None` where another process holds it. The lock ends with the
/// process.
fn lock(file: &Path) -> Result<Option<File>, StoreError> {
    let mut name = file.as_os_str().to_owned();
    name.push("-rebuild");
    let path = PathBuf::from(name);
    let opened =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let locked =
        opened.map_err(TryLockError::Error).and_then(|file| file.try_lock().map(|()| file));
    match locked {
        Ok(file) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(StoreError::Address(Diagnostic::new(
            format!("cannot make the file {}: {error}", path.display()),
            "run this as the user whose file the store is",
        ))),
    }
}
