//! What has to be done now and then, beside the callbacks.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::error;

use crate::clock::Clock;
use crate::http::Tls;
use crate::ingest::Ingest;
use crate::registration::Watch;
use crate::retention;
use crate::server::opening::{make_partitions, settle};
use crate::sessions::Settler;
use crate::store::Store;
use crate::telemetry::{Metrics, log_lines_dropped};

/// How often what the store needs now and then is done.
const UPKEEP_EVERY: Duration = Duration::from_hours(1);
/// How long to wait before it is begun again where it panicked.
const UPKEEP_PAUSE: Duration = Duration::from_secs(1);
/// How often metrics that nobody reads are folded together, and dropped lines of the log shown.
const METRICS_EVERY: Duration = Duration::from_secs(5);

/// What has to be done now and then, beside the callbacks.
#[derive(Clone)]
pub(crate) struct Upkeep {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tls: Option<Tls>,
    /// How long events are kept; for ever without it.
    pub(crate) keep: Option<Duration>,
    pub(crate) settler: Arc<Settler>,
    pub(crate) watch: Arc<Watch>,
}

impl Upkeep {
    /// Does it, first of all for a store that is not `ready`. Never returns; a mistake in it does not end the server.
    pub(crate) async fn for_ever(self, mut ready: bool) {
        let tasks = TaskTracker::new();
        loop {
            let upkeep = self.clone();
            let work = tasks.spawn(Box::pin(upkeep.run(ready)));
            if let Err(error) = AbortOnDropHandle::new(work).await {
                error!(%error, "the upkeep ended; it begins again");
            }
            ready = false;
            sleep(UPKEEP_PAUSE).await;
        }
    }

    async fn run(self, ready: bool) {
        let figures = async {
            let handle = self.metrics.handle();
            loop {
                sleep(METRICS_EVERY).await;
                handle.run_upkeep();
                self.metrics.log_lines_dropped.absolute(log_lines_dropped());
            }
        };
        let certificate = async {
            if let Some(tls) = &self.tls {
                tls.keep_up().await;
            }
        };
        let store = async {
            if !ready {
                settle(&self.store, &self.ingest, &self.clock).await;
            }
            tokio::join!(self.partitions(), self.retention(), self.settler.run());
        };
        tokio::join!(figures, certificate, store, self.watch.run());
    }

    async fn partitions(&self) {
        loop {
            sleep(UPKEEP_EVERY).await;
            make_partitions(&self.store, &self.clock).await;
        }
    }

    async fn retention(&self) {
        let Some(keep) = self.keep else { return };
        loop {
            retention::run(&self.store, keep, &self.clock, &self.metrics).await;
            sleep(UPKEEP_EVERY).await;
        }
    }
}
