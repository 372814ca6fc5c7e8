//! The health of ingest.

use std::path::PathBuf;

use crate::store::Size;

/// The health of ingest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Where events go: "store", or in scale-out mode "stream".
    pub target: &'static str,
    /// Events go to the spool, because the store (or the stream) does not accept them.
    pub store_away: bool,
    /// The spooled events; `None` without a spool.
    pub spool: Option<Size>,
    /// Why the spool failed to accept the last event; `None` while it works.
    pub spool_trouble: Option<String>,
    /// The path of a spool file that was quarantined since the start.
    pub quarantined_spool: Option<PathBuf>,
}
