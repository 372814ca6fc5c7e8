//! The spool: an SQLite file that stores events while the store does not accept them.
//!
//! One record for each event: a head with its columns, the body as received, and a checksum over both, since replayed
//! records are stored for good.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::QueryBuilder;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::spool::error::SpoolError;
use crate::spool::file;
use crate::spool::file::Pools;
use crate::spool::lock::SpoolLock;
use crate::spool::record::{Columns, Record, Size, Spooled, spooled};
use crate::sqlite::batch::parts;
use crate::sqlite::file::Writing;
use protocol::Event;
use protocol::UnixMillis;

/// Records read together.
#[derive(Debug)]
pub struct Batch {
    /// The generation of the file. Positions are valid within one generation only.
    pub generation: u64,
    /// Oldest first.
    pub records: Vec<Spooled>,
}

/// A handle to the spool's file: one connection appends, others remove and read.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    bytes_max: u64,
    file: RwLock<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    /// The generation: incremented with each new file or opening.
    generation: u64,
    /// Absent while the file cannot be opened; the next operation retries.
    pools: Option<Pools>,
    /// Absent until the file exists, and after the spool was closed.
    lock: Option<SpoolLock>,
}

impl Spool {
    /// Opens the file; creates it and its directory where missing. A damaged file is quarantined; see
    /// [`Spool::damaged_files`]. `now` becomes part of its name.
    ///
    /// A spool belongs to one server at a time. `wait` is how long to wait for another server to close it, so that a
    /// server that takes over can open it.
    ///
    /// Passing failures, such as a full disk, are returned beside the spool: each operation retries.
    ///
    /// # Errors
    /// [`SpoolError::Open`], when it cannot be created or opened and a retry will not help, for example because
    /// another server has it.
    pub async fn open(
        path: &Path,
        bytes_max: u64,
        wait: Duration,
        now: UnixMillis,
    ) -> Result<(Self, Option<SpoolError>), SpoolError> {
        let mut lock = None;
        let opened = match open_locked(path, bytes_max, &mut lock, wait).await {
            Err(SpoolError::Damaged(_)) => {
                file::quarantine_file(path, now)?;
                Pools::open(path, bytes_max).await
            }
            opened => opened,
        };
        let (pools, trouble) = match opened {
            Ok(pools) => (Some(pools), None),
            Err(error @ SpoolError::Open { .. }) => return Err(error),
            Err(error) => (None, Some(error)),
        };
        let file = RwLock::new(OpenFile { generation: 0, pools, lock });
        Ok((Self { path: path.to_owned(), bytes_max, file }, trouble))
    }

    /// As [`Spool::open`], but lazily: each operation tries to open the file, and fails while another server has it.
    /// So a server that takes over accepts events before the other one has ended; the store takes them meanwhile.
    #[must_use]
    pub fn later(path: &Path, bytes_max: u64) -> Self {
        let file = RwLock::new(OpenFile { generation: 0, pools: None, lock: None });
        Self { path: path.to_owned(), bytes_max, file }
    }

    /// The current generation: the number changes with the file.
    pub async fn generation(&self) -> u64 {
        self.file.read().await.generation
    }

    /// The open file; opens it where an earlier attempt failed.
    async fn file(&self) -> Result<RwLockReadGuard<'_, OpenFile>, SpoolError> {
        let file = self.file.read().await;
        if file.pools.is_some() {
            return Ok(file);
        }
        drop(file);
        let mut file = self.file.write().await;
        if file.pools.is_none() {
            let opened =
                open_locked(&self.path, self.bytes_max, &mut file.lock, Duration::ZERO).await;
            file.pools = Some(opened?);
            file.generation += 1;
        }
        Ok(file.downgrade())
    }

    /// Quarantines a damaged file, starts a new one, and returns the path of the old one; `None` when the file of
    /// that generation was replaced already.
    ///
    /// # Errors
    /// When the file cannot be renamed. Where no new one can be created, the next operation retries.
    pub async fn replace(
        &self,
        damaged: u64,
        now: UnixMillis,
    ) -> Result<Option<PathBuf>, SpoolError> {
        let mut file = self.file.write().await;
        if file.generation != damaged {
            return Ok(None);
        }
        if let Some(pools) = file.pools.take() {
            pools.close().await;
        }
        let quarantined = file::quarantine_file(&self.path, now)?;
        file.generation += 1;
        file.pools = Pools::open(&self.path, self.bytes_max).await.ok();
        Ok(Some(quarantined))
    }

    /// The quarantined files that were not salvaged yet; see [`crate::Salvage`].
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn damaged_files(&self) -> std::io::Result<Vec<PathBuf>> {
        file::beside(&self.path, file::DAMAGED)
    }

    /// Appends all of `events` or none. On return they are on disk.
    ///
    /// # Errors
    /// [`SpoolError::Full`] where they do not fit; fewer may.
    pub async fn append(&self, events: &[&Event]) -> Result<(), SpoolError> {
        let file = self.file().await?;
        let records: Vec<Record<'_>> = events.iter().map(|event| Record::of(event)).collect();
        let mut writing = Writing::begin(file.pools()?.writer()).await?;
        for part in parts(&records) {
            let mut sql = QueryBuilder::new("insert into spooled (head, body, checksum) ");
            sql.push_values(part, |mut row, record| {
                row.push_bind(&record.head).push_bind(record.body);
                row.push_bind(record.checksum().to_vec());
            });
            sql.build().execute(writing.connection()).await?;
        }
        count(writing.connection(), i64::try_from(events.len()).unwrap_or(i64::MAX)).await?;
        Ok(writing.commit().await?)
    }

    /// Probes the spool: appends a record larger than nearly any event and removes it.
    ///
    /// # Errors
    /// As for [`Spool::append`].
    pub async fn try_out(&self) -> Result<(), SpoolError> {
        let file = self.file().await?;
        let mut writing = Writing::begin(file.pools()?.writer()).await?;
        for statement in [
            "insert into spooled (head, body, checksum) values ('', zeroblob(8192), x'')",
            "delete from spooled where place = last_insert_rowid()",
        ] {
            sqlx::query(statement).execute(writing.connection()).await?;
        }
        Ok(writing.commit().await?)
    }

    /// The oldest records after the position `after`: at most this many, with about `bytes_max` bytes of bodies.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn oldest(
        &self,
        after: i64,
        rows_max: u32,
        bytes_max: u64,
    ) -> Result<Batch, SpoolError> {
        let file = self.file().await?;
        let records: Vec<Columns> = sqlx::query_as(
            "select place, cast(coalesce(head, '') as blob), cast(coalesce(body, '') as blob),
                 cast(coalesce(checksum, '') as blob)
             from (
                 select *, sum(length(body)) over (order by place) - length(body) as before
                 from (select * from spooled where place > $1 order by place limit $2))
             where before < $3 or before is null order by place",
        )
        .bind(after)
        .bind(rows_max)
        .bind(i64::try_from(bytes_max).unwrap_or(i64::MAX))
        .fetch_all(file.pools()?.reader())
        .await?;
        let records = records.into_iter().map(spooled).collect();
        Ok(Batch { generation: file.generation, records })
    }

    /// Removes stored records of this generation. Does nothing once the file was replaced.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn remove(&self, generation: u64, places: &[i64]) -> Result<(), SpoolError> {
        let file = self.file().await?;
        if file.generation != generation || places.is_empty() {
            return Ok(());
        }
        let mut writing = Writing::begin(file.pools()?.remover()).await?;
        delete(writing.connection(), places).await?;
        Ok(writing.commit().await?)
    }

    /// Quarantines a corrupt record of this generation within the file: it is not read again, and not lost. Does
    /// nothing once the file was replaced.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn quarantine(
        &self,
        generation: u64,
        place: i64,
        reason: &str,
    ) -> Result<(), SpoolError> {
        let file = self.file().await?;
        if file.generation != generation {
            return Ok(());
        }
        let mut writing = Writing::begin(file.pools()?.writer()).await?;
        sqlx::query(
            "insert into damaged (place, head, body, checksum, reason)
             select place, head, body, checksum, $2 from spooled where place = $1",
        )
        .bind(place)
        .bind(reason)
        .execute(writing.connection())
        .await?;
        delete(writing.connection(), &[place]).await?;
        Ok(writing.commit().await?)
    }

    /// The number and size of the spooled events.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn size(&self) -> Result<Size, SpoolError> {
        let file = self.file().await?;
        let mut reader = file.pools()?.reader().acquire().await?;
        Ok(size(&mut reader).await?)
    }

    /// Returns the disk space of a spool that was full and is empty again.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn shrink(&self) -> Result<(), SpoolError> {
        let file = self.file().await?;
        // The part that does not block the writer comes first.
        for pragma in [
            "pragma incremental_vacuum",
            "pragma wal_checkpoint(passive)",
            "pragma wal_checkpoint(truncate)",
        ] {
            sqlx::query(pragma).execute(file.pools()?.remover()).await?;
        }
        Ok(())
    }

    /// Finishes running operations, closes the file and releases it for the next server.
    pub async fn close(&self) {
        if let Some(pools) = &self.file.read().await.pools {
            pools.close().await;
        }
        self.file.write().await.lock.take();
    }
}

/// Opens the file once no other server has it.
async fn open_locked(
    path: &Path,
    bytes_max: u64,
    lock: &mut Option<SpoolLock>,
    wait: Duration,
) -> Result<Pools, SpoolError> {
    if lock.is_none() {
        file::make(path)?;
        *lock = Some(SpoolLock::take(path, wait).await?);
    }
    Pools::open(path, bytes_max).await
}

impl OpenFile {
    fn pools(&self) -> Result<&Pools, SpoolError> {
        self.pools.as_ref().ok_or_else(|| SpoolError::Failed("it is not open".to_owned()))
    }
}

/// The number and size of the records in the file.
pub(crate) async fn size(connection: &mut SqliteConnection) -> Result<Size, sqlx::Error> {
    let (events, bytes): (i64, i64) = sqlx::query_as(
        "select
             (select events from total),
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
    let mut gone = 0;
    // Far below the maximum number of parameters of a statement.
    for some in places.chunks(500) {
        let mut sql = QueryBuilder::new("delete from spooled where place in (");
        let mut list = sql.separated(", ");
        for place in some {
            list.push_bind(place);
        }
        let deleted = sql.push(")").build().execute(&mut *connection).await?;
        gone += i64::try_from(deleted.rows_affected()).unwrap_or(0);
    }
    count(connection, -gone).await
}

/// Maintains the number of records, since counting them would read the whole file.
async fn count(connection: &mut SqliteConnection, more: i64) -> Result<(), sqlx::Error> {
    sqlx::query("update total set events = events + $1").bind(more).execute(connection).await?;
    Ok(())
}
