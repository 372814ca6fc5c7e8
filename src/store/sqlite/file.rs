//! What the SQLite store and the spool share: how their files are made and written.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Executor, Sqlite};

/// How often it is looked whether a statement is to go on, in steps of SQLite's machine: about every ms.
pub(crate) const STEPS: i32 = 10_000;

/// Refuses what is there and no file: to open a pipe, for example, waits for its other end for ever.
pub(crate) fn check_kind(path: &Path) -> io::Result<()> {
    let problem = match path.metadata() {
        Ok(found) if found.is_dir() => "it is a directory",
        Ok(found) if !found.is_file() => "it is no file: a pipe, a socket or a device",
        Ok(_) | Err(_) => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
}

/// Makes the file and its directory where they are missing, for this user only: it holds who called whom.
pub(crate) fn make(file: &Path) -> io::Result<()> {
    check_kind(file)?;
    if let Some(folder) = file.parent()
        && !folder.as_os_str().is_empty()
        && !folder.exists()
    {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // So that the directory outlives a power cut as the commits in it do.
        if let Some(above) = folder.parent() {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            File::open(above)?.sync_all()?;
        }
    }
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file).map(|_| ())
}

/// A transaction of writes, whose connection is closed where it is not committed. When the disk is full SQLite ends a
/// transaction by itself, which sqlx does not learn: with its own `Transaction` the connection could not be used again.
pub(crate) struct Writing {
    connection: PoolConnection<Sqlite>,
    committed: bool,
}

impl Writing {
    /// Begins, and holds the file's one write lock from the start, so that it cannot fail half-way for want of it.
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
