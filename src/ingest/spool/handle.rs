//! The queue of the spool, and its tasks.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::ingest::batch_writer::BatchWriter;
use crate::ingest::spool::replay::SpoolReplay;
use crate::ingest::spool::salvage::Salvager;
use crate::ingest::spool::writer::{SpoolTicket, SpoolWriter};
use crate::ingest::supervisor::{RESTART_PAUSE, keep_running};
use crate::store::SpoolError;
use crate::telemetry::Metrics;
use protocol::Event;

/// Maximum number of events queued for the spool. More could not be written in time.
const SPOOL_QUEUE_MAX: usize = 4096;

/// Access to the spool.
pub(crate) struct SpoolHandle {
    pub(crate) spool_writer: Arc<SpoolWriter>,
    /// Taken on close.
    queue: Mutex<Option<mpsc::Sender<SpoolTicket>>>,
    tasks: TaskTracker,
}

impl SpoolHandle {
    pub(crate) async fn start(
        spool_writer: Arc<SpoolWriter>,
        trouble: Option<SpoolError>,
        writer: Arc<BatchWriter>,
        stop: &CancellationToken,
        metrics: &Arc<Metrics>,
    ) -> Self {
        if let Some(trouble) = trouble {
            spool_writer.log(&trouble);
            spool_writer.note_failing(&trouble.to_string().into());
        }
        match spool_writer.spool.damaged_files() {
            Ok(files) => files.into_iter().for_each(|file| spool_writer.note_quarantined(file)),
            Err(error) => warn!(%error, "look for spool files that were quarantined"),
        }
        spool_writer.measure().await;
        let (queue, waiting) = mpsc::channel(SPOOL_QUEUE_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        let tasks = TaskTracker::new();
        let this = spool_writer.clone();
        let write = move || this.clone().run(waiting.clone());
        tasks.spawn(keep_running("spool writer", RESTART_PAUSE, write));
        let (stop, metrics) = (stop.clone(), metrics.clone());
        let salvager = Salvager { spool_writer: spool_writer.clone(), stop: stop.clone() };
        tasks.spawn(keep_running("spool salvage", RESTART_PAUSE, move || salvager.clone().run()));
        let replay = SpoolReplay { spool_writer: spool_writer.clone(), writer, stop, metrics };
        tasks.spawn(keep_running("spool replay", RESTART_PAUSE, move || replay.clone().run()));
        Self { spool_writer, queue: Mutex::new(Some(queue)), tasks }
    }

    /// Spools an event, or returns why that failed. Dropping the future before the write has begun cancels it.
    pub(crate) async fn put(&self, event: &Arc<Event>) -> Result<(), Arc<str>> {
        let (answer, done) = oneshot::channel();
        let queue = self.queue.lock().await.clone();
        let queue = queue.ok_or("the server is stopping")?;
        let ticket = SpoolTicket { event: event.clone(), answer };
        queue.send(ticket).await.map_err(|_| "the spool is closed")?;
        done.await.map_err(|_| "the spool ended before it was kept")?
    }

    /// Records that the spool did not accept an event in time. Returns this, added to the `reason` why nothing else
    /// accepted it.
    pub(crate) fn is_slow(&self, reason: &str) -> Arc<str> {
        let slow: Arc<str> = "the spool did not take it in time".into();
        self.spool_writer.note_failing(&slow);
        format!("{reason}; {slow}").into()
    }

    pub(crate) async fn close(&self) {
        self.queue.lock().await.take();
        self.tasks.close();
        self.tasks.wait().await;
        self.spool_writer.spool.close().await;
    }
}
