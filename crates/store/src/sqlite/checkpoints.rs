//! Checkpoints of a SQLite file: they copy the pages of its WAL into it.
//!
//! By itself SQLite does that within a commit, each time the WAL has a thousand pages, and the events of that commit wait.
//! Here it is done beside the writers, and rarely: a page that many commits changed is copied once. While writers go on, such
//! a checkpoint leaves the pages that came meanwhile, so the WAL starts anew only after a commit found [`WAL_PAGES_MAX`] in
//! it, and that commit has few of them to copy.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// How many pages of 4 KiB the WAL may have until a commit makes a checkpoint itself: 64 MB.
pub(crate) const WAL_PAGES_MAX: u32 = 16_000;
/// Each so many batches a checkpoint is made. A full batch changes some 200 pages.
const BATCHES: u32 = 100;

/// Counts batches, and starts checkpoints.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    file: PathBuf,
    batches: AtomicU32,
    /// Held during a checkpoint.
    running: Arc<Mutex<()>>,
}

impl Checkpoints {
    pub(crate) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), batches: AtomicU32::new(0), running: Arc::default() }
    }

    /// Counts a batch that was committed. Does not wait for what it starts.
    pub(crate) fn committed(&self) {
        if self.batches.fetch_add(1, Ordering::Relaxed) % BATCHES != BATCHES - 1 {
            return;
        }
        let Ok(running) = self.running.clone().try_lock_owned() else { return };
        let file = self.file.clone();
        spawn_blocking(move || {
            let _running = running;
            if let Err(error) = checkpoint(&file) {
                // Nothing is lost: a later one, or a commit, does it.
                tracing::warn!(%error, "checkpoint of the SQLite file failed");
            }
        });
    }

    /// Waits until none is under way.
    pub(crate) async fn close(&self) {
        drop(self.running.lock().await);
    }
}

fn checkpoint(file: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.pragma_update(None, "synchronous", "full")?;
    // It waits for no reader and no writer: what these need stays in the WAL.
    connection.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(()))
}
