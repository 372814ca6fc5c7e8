//! Salvages the readable records of a quarantined spool.

use std::path::{Path, PathBuf};

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::spool::file;
use crate::spool::file::{DAMAGED, SALVAGED};
use crate::spool::record::{Columns, spooled};
use protocol::Event;

/// Number of records read at once.
const ROWS_MAX: u32 = 200;

/// Reads a damaged file from its oldest record up to the first damage, then from its newest one backwards.
#[derive(Debug)]
pub struct Salvage {
    path: PathBuf,
    /// Absent when nothing more can be read.
    file: Option<SqliteConnection>,
    newest_first: bool,
    /// The position that was read last.
    from: i64,
    /// The newest position read from the oldest end.
    last: i64,
    rows: u32,
}

impl Salvage {
    /// Opens a quarantined file. One that is no database yields no records.
    pub async fn open(path: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            // Makes SQLite read a truncated file up to its end instead of refusing it.
            .pragma("writable_schema", "on");
        Self {
            path: path.to_owned(),
            file: SqliteConnection::connect_with(&options).await.ok(),
            newest_first: false,
            from: i64::MIN,
            last: i64::MIN,
            rows: ROWS_MAX,
        }
    }

    /// The next intact events; `None` when nothing more can be read.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        while let Some(file) = &mut self.file {
            let read = read_some(file, self.newest_first, self.from, self.rows).await;
            let records = match read {
                Ok(records) => records,
                // The first of the requested records may be readable: retries with fewer.
                Err(_) if self.rows > 1 => {
                    self.rows /= 2;
                    continue;
                }
                Err(_) => Vec::new(),
            };
            // A damaged index may lead anywhere, also back to positions already read.
            let end = records.last().map(|(place, ..)| *place).filter(|end| {
                if self.newest_first {
                    *end < self.from && self.from > self.last
                } else {
                    *end > self.from
                }
            });
            let Some(end) = end else {
                self.turn().await;
                continue;
            };
            self.from = end;
            if !self.newest_first {
                self.last = end;
            }
            let new = |place: i64| !self.newest_first || place > self.last;
            let events = records.into_iter().filter(|(place, ..)| new(*place));
            return Some(events.filter_map(|record| spooled(record).event.ok()).collect());
        }
        None
    }

    /// Continues from the other end, or closes the file.
    async fn turn(&mut self) {
        if !self.newest_first {
            (self.newest_first, self.from, self.rows) = (true, i64::MAX, ROWS_MAX);
        } else if let Some(file) = self.file.take() {
            // The connection only read: an error on closing it loses nothing.
            let _ = file.close().await;
        }
    }

    /// Renames the file, so that it is not salvaged again, and returns its new path.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub async fn finish(mut self) -> std::io::Result<PathBuf> {
        if let Some(file) = self.file.take() {
            let _ = file.close().await;
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = match name.rsplit_once(DAMAGED) {
            Some((spool, moment)) => format!("{spool}{SALVAGED}{moment}"),
            None => name,
        };
        let salvaged = self.path.with_file_name(name);
        file::rename(&self.path, &salvaged)?;
        Ok(salvaged)
    }
}

async fn read_some(
    file: &mut SqliteConnection,
    newest_first: bool,
    from: i64,
    rows: u32,
) -> Result<Vec<Columns>, sqlx::Error> {
    let sql = if newest_first {
        "select place, cast(coalesce(head, '') as blob), cast(coalesce(body, '') as blob),
             cast(coalesce(checksum, '') as blob)
         from spooled where place < $1 order by place desc limit $2"
    } else {
        "select place, cast(coalesce(head, '') as blob), cast(coalesce(body, '') as blob),
             cast(coalesce(checksum, '') as blob)
         from spooled where place > $1 order by place limit $2"
    };
    sqlx::query_as(sql).bind(from).bind(rows).fetch_all(file).await
}
