//! What a spool is like, for those who look after it. Nothing is changed.

use std::path::{Path, PathBuf};

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::store::spool::error::SpoolError;
use crate::store::spool::file;
use crate::store::spool::file::{DAMAGED, SALVAGED};
use crate::store::spool::record::Size;
use crate::store::spool::record::{Columns, spooled};

/// What a spool is like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpoolExamination {
    /// What waits in it.
    pub size: Size,
    /// Why its oldest event cannot be read, if so.
    pub unreadable: Option<String>,
    /// How many of its records were quarantined, because they cannot be trusted.
    pub damaged: u64,
    /// Files beside it that were quarantined as a whole, and not taken over yet.
    pub quarantined: Vec<PathBuf>,
    /// Such files of which all that can be read was taken over.
    pub salvaged: Vec<PathBuf>,
}

/// Looks at the spool at `path`, beside a server that may use it; `None` where there is none yet.
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
    crate::store::sqlite::file::check_kind(path)
        .map_err(|error| SpoolError::Failed(error.to_string()))?;
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(false);
    let options = options.pragma("query_only", "on");
    let mut file = SqliteConnection::connect_with(&options).await?;
    let size = crate::store::spool::handle::size(&mut file).await?;
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
