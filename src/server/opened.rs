//! What a start opens.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::ingest::Ingest;
use crate::ingest::batch_writer::BatchWriter;
use crate::server::job::Job;
use crate::store::Store;

/// What says that something is so.
pub(crate) struct Tokens {
    /// Cancelled once the store is ready for this version.
    pub(crate) store_ready: CancellationToken,
    /// Cancelled when the server is to stop, or has handed over its sockets and answered the last callback.
    pub(crate) stop: CancellationToken,
}

/// What was opened.
pub(crate) struct Opened {
    /// The store, and what events are written to it with. Absent on a receiver of scale-out mode.
    pub(crate) store: Option<(Arc<dyn Store>, Arc<BatchWriter>)>,
    /// Where callbacks go.
    pub(crate) ingest: Arc<Ingest>,
    /// The jobs of scale-out mode.
    pub(crate) jobs: Vec<Job>,
    /// Those of them that end by themselves at the stop: they have events in their hands.
    pub(crate) writers: Vec<Job>,
}
