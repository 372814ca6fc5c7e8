//! The opened store and its ingest.

use std::sync::Arc;

use crate::ingest::Ingest;
use crate::store::Store;

/// The opened store with its ingest.
pub(crate) struct StoreHandle {
    /// Absent on a receiver of scale-out mode.
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) ingest: Arc<Ingest>,
    /// Whether this server takes callbacks.
    pub(crate) receives: bool,
}
