//! The opened store and its ingest.

use std::sync::Arc;

use crate::ingest::Ingest;
use crate::store::Store;

/// The opened store with its ingest.
pub(crate) struct StoreHandle {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ingest: Arc<Ingest>,
}
