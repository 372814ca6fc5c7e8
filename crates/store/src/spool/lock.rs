//! The lock of the spool. A second server would replay events of the first into its own store, where nobody looks for
//! them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::spool::error::SpoolError;
use crate::spool::file;
use crate::sqlite;

/// Interval of the attempts to take the lock.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const HINT: &str = "give each server a spool of its own: set `spool.path` to another file; or end the other server";

/// The lock that a server holds on its spool. The system releases it when the process ends.
///
/// It locks a file beside the spool. A lock on the spool itself would conflict with SQLite's POSIX locks, which
/// vanish as soon as anything in the process closes the file.
#[derive(Debug)]
pub(crate) struct SpoolLock(#[expect(dead_code, reason = "it is held, not used")] File);

impl SpoolLock {
    /// Takes the lock for the existing spool at `path`, waiting at most `wait` for another process.
    pub(crate) async fn take(path: &Path, wait: Duration) -> Result<Self, SpoolError> {
        let failed = |error: io::Error| file::unmade(path, &error);
        // By its canonical path, so that symbolic links lead to one lock.
        let lock = file::with(&path.canonicalize().map_err(failed)?, ".lock");
        sqlite::file::check_kind(&lock).map_err(failed)?;
        let options =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).clone();
        let lock = options.open(lock).map_err(failed)?;
        let give_up = Instant::now() + wait;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self(lock)),
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                    sleep(LOOK_EVERY).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let reason = "another server uses it".to_owned();
                    return Err(SpoolError::Open {
                        path: path.display().to_string(),
                        reason,
                        hint: HINT,
                    });
                }
                // Some file systems do not support locks.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    return Ok(Self(lock));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }
}
