//! What a spool is like, for those who look after it. Nothing is changed.

use std::path::{Path, PathBuf};

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::record::{Columns, spooled};
use super::{Size, SpoolError};

/// What a spool is like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpoolExamination {
    /// What waits in it.
    pub size: Size,
    /// Why its oldest event cannot be read, if so.
    pub unreadable: Option<String>,
    /// How many of its records were put aside, because they cannot be trusted.
    pub damaged: u64,
    /// Files beside it that were moved aside as a whole.
    pub aside: Vec<PathBuf>,
}

/// Looks at the spool at `path`, beside a server that may use it; `None` where there is none yet.
///
/// # Errors
/// When the file cannot be read, or is no spool.
pub async fn examine_spool(path: &Path) -> Result<Option<SpoolExamination>, SpoolError> {
    let aside = moved_aside(path).map_err(|error| SpoolError::Failed(error.to_string()))?;
    if !path.exists() {
        return Ok((!aside.is_empty()).then(|| SpoolExamination { aside, ..Default::default() }));
    }
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(false);
    let options = options.pragma("query_only", "on");
    let failed = |error: sqlx::Error| super::spool::classify(&error);
    let mut file = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    let size = super::spool::size(&mut file).await.map_err(failed)?;
    let damaged: i64 = sqlx::query_scalar("select count(*) from damaged")
        .fetch_one(&mut file)
        .await
        .map_err(failed)?;
    let oldest: Option<Columns> =
        sqlx::query_as("select place, head, body, checksum from spooled order by place limit 1")
            .fetch_optional(&mut file)
            .await
            .map_err(failed)?;
    file.close().await.map_err(failed)?;
    Ok(Some(SpoolExamination {
        size,
        unreadable: oldest.and_then(|record| spooled(record).event.err()),
        damaged: u64::try_from(damaged).unwrap_or(0),
        aside,
    }))
}

fn moved_aside(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let Some(name) = path.file_name().filter(|_| folder.exists()) else { return Ok(Vec::new()) };
    let begin = format!("{}.damaged-", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        // Its log stands beside it under the same name and `-wal`.
        if name.is_some_and(|name| name.starts_with(&begin) && !name.ends_with("-wal")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
