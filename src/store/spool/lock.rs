//! One server at a time has a spool. Another that gave events back from it would store them where nobody looks for them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::store::spool::error::SpoolError;
use crate::store::spool::file;
use crate::store::sqlite;

/// How often it is looked whether the other server is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const HINT: &str = "give each server a spool of its own: set `spool.path` to another file; or end the other server";

/// What a server holds while it has the spool; the system gives it back when the process ends, however it does.
///
/// It is a lock on a file beside the spool: one on the spool itself would be at odds with those of SQLite, which are gone as
/// soon as anybody in the process closes the file.
#[derive(Debug)]
pub(crate) struct SpoolLock(#[expect(dead_code, reason = "it is held, not used")] File);

impl SpoolLock {
    /// Takes the lock for the spool at `path`, which is there. Waits so long for another to give it back.
    pub(crate) async fn take(path: &Path, wait: Duration) -> Result<Self, SpoolError> {
        let failed = |error: io::Error| file::unmade(path, &error);
        // By its one true name, whatever links lead there.
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
                // Some file systems know no locks.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    return Ok(Self(lock));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }
}
