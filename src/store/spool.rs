//! The spool: an embedded SQLite file that takes events while the store does not.
//!
//! One record an event: a head with its columns, the body as received, and a checksum over both, since what is read
//! from here goes into the store for good.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, QueryBuilder};
use tokio::sync::RwLock;

use super::file::{self, Writing};
use super::record::{Columns, Record, spooled};
use crate::callback::Event;
use crate::clock::UnixMillis;

const PAGE_BYTES: u32 = 4096;
/// How long one use of the file may wait for another process that has it.
const BUSY_TIMEOUT: Duration = Duration::from_millis(300);
/// How many records are read at once from a damaged file.
const SALVAGE_ROWS: u32 = 200;

/// Why the spool did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file cannot be made or opened. Trying again will not help.
    #[error("open the spool `{path}`: {reason}\nhint: {hint}")]
    Open {
        /// Where it was to be.
        path: String,
        /// What the system said.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// It has reached its size, or its disk is full.
    #[error("the spool is full")]
    Full,
    /// The file is no spool any more.
    #[error("the spool is damaged: {0}")]
    Damaged(String),
    /// Anything else: the disk's fault, most likely.
    #[error("the spool failed: {0}")]
    Failed(String),
}

/// What waits in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Events, those of another server on the same file included.
    pub events: u64,
    /// What they take of the file, in bytes.
    pub bytes: u64,
}

/// One record, as it was read.
#[derive(Debug)]
pub struct Spooled {
    /// Its place: lower is older.
    pub place: i64,
    /// The event, or why its record cannot be trusted.
    pub event: Result<Event, String>,
}

/// The file. One connection writes, another reads beside it.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    bytes_max: u64,
    /// With the number of files before it.
    file: RwLock<(u64, Pools)>,
}

#[derive(Debug)]
struct Pools {
    writer: SqlitePool,
    reader: SqlitePool,
}

impl Spool {
    /// Opens the file, and makes it and its directory where they are missing. A file that cannot be read is moved
    /// aside, to the path that comes back too; see [`Spool::salvage`]. `now` becomes part of its name.
    ///
    /// # Errors
    /// When the file cannot be made, opened or moved.
    pub async fn open(
        path: &Path,
        bytes_max: u64,
        now: UnixMillis,
    ) -> Result<(Self, Option<PathBuf>), SpoolError> {
        let (pools, aside) = match Pools::open(path, bytes_max).await {
            Err(SpoolError::Damaged(_)) => {
                let aside = move_aside(path, now)?;
                (Pools::open(path, bytes_max).await?, Some(aside))
            }
            opened => (opened?, None),
        };
        Ok((Self { path: path.to_owned(), bytes_max, file: RwLock::new((0, pools)) }, aside))
    }

    /// How often the file was replaced since it was opened.
    pub async fn generation(&self) -> u64 {
        self.file.read().await.0
    }

    /// Moves a file aside that turned out to be damaged, goes on with a new one, and says where the old one is; `None`
    /// when somebody else replaced the file of that generation.
    ///
    /// # Errors
    /// When the file cannot be moved, or no new one made.
    pub async fn replace(
        &self,
        damaged: u64,
        now: UnixMillis,
    ) -> Result<Option<PathBuf>, SpoolError> {
        let mut file = self.file.write().await;
        if file.0 != damaged {
            return Ok(None);
        }
        file.1.close().await;
        let aside = move_aside(&self.path, now)?;
        *file = (damaged + 1, Pools::open(&self.path, self.bytes_max).await?);
        Ok(Some(aside))
    }

    /// Keeps all of `events` or none. When this returns they are on the disk.
    ///
    /// # Errors
    /// [`SpoolError::Full`] where they do not fit; fewer may.
    pub async fn append(&self, events: &[&Event]) -> Result<(), SpoolError> {
        let file = &self.file.read().await.1;
        let mut writing = Writing::begin(&file.writer).await.map_err(|error| classify(&error))?;
        for event in events {
            let record = Record::of(event);
            sqlx::query("insert into spooled (head, body, checksum) values ($1, $2, $3)")
                .bind(&record.head)
                .bind(record.body)
                .bind(record.checksum().as_slice())
                .execute(writing.connection())
                .await
                .map_err(|error| classify(&error))?;
        }
        writing.commit().await.map_err(|error| classify(&error))
    }

    /// The oldest records behind `after`, at most so many, and no more than about `bytes_max` bytes of bodies.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn oldest(
        &self,
        after: i64,
        rows_max: u32,
        bytes_max: u64,
    ) -> Result<Vec<Spooled>, SpoolError> {
        let file = &self.file.read().await.1;
        let records: Vec<(i64, String, Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "select place, head, body, checksum from (
                 select *, sum(length(body)) over (order by place) - length(body) as before
                 from (select * from spooled where place > $1 order by place limit $2))
             where before < $3 order by place",
        )
        .bind(after)
        .bind(rows_max)
        .bind(i64::try_from(bytes_max).unwrap_or(i64::MAX))
        .fetch_all(&file.reader)
        .await
        .map_err(|error| classify(&error))?;
        Ok(records.into_iter().map(spooled).collect())
    }

    /// Forgets records, which are stored now.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn remove(&self, places: &[i64]) -> Result<(), SpoolError> {
        let file = &self.file.read().await.1;
        let mut writing = Writing::begin(&file.writer).await.map_err(|error| classify(&error))?;
        delete(writing.connection(), places).await.map_err(|error| classify(&error))?;
        writing.commit().await.map_err(|error| classify(&error))
    }

    /// Puts a record aside that cannot be trusted, within the file: it is never read again, nor lost.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn set_aside(&self, place: i64, reason: &str) -> Result<(), SpoolError> {
        let file = &self.file.read().await.1;
        let mut writing = Writing::begin(&file.writer).await.map_err(|error| classify(&error))?;
        sqlx::query(
            "insert into damaged (place, head, body, checksum, reason)
             select place, head, body, checksum, $2 from spooled where place = $1",
        )
        .bind(place)
        .bind(reason)
        .execute(writing.connection())
        .await
        .map_err(|error| classify(&error))?;
        delete(writing.connection(), &[place]).await.map_err(|error| classify(&error))?;
        writing.commit().await.map_err(|error| classify(&error))
    }

    /// What waits.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn size(&self) -> Result<Size, SpoolError> {
        let file = &self.file.read().await.1;
        let mut reader = file.reader.acquire().await.map_err(|error| classify(&error))?;
        size(&mut reader).await.map_err(|error| classify(&error))
    }

    /// Gives the disk back what a spool that was full and is empty again still holds.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn shrink(&self) -> Result<(), SpoolError> {
        let file = &self.file.read().await.1;
        for pragma in ["pragma incremental_vacuum", "pragma wal_checkpoint(truncate)"] {
            sqlx::query(pragma).execute(&file.writer).await.map_err(|error| classify(&error))?;
        }
        Ok(())
    }

    /// Finishes what is under way and closes the file.
    pub async fn close(&self) {
        self.file.read().await.1.close().await;
    }

    /// Takes over what can be read of a file that was moved aside, from its old end and then from its new one, and
    /// says how many events that were. The file stays where it is.
    pub async fn salvage(&self, aside: &Path) -> u64 {
        let options = SqliteConnectOptions::new()
            .filename(aside)
            .create_if_missing(false)
            // With this SQLite reads a file that was cut short as far as it goes, instead of not at all.
            .pragma("writable_schema", "on");
        let Ok(mut damaged) = SqliteConnection::connect_with(&options).await else {
            return 0;
        };
        let (mut salvaged, mut last) = (0, i64::MIN);
        for newest_first in [false, true] {
            let mut from = if newest_first { i64::MAX } else { i64::MIN };
            let mut rows = SALVAGE_ROWS;
            loop {
                let records = match read_some(&mut damaged, newest_first, from, rows).await {
                    Ok(records) => records,
                    // Of those it was asked for, the first may still be readable.
                    Err(_) if rows > 1 => {
                        rows /= 2;
                        continue;
                    }
                    Err(_) => break,
                };
                let Some((end, ..)) = records.last() else { break };
                // A damaged index may lead anywhere, also back to where it came from.
                let goes_on = if newest_first { *end < from } else { *end > from };
                if !goes_on {
                    break;
                }
                from = *end;
                let events: Vec<Event> = records
                    .into_iter()
                    .filter(|(place, ..)| !newest_first || *place > last)
                    .filter_map(|record| spooled(record).event.ok())
                    .collect();
                let references: Vec<&Event> = events.iter().collect();
                if self.append(&references).await.is_err() {
                    return salvaged;
                }
                salvaged += events.len() as u64;
                if newest_first && from <= last {
                    break;
                }
                last = last.max(if newest_first { last } else { from });
            }
        }
        // It was only read.
        let _ = damaged.close().await;
        salvaged
    }
}

impl Pools {
    async fn open(path: &Path, bytes_max: u64) -> Result<Self, SpoolError> {
        let unopened = |reason: &dyn std::fmt::Display, hint| SpoolError::Open {
            path: path.display().to_string(),
            reason: reason.to_string(),
            hint,
        };
        let hint = "set `spool.path` to a file on a disk that is writable and outlives the server, or to \"\" to go \
                    without a spool";
        file::make(path).map_err(|error| unopened(&error, hint))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .page_size(PAGE_BYTES)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit is on the disk before it is answered. NORMAL would lose the last ones with the power.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            // SQLite itself refuses to grow the file beyond this.
            .pragma("max_page_count", (bytes_max / u64::from(PAGE_BYTES)).max(16).to_string());
        let pool = || SqlitePoolOptions::new().max_connections(1).acquire_timeout(BUSY_TIMEOUT);
        let writer = match pool().connect_with(options.clone()).await {
            Ok(writer) => writer,
            Err(error) => {
                return Err(match classify(&error) {
                    SpoolError::Failed(reason) => unopened(&reason, hint),
                    error => error,
                });
            }
        };
        let pools = Self { writer, reader: pool().connect_lazy_with(options) };
        if let Err(error) = pools.prepare().await {
            pools.close().await;
            return Err(error);
        }
        Ok(pools)
    }

    /// Makes the tables. Whether the file as a whole makes sense shows when it is read: a look at all of it would
    /// delay the start.
    async fn prepare(&self) -> Result<(), SpoolError> {
        for table in [
            "create table if not exists spooled (
                 place integer primary key autoincrement,
                 head text not null,
                 body blob not null,
                 checksum blob not null
             ) strict",
            "create table if not exists damaged (
                 place integer primary key,
                 head text not null,
                 body blob not null,
                 checksum blob not null,
                 reason text not null
             ) strict",
        ] {
            sqlx::query(table).execute(&self.writer).await.map_err(|error| classify(&error))?;
        }
        Ok(())
    }

    async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// What waits in the file of this connection.
pub(super) async fn size(connection: &mut SqliteConnection) -> Result<Size, sqlx::Error> {
    // Places are given in order and taken from the old end, so their range is their number, and counting them would
    // read them all.
    let (events, bytes): (i64, i64) = sqlx::query_as(
        "select
             coalesce((select max(place) from spooled) - (select min(place) from spooled) + 1, 0),
             (select page_count from pragma_page_count) * (select page_size from pragma_page_size)
                 - (select freelist_count from pragma_freelist_count)
                 * (select page_size from pragma_page_size)",
    )
    .fetch_one(connection)
    .await?;
    let wide = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(Size { events: wide(events), bytes: wide(bytes) })
}

async fn delete(connection: &mut SqliteConnection, places: &[i64]) -> Result<(), sqlx::Error> {
    // Far below the number of parameters a statement may have.
    for some in places.chunks(500) {
        let mut sql = QueryBuilder::new("delete from spooled where place in (");
        let mut list = sql.separated(", ");
        for place in some {
            list.push_bind(place);
        }
        sql.push(")").build().execute(&mut *connection).await?;
    }
    Ok(())
}

async fn read_some(
    damaged: &mut SqliteConnection,
    newest_first: bool,
    from: i64,
    rows: u32,
) -> Result<Vec<Columns>, sqlx::Error> {
    let sql = if newest_first {
        "select place, head, body, checksum from spooled where place < $1 order by place desc limit $2"
    } else {
        "select place, head, body, checksum from spooled where place > $1 order by place limit $2"
    };
    sqlx::query_as(sql).bind(from).bind(rows).fetch_all(damaged).await
}

/// `events.db` becomes `events.db.damaged-1793534400000`; its log goes with it, as it may hold the latest records.
fn move_aside(path: &Path, now: UnixMillis) -> Result<PathBuf, SpoolError> {
    let beside = |name: &Path, ending: &str| {
        let mut whole = OsString::from(name);
        whole.push(ending);
        PathBuf::from(whole)
    };
    // Nothing that was moved aside before may be overwritten.
    let mut moment = now.0;
    let aside = loop {
        let aside = beside(path, &format!(".damaged-{moment}"));
        if !aside.exists() {
            break aside;
        }
        moment += 1;
    };
    let unmoved = |error: std::io::Error| SpoolError::Open {
        path: path.display().to_string(),
        reason: format!("it is damaged and cannot be moved aside: {error}"),
        hint: "move it away by hand; what can be read of it may still be of use",
    };
    std::fs::rename(path, &aside).map_err(unmoved)?;
    match std::fs::rename(beside(path, "-wal"), beside(&aside, "-wal")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unmoved(error)),
        _ => {}
    }
    match std::fs::remove_file(beside(path, "-shm")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unmoved(error)),
        _ => Ok(aside),
    }
}

/// Tells a full file and a damaged one from other troubles.
pub(super) fn classify(error: &sqlx::Error) -> SpoolError {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let primary = code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
    match primary {
        // SQLITE_FULL; SQLITE_CORRUPT, SQLITE_NOTADB.
        Some(13) => SpoolError::Full,
        Some(11 | 26) => SpoolError::Damaged(error.to_string()),
        _ => SpoolError::Failed(error.to_string()),
    }
}
