//! A copy of a SQLite file beside the server that writes it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::time::sleep;

use crate::diagnostic::Hint;
use crate::store::error::StoreError;
use crate::store::options::StoreOptions;
use crate::store::sqlite::error::{classify, missing, unopened};
use crate::store::url::{StoreUrl, display_url};

/// What the name of a copy goes on with while it is made.
const PARTIAL: &str = ".partial";
/// How often it is told how far the copy is.
const TICK: Duration = Duration::from_millis(100);

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is a server, which has means of its own.
    #[error("{url} is a PostgreSQL, whose own program copies it")]
    Server {
        /// Where it is, without user and password.
        url: String,
        /// Where the copy was to be.
        file: String,
    },
    /// There is something in the copy's place.
    #[error("`{0}` is there already, and is not overwritten")]
    Exists(String),
    /// Another copy to the same place is being made.
    #[error("another backup to `{0}` is under way")]
    UnderWay(String),
    /// The copy cannot be written.
    #[error("write `{file}`: {reason}")]
    Write {
        /// Where to.
        file: String,
        /// Why not.
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

/// A copy that is to be made.
#[derive(Debug)]
pub struct Backup {
    source: SqliteConnection,
    bytes: u64,
    target: PathBuf,
    partial: PathBuf,
    /// Its lock keeps a second backup away.
    file: File,
}

impl Backup {
    /// Opens the store, and makes a file beside `target` that only this user may read.
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
        // Absolute, so that SQLite takes it for a path whatever it begins with.
        let target = std::path::absolute(target).map_err(|error| unwritten(target, &error))?;
        if target.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(target.display().to_string()));
        }
        let address = address.create_if_missing(false).busy_timeout(options.timeout);
        let connected = address.connect().await;
        let mut source = connected.map_err(|error| unopened(&store, &error))?;
        // Only now is it read.
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

    /// How large the copy will be, about. In bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies the store as it is now, whatever is written to it meanwhile. `tick` is told now and then how many bytes the
    /// copy has. Returns how many it has in the end.
    ///
    /// The copy has its name only when all of it is on the disk.
    ///
    /// # Errors
    /// When the store cannot be read, or the copy not be written; then there is none.
    pub async fn run(mut self, mut tick: impl FnMut(u64)) -> Result<u64, BackupError> {
        let made = self.copy(&mut tick).await;
        // It was only read.
        let _ = self.source.close().await;
        let published = made.and_then(|()| publish(&self.file, &self.partial, &self.target));
        if published.is_err() {
            // What is left of it would only take room; the next one clears it away too.
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
        // Of one moment: writers go on, and what they write meanwhile stays in the store's log.
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

/// Opens the file that becomes the copy, for this user only and empty, and keeps others away from it. What stands there was
/// left by one that was broken off.
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
    // The one before us may have given it its name since it was opened.
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

/// Gives the copy its name, once it is on the disk. Returns how many bytes it has.
fn publish(file: &File, partial: &Path, target: &Path) -> Result<u64, BackupError> {
    let unwritten = |error: io::Error| unwritten(target, &error);
    file.sync_all().map_err(unwritten)?;
    let bytes = file.metadata().map_err(unwritten)?.len();
    // A link, unlike a new name, overwrites nothing.
    match std::fs::hard_link(partial, target) {
        Ok(()) => std::fs::remove_file(partial).map_err(unwritten)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::Exists(target.display().to_string()));
        }
        // Some file systems have none.
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
