//! The state of a spool, for operators. Read-only.

use std::path::{Path, PathBuf};

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::spool::error::SpoolError;
use crate::spool::file;
use crate::spool::file::{DAMAGED, SALVAGED};
use crate::spool::record::Size;
use crate::spool::record::{Columns, spooled};

/// The state of a spool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpoolExamination {
    /// The number and size of its events.
    pub size: Size,
    /// Why its oldest event cannot be read; `None` where it can.
    pub unreadable: Option<String>,
    /// Number of quarantined records.
    pub damaged: u64,
    /// Quarantined files beside it that were not salvaged yet.
    pub quarantined: Vec<PathBuf>,
    /// Quarantined files that were salvaged.
    pub salvaged: Vec<PathBuf>,
}

/// Examines the spool at `path`, also while a server uses it; `None` where there is none.
///
/// # Errors
/// When the file cannot be read, or is no spool.
pub async fn examine_spool(path: &Path) -> Result<Option<SpoolExamination>, SpoolError> {
    let beside =
        |word| file::beside(path, word).map_err(|error| SpoolError::Failed(error.to_string()));
    let (quarantined, salvaged) = (beside(DAMAGED)?, beside(SALVAGED)?);
    let found = SpoolExamination { quarantined, salvaged, ..SpoolExamination::default() };
    if !path.exists() {
        return Ok((found != SpoolExamination::default()).then_some(found));
    }
    crate::sqlite::file::check_kind(path).map_err(|error| SpoolError::Failed(error.to_string()))?;
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(false);
    let options = options.pragma("query_only", "on");
    let mut file = SqliteConnection::connect_with(&options).await?;
    let size = crate::spool::handle::size(&mut file).await?;
    let damaged: i64 =
        sqlx::query_scalar("select count(*) from damaged").fetch_one(&mut file).await?;
    let oldest: Option<Columns> =
        sqlx::query_as("select place, head, body, checksum from spooled order by place limit 1")
            .fetch_optional(&mut file)
            .await?;
    file.close().await?;
    Ok(Some(SpoolExamination {
        size,
        unreadable: oldest.and_then(|record| spooled(record).event.err()),
        damaged: u64::try_from(damaged).unwrap_or(0),
        ..found
    }))
}
