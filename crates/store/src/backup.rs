//! Online backup of a SQLite store, while a server writes it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::time::sleep;

use crate::error::StoreError;
use crate::options::StoreOptions;
use crate::sqlite::error::{classify, missing, unopened};
use crate::url::{StoreUrl, display_url};
use protocol::diagnostic::Hint;

/// Suffix of the copy's name until it is complete.
const PARTIAL: &str = ".partial";
/// Interval of progress reports.
const TICK: Duration = Duration::from_millis(100);

/// Why a backup failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store is a PostgreSQL database, which has backup tools of its own.
    #[error("{url} is a PostgreSQL, whose own program copies it")]
    Server {
        /// Its address, without user and password.
        url: String,
        /// The requested target.
        file: String,
    },
    /// A file exists at the target.
    #[error("`{0}` is there already, and is not overwritten")]
    Exists(String),
    /// Another backup to the same target is running.
    #[error("another backup to `{0}` is under way")]
    UnderWay(String),
    /// The copy cannot be written.
    #[error("write `{file}`: {reason}")]
    Write {
        /// The target.
        file: String,
        /// The cause.
        reason: String,
    },
}

impl Hint for BackupError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Store(error) => return error.hint(),
            Self::Server { url, file } => {
                return Some(format!("`pg_dump --format=custom --file={file} {url}`"));
            }
            Self::Exists(_) => "name another file, or move that one away",
            Self::UnderWay(_) => "wait for its end, or name another file",
            Self::Write { .. } => {
                "see that its folder is there, that this user may write it, and that there is room"
            }
        };
        Some(hint.to_owned())
    }
}

/// A backup that was begun.
#[derive(Debug)]
pub struct Backup {
    source: SqliteConnection,
    bytes: u64,
    target: PathBuf,
    partial: PathBuf,
    /// Locked against a second backup to the same target.
    file: File,
}

impl Backup {
    /// Opens the store and creates a file beside `target`, private to this user.
    ///
    /// # Errors
    /// When the store is no file or cannot be read, or the copy would overwrite something or cannot be written.
    pub async fn begin(options: &StoreOptions, target: &Path) -> Result<Self, BackupError> {
        let StoreUrl::Sqlite(address) = StoreUrl::parse(&options.url)? else {
            let (url, file) = (display_url(&options.url), target.display().to_string());
            return Err(BackupError::Server { url, file });
        };
        let store = address.get_filename().to_owned();
        if !store.exists() {
            return Err(missing(&store).into());
        }
        // Absolute, so that SQLite reads it as a path whatever it begins with.
        let target = std::path::absolute(target).map_err(|error| unwritten(target, &error))?;
        if target.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(target.display().to_string()));
        }
        let address = address.create_if_missing(false).busy_timeout(options.timeout);
        let connected = address.connect().await;
        let mut source = connected.map_err(|error| unopened(&store, &error))?;
        // SQLite opens the file lazily: errors show at the first read.
        let bytes: i64 = sqlx::query_scalar(
            "select (page_count - freelist_count) * page_size
             from pragma_page_count, pragma_freelist_count, pragma_page_size",
        )
        .fetch_one(&mut source)
        .await
        .map_err(|error| unopened(&store, &error))?;
        let partial = with(&target, PARTIAL);
        let file = claim(&partial)?;
        Ok(Self { source, bytes: u64::try_from(bytes).unwrap_or(0), target, partial, file })
    }

    /// The size of the copy, approximately, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies the store as it is now, regardless of concurrent writes. `tick` is called regularly with the bytes
    /// copied so far. Returns the size of the copy in bytes.
    ///
    /// The copy gets its name only once all of it is on the disk.
    ///
    /// # Errors
    /// When the store cannot be read or the copy cannot be written. Then no copy is left.
    pub async fn run(mut self, mut tick: impl FnMut(u64)) -> Result<u64, BackupError> {
        let made = self.copy(&mut tick).await;
        // The connection only read: an error on closing it loses nothing.
        let _ = self.source.close().await;
        let published = made.and_then(|()| publish(&self.file, &self.partial, &self.target));
        if published.is_err() {
            // Frees the disk space. Where this fails, the next backup removes the file.
            let _ = std::fs::remove_file(&self.partial);
            let _ = std::fs::remove_file(with(&self.partial, "-journal"));
        }
        published
    }

    async fn copy(&mut self, tick: &mut impl FnMut(u64)) -> Result<(), BackupError> {
        let Some(path) = self.partial.to_str() else {
            let reason = "its path is no UTF-8".to_owned();
            return Err(BackupError::Write { file: self.target.display().to_string(), reason });
        };
        // A snapshot: writers continue, and their changes stay in the store's log meanwhile.
        let copied = sqlx::query("vacuum into $1").bind(path).execute(&mut self.source);
        tokio::pin!(copied);
        let copied = loop {
            tokio::select! {
                copied = &mut copied => break copied,
                () = sleep(TICK) => tick(self.file.metadata().map_or(0, |data| data.len())),
            }
        };
        copied.map_err(classify)?;
        Ok(())
    }
}

/// Opens and locks the partial file, private to this user, and empties what an interrupted backup left there.
fn claim(partial: &Path) -> Result<File, BackupError> {
    let unwritten = |error: io::Error| unwritten(partial, &error);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0))
        .open(partial)
        .map_err(unwritten)?;
    let under_way = || BackupError::UnderWay(partial.with_extension("").display().to_string());
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(under_way()),
        Err(TryLockError::Error(error)) => return Err(unwritten(error)),
    }
    // The previous owner of the lock may have published the file between our open and our lock.
    let found = partial.symlink_metadata().map(|data| data.ino()).ok();
    if found != file.metadata().map(|data| data.ino()).ok() {
        return Err(under_way());
    }
    file.set_permissions(Permissions::from_mode(0o600)).map_err(unwritten)?;
    file.set_len(0).map_err(unwritten)?;
    match std::fs::remove_file(with(partial, "-journal")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritten(error)),
        _ => Ok(file),
    }
}

/// Syncs the copy and gives it its name. Returns its size in bytes.
fn publish(file: &File, partial: &Path, target: &Path) -> Result<u64, BackupError> {
    let unwritten = |error: io::Error| unwritten(target, &error);
    file.sync_all().map_err(unwritten)?;
    let bytes = file.metadata().map_err(unwritten)?.len();
    // A hard link fails where the target exists; a rename would overwrite it.
    match std::fs::hard_link(partial, target) {
        Ok(()) => std::fs::remove_file(partial).map_err(unwritten)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::Exists(target.display().to_string()));
        }
        // Some file systems have no hard links.
        Err(_) => std::fs::rename(partial, target).map_err(unwritten)?,
    }
    let folder = target.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritten)?;
    Ok(bytes)
}

fn unwritten(file: &Path, error: &io::Error) -> BackupError {
    BackupError::Write { file: file.display().to_string(), reason: error.to_string() }
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut whole = OsString::from(path);
    whole.push(ending);
    PathBuf::from(whole)
}
