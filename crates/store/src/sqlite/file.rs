//! SQLite files, shared by store and spool: creation and write transactions.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Executor, Sqlite};

/// Interval of the check whether a statement may continue, in steps of SQLite's virtual machine: about 1 ms.
pub(crate) const STEPS: i32 = 10_000;

/// Refuses an existing path that is no file: opening a pipe, for example, would block.
pub(crate) fn check_kind(path: &Path) -> io::Result<()> {
    let problem = match path.metadata() {
        Ok(found) if found.is_dir() => "it is a directory",
        Ok(found) if !found.is_file() => "it is no file: a pipe, a socket or a device",
        Ok(_) | Err(_) => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
}

/// Creates the file and its directory where missing, private to this user: the data shows who called whom.
pub(crate) fn make(file: &Path) -> io::Result<()> {
    check_kind(file)?;
    if let Some(folder) = file.parent()
        && !folder.as_os_str().is_empty()
        && !folder.exists()
    {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // Makes the directory entry survive a power cut, as the commits in the file do.
        if let Some(above) = folder.parent() {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            File::open(above)?.sync_all()?;
        }
    }
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file).map(|_| ())
}

/// A write transaction whose connection is closed unless it is committed. On a full disk SQLite rolls back by itself
/// without sqlx noticing: with sqlx's `Transaction` the connection would be unusable afterwards.
pub(crate) struct Writing {
    connection: PoolConnection<Sqlite>,
    committed: bool,
}

impl Writing {
    /// Begins, and takes the file's write lock immediately, so that it cannot fail half-way for lack of it.
    pub(crate) async fn begin(pool: &SqlitePool) -> Result<Self, sqlx::Error> {
        let mut writing = Self { connection: pool.acquire().await?, committed: false };
        writing.connection.execute("begin immediate").await?;
        Ok(writing)
    }

    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.connection.execute("commit").await?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.committed {
            self.connection.close_on_drop();
        }
    }
}
