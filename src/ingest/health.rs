//! Whether events are being stored.

use std::path::PathBuf;

use crate::store::Size;

/// Whether events are being stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Events go to the spool, because the store does not take them.
    pub store_away: bool,
    /// What waits in the spool; `None` where there is none.
    pub spool: Option<Size>,
    /// Why the spool did not take the last event that came to it; `None` while it does.
    pub spool_trouble: Option<String>,
    /// Where a damaged spool was moved to, since the start.
    pub quarantined_spool: Option<PathBuf>,
}
