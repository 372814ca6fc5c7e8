//! Makes the read models anew from the events: reads all events into tables beside the real ones, and keeps its place.
//!
//! [`rebuilding_compare`](crate::store::rebuild::compare) and [`rebuilding_counts`](crate::store::rebuild::counts) compare the real
//! tables with those and mend them.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::callback::Event;
use crate::clock::UnixMillis;
use crate::diagnostic::Diagnostic;
use crate::projections::{Batch, Change, TABLES, changes};
use crate::store::error::StoreError;
use crate::store::model::event::Row;
use crate::store::model::event::StoredEvent;
use crate::store::options::StoreOptions;
use crate::store::sessions::queue::{END, Queued, RoomId};
use crate::store::sql::connection::{Arg, DbConnection};
use crate::store::url::StoreUrl;

/// The key of the advisory lock that a rebuild holds: the letters `trtb`.
const REBUILD_LOCK: i64 = 0x7472_7462;
/// What stands before the name of a table that is filled from the events.
pub(crate) const PREFIX: &str = "rebuild_";
/// How many events are read at once.
const PAGE_EVENTS: usize = 500;
/// How many rooms are looked at before the place is kept.
const PAGE_ROOMS: u32 = 200;
/// Which version's handlers filled the tables: another's rows may be others.
const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(crate) const HOUR_MS: i64 = 3_600_000;
/// How long before their time is over rows are left to the retention, which may be deleting them.
const RETENTION_MARGIN_MS: i64 = 2 * HOUR_MS;

/// A rebuild, over a connection of its own. After an error it is not to be used again.
#[derive(Debug)]
pub struct Rebuilding {
    pub(crate) connection: DbConnection,
    /// Of a file, what keeps a second rebuild away; of a server, the connection does.
    _lock: Option<File>,
}

/// What a rebuild is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The events are read.
    #[default]
    Read,
    /// Facts and calls are compared.
    Compare,
    /// The counts of events are.
    Counts,
    /// Room sessions and live sessions are.
    Settle,
    /// Everything is done.
    Done,
}

/// How far a rebuild is and what it found so far. It is kept in the store.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Progress {
    version: String,
    /// Whether no real row is changed.
    pub dry_run: bool,
    /// What is under way.
    pub stage: Stage,
    /// How many events were read.
    pub events: u64,
    /// The last event that was read: its time in ms and its id.
    after: Option<(i64, Uuid)>,
    /// Which of the tables is compared.
    pub(crate) table: usize,
    /// Behind which row of it, or of the queue of rooms.
    pub(crate) key: Option<Vec<serde_json::Value>>,
    /// Which hour of the counts was compared last, in ms.
    pub(crate) hour: Option<i64>,
    /// What was found, by table.
    pub tables: BTreeMap<String, Tally>,
}

/// What was found of the rows of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// As the events say.
    pub right: u64,
    /// Not there, though events say so.
    pub missing: u64,
    /// Other than the events say.
    pub wrong: u64,
    /// There, though no event says so.
    pub too_many: u64,
}

impl Tally {
    /// How many were not right.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.missing + self.wrong + self.too_many
    }
}

impl Progress {
    /// What was found of a table.
    pub fn tally(&mut self, table: &str) -> &mut Tally {
        self.tables.entry(table.to_owned()).or_default()
    }

    /// How many rows were not right.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.tables.values().map(Tally::faults).sum()
    }
}

/// What is compared at all: what is older may tell of events that were deleted because of their age.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Facts, calls and sessions from this time on, in ms.
    pub(crate) from: i64,
    /// Hours of counts that begin at this time or later, in ms.
    pub(crate) hours_from: i64,
    /// Minutes of counts that begin at this time or later, in ms.
    pub(crate) minutes_from: i64,
}

impl Rebuilding {
    /// Opens the store that the URL names, over a connection of its own. `None` where another rebuild is under way.
    ///
    /// # Errors
    /// When it is not there, or cannot be opened.
    pub async fn open(options: &StoreOptions) -> Result<Option<Self>, StoreError> {
        match StoreUrl::parse(&options.url)? {
            StoreUrl::Postgres(address) => {
                let mut connection = DbConnection::postgres(address, "rebuild", &[]).await?;
                let sql = "select pg_try_advisory_lock($1)";
                let got: Option<(bool,)> = connection.row(sql, &[REBUILD_LOCK.into()]).await?;
                Ok(got.is_some_and(|got| got.0).then_some(Self { connection, _lock: None }))
            }
            StoreUrl::Sqlite(address) => {
                let file = address.get_filename().to_owned();
                if !file.exists() {
                    return Err(crate::store::sqlite::error::missing(&file));
                }
                let Some(lock) = lock(&file)? else { return Ok(None) };
                let connection = DbConnection::sqlite(address, options.timeout).await?;
                Ok(Some(Self { connection, _lock: Some(lock) }))
            }
        }
    }

    /// Goes on where a rebuild was broken off, or begins one, at `now`.
    ///
    /// # Errors
    /// When the store does not answer, or its tables are those of another version.
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
            let columns =
                crate::store::sql::upsert::list(table.columns, |column| column.name.to_owned());
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

    /// How many events there are, about.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn events(&mut self) -> Result<u64, StoreError> {
        let sql = if self.connection.is_postgres() {
            // As the database last counted them: to count them all would take long.
            "select coalesce(sum(greatest(reltuples, 0)), 0)::bigint from pg_class
             where oid in (select inhrelid from pg_inherits where inhparent = 'events'::regclass)"
        } else {
            "select count(*) from events"
        };
        let found: Option<(i64,)> = self.connection.row(sql, &[]).await?;
        Ok(found.map_or(0, |found| found.0.unsigned_abs()))
    }

    /// What can be compared at `now`, where events are kept for so long.
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
        // Without any event nothing tells what should be there.
        let oldest = oldest.and_then(|oldest| oldest.0).unwrap_or(END);
        let kept = keep.map_or(0, |keep| now.minus(keep).0.saturating_add(RETENTION_MARGIN_MS));
        let hour = oldest - oldest.rem_euclid(HOUR_MS);
        Ok(Scope {
            from: oldest.max(kept),
            hours_from: hour.max(kept),
            minutes_from: now.minus(minutes_kept).0.saturating_add(HOUR_MS).max(kept),
        })
    }

    /// Reads the next events. Returns how many.
    ///
    /// # Errors
    /// When the store does not answer, or does not take what they change.
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

    /// The rooms and days behind the place, whose sessions are to be compared.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rooms(&mut self, progress: &Progress) -> Result<Vec<Queued>, StoreError> {
        let behind = if progress.key.is_some() {
            "where (sdk_app_id, room_id, day) > ($1, $2, $3)"
        } else {
            ""
        };
        let sql = format!(
            "select sdk_app_id, room_id, cast(day as bigint) from {PREFIX}settle_queue {behind}
             order by {PREFIX}settle_queue.sdk_app_id, {PREFIX}settle_queue.room_id, {PREFIX}settle_queue.day
             limit {PAGE_ROOMS}"
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

    /// Keeps the place behind this room and day.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn passed(
        &mut self,
        progress: &mut Progress,
        queued: &Queued,
    ) -> Result<(), StoreError> {
        let Queued { room, day, .. } = queued;
        progress.key = Some(vec![room.app.into(), room.room_id.as_str().into(), (*day).into()]);
        self.save(progress).await
    }

    /// Whether the room has facts that are about to be settled.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_queued(&mut self, room: &RoomId) -> Result<bool, StoreError> {
        let sql = "select cast(1 as bigint) from settle_queue where sdk_app_id = $1 and room_id = $2 limit 1";
        let args = [room.app.into(), room.room_id.as_str().into()];
        let found: Option<(i64,)> = self.connection.row(sql, &args).await?;
        Ok(found.is_some())
    }

    /// Has the server that settles do so with this room.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn queue(&mut self, queued: &Queued) -> Result<(), StoreError> {
        let sql = "insert into settle_queue (sdk_app_id, room_id, day, slot) values ($1, $2, $3, 0)
                   on conflict do nothing";
        let args = [queued.room.app.into(), queued.room.room_id.as_str().into(), queued.day.into()];
        self.connection.execute(sql, &args).await.map(|_| ())
    }

    /// Those of [`Rebuilding::queue`] that wait still.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn waiting(&mut self) -> Result<Vec<Queued>, StoreError> {
        let sql = format!(
            "select sdk_app_id, room_id, cast(day as bigint) from settle_queue where slot = 0
             order by settle_queue.sdk_app_id, settle_queue.room_id limit {PAGE_ROOMS}"
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

    /// Ends it: its tables and its place are gone. Also for one that was broken off.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn finish(mut self) -> Result<(), StoreError> {
        if !self.connection.is_postgres() {
            // What they held is not left in the file's free places: it may be of an account that is to be erased.
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

    /// Tells the database how many rows the tables have, so that it finds good ways through them.
    async fn analyze(&mut self) -> Result<(), StoreError> {
        if self.connection.is_postgres() {
            for table in TABLES {
                self.connection.execute(&format!("analyze {PREFIX}{}", table.name), &[]).await?;
            }
        }
        Ok(())
    }

    /// Keeps the place, in the transaction that is open.
    pub(crate) async fn save(&mut self, progress: &Progress) -> Result<(), StoreError> {
        // Numbers and texts always serialize.
        let text = serde_json::to_string(progress).unwrap_or_default();
        let sql = "update rebuilds set progress = $1 where id = 1";
        self.connection.execute(sql, &[text.as_str().into()]).await.map(|_| ())
    }

    /// The events that a statement gives, as they were when they came.
    pub(crate) async fn decoded(
        &mut self,
        sql: &str,
        args: &[Arg],
    ) -> Result<Vec<Event>, StoreError> {
        let rows: Vec<Row> = self.connection.rows(sql, args).await?;
        rows.into_iter().map(|row| Ok(StoredEvent::try_from(row)?.into_event())).collect()
    }

    /// Writes what events change into the tables beside the real ones that are wanted.
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

/// Holds the file beside the store's that says that a rebuild is under way; `None` where another does. It is given up
/// with the process, however that ends.
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
