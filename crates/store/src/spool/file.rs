//! The spool's file: opening, quarantine and renaming.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection};

use crate::spool::error::{SpoolError, primary_code};
use crate::sqlite::file;
use protocol::UnixMillis;

/// Suffixes of a quarantined file, before and after its records were salvaged.
pub(crate) const DAMAGED: &str = ".damaged-";
pub(crate) const SALVAGED: &str = ".salvaged-";

/// The version of the file's layout, its `user_version`.
const VERSION: i64 = 1;
const PAGE_BYTES: u32 = 4096;
/// How long an operation waits for another one: as long as the vendor waits for an answer. Callers have deadlines of
/// their own.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
const HINT: &str = "set `spool.path` to a file on a disk that is writable and outlives the server, or to \"\" to go \
                    without a spool";

/// The connections to the open file.
#[derive(Debug)]
pub(crate) struct Pools {
    writer: SqlitePool,
    remover: SqlitePool,
    reader: SqlitePool,
}

impl Pools {
    /// Opens the file; creates it and its directory where missing.
    pub(crate) async fn open(path: &Path, bytes_max: u64) -> Result<Self, SpoolError> {
        make(path)?;
        check_version(path).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .page_size(PAGE_BYTES)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit is on disk before the event is answered. NORMAL could lose the last ones at a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            // SQLite refuses to grow the file beyond this.
            .pragma("max_page_count", (bytes_max / u64::from(PAGE_BYTES)).max(16).to_string());
        let pool = || SqlitePoolOptions::new().max_connections(1).acquire_timeout(BUSY_TIMEOUT);
        let connected = pool().connect_with(options.clone()).await;
        let writer = connected.map_err(|error| unopened(path, error))?;
        // Repeating a removal after a crash does no harm, so removals need no sync.
        let removing = options.clone().synchronous(SqliteSynchronous::Normal);
        let pools = Self {
            writer,
            remover: pool().connect_lazy_with(removing),
            reader: pool().connect_lazy_with(options),
        };
        if let Err(error) = pools.prepare().await {
            pools.close().await;
            return Err(error);
        }
        Ok(pools)
    }

    /// Creates the tables. Damage is found when records are read: checking the whole file would delay the start.
    async fn prepare(&self) -> Result<(), SpoolError> {
        for statement in [
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
            // One row: the number of records in `spooled`.
            "create table if not exists total (
                 one integer primary key check (one = 1),
                 events integer not null
             ) strict",
            "insert into total values (1, 0) on conflict do nothing",
        ] {
            sqlx::query(statement).execute(&self.writer).await?;
        }
        // Written only when it differs: a file on a full disk can still be read.
        let version: i64 =
            sqlx::query_scalar("pragma user_version").fetch_one(&self.writer).await?;
        if version != VERSION {
            let set = format!("pragma user_version = {VERSION}");
            sqlx::query(AssertSqlSafe(set)).execute(&self.writer).await?;
        }
        Ok(())
    }

    pub(crate) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// For changes that need not survive a power cut.
    pub(crate) fn remover(&self) -> &SqlitePool {
        &self.remover
    }

    pub(crate) fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.remover.close().await;
        self.writer.close().await;
    }
}

/// Creates the file and its directory where missing.
pub(crate) fn make(path: &Path) -> Result<(), SpoolError> {
    file::make(path).map_err(|error| unmade(path, &error))
}

/// Classifies a failure to create or open a file: a retry may help or not.
pub(crate) fn unmade(path: &Path, error: &io::Error) -> SpoolError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SpoolError::Full,
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::ReadOnlyFilesystem => refused(path, error.to_string(), HINT),
        _ => SpoolError::Failed(error.to_string()),
    }
}

fn refused(path: &Path, reason: String, hint: &'static str) -> SpoolError {
    SpoolError::Open { path: path.display().to_string(), reason, hint }
}

/// The same for SQLite's errors.
fn unopened(path: &Path, error: sqlx::Error) -> SpoolError {
    match primary_code(&error) {
        // SQLITE_PERM, SQLITE_READONLY, SQLITE_CANTOPEN.
        Some(3 | 8 | 14) => refused(path, error.to_string(), HINT),
        _ => error.into(),
    }
}

/// Refuses a database that is no spool, or one of an unknown layout, without changing it.
async fn check_version(path: &Path) -> Result<(), SpoolError> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(false);
    let options = options.busy_timeout(BUSY_TIMEOUT).pragma("query_only", "on");
    let failed = |error| unopened(path, error);
    let mut file = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    let looked = async {
        let version: i64 = sqlx::query_scalar("pragma user_version").fetch_one(&mut file).await?;
        let others: i64 = sqlx::query_scalar(
            "select count(*) from sqlite_master where type = 'table' and name not like 'sqlite#_%' escape '#'
                 and name not in ('spooled', 'damaged', 'total')",
        )
        .fetch_one(&mut file)
        .await?;
        Ok((version, others))
    };
    let looked = looked.await.map_err(failed);
    file.close().await.map_err(failed)?;
    match looked? {
        // Version 0: a new file, or one of before the layout had a version.
        (0 | VERSION, 0) => Ok(()),
        (version, 0) => Err(refused(
            path,
            format!("it is a spool of version {version}, and this program knows version {VERSION}"),
            "have the version that made it run until it is empty, or set `spool.path` to another file",
        )),
        _ => Err(refused(
            path,
            "it is a database of something else".to_owned(),
            "set `spool.path` to a file that nothing else uses",
        )),
    }
}

/// Quarantines a file: `spool.db` becomes `spool.db.damaged-1793534400000`.
pub(crate) fn quarantine_file(path: &Path, now: UnixMillis) -> Result<PathBuf, SpoolError> {
    // An earlier quarantined file must not be overwritten.
    let mut moment = now.0;
    let quarantined = loop {
        let quarantined = [DAMAGED, SALVAGED].map(|word| with(path, &format!("{word}{moment}")));
        if !quarantined.iter().any(|path| path.exists()) {
            let [quarantined, _] = quarantined;
            break quarantined;
        }
        moment += 1;
    };
    rename(path, &quarantined).map_err(|error| SpoolError::Open {
        path: path.display().to_string(),
        reason: format!("it is damaged and cannot be quarantined: {error}"),
        hint: "move it away by hand; what can be read of it may still be of use",
    })?;
    Ok(quarantined)
}

/// Renames an SQLite file together with its WAL, which may hold the latest records.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let unless_missing = |done: io::Result<()>| match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    std::fs::rename(from, to)?;
    unless_missing(std::fs::rename(with(from, "-wal"), with(to, "-wal")))?;
    unless_missing(std::fs::remove_file(with(from, "-shm")))
}

/// The files beside the spool with this suffix, oldest first, without their WALs.
pub(crate) fn beside(path: &Path, word: &str) -> io::Result<Vec<PathBuf>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let Some(name) = path.file_name().filter(|_| folder.exists()) else { return Ok(Vec::new()) };
    let begin = format!("{}{word}", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_one = |name: &String| {
            let moment = name.strip_prefix(&begin);
            moment.is_some_and(|moment| moment.bytes().all(|byte| byte.is_ascii_digit()))
        };
        if name.as_ref().is_some_and(is_one) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn with(path: &Path, ending: &str) -> PathBuf {
    let mut whole = OsString::from(path);
    whole.push(ending);
    PathBuf::from(whole)
}
