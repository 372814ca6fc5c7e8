//! The store once it is open, and what writes to it.

use std::sync::Arc;

use crate::ingest::Ingest;
use crate::store::Store;

/// The opened store with its ingest.
pub(crate) struct StoreHandle {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ingest: Arc<Ingest>,
}
