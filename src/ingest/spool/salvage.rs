//! Salvages events of quarantined spool files, of this run and of earlier ones.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::ingest::spool::writer::SpoolWriter;
use crate::store::Salvage;
use protocol::Event;

/// The pause before events are offered again to a spool that did not accept them.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) struct Salvager {
    pub(crate) spool_writer: Arc<SpoolWriter>,
    /// Cancelled when the server stops: the next start begins the file again, which repeats no event.
    pub(crate) stop: CancellationToken,
}

impl Salvager {
    pub(crate) async fn run(self) {
        while !self.stop.is_cancelled() {
            match self.spool_writer.spool.damaged_files() {
                Ok(files) => {
                    for file in files {
                        self.take_over(&file).await;
                    }
                }
                Err(error) => warn!(%error, "look for spool files that were quarantined"),
            }
            tokio::select! {
                () = self.spool_writer.quarantined.notified() => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    async fn take_over(&self, file: &Path) {
        let path = file.display().to_string();
        let mut salvage = Salvage::open(file).await;
        let mut salvaged = 0;
        while let Some(events) = salvage.next().await {
            if !self.put(&events).await {
                warn!(
                    path,
                    salvaged,
                    "stopped before all of the damaged spool was read; the next start goes on"
                );
                return;
            }
            salvaged += events.len();
        }
        match salvage.finish().await {
            Ok(renamed) => {
                let path = renamed.display().to_string();
                info!(path, salvaged, "took over what could be read of the damaged spool");
            }
            Err(error) => {
                error!(path, %error, "rename the spool file that was taken over; the next start takes it over again");
            }
        }
    }

    /// Spools events, retrying; returns whether it succeeded before the stop. New events have priority.
    async fn put(&self, events: &[Event]) -> bool {
        let references: Vec<&Event> = events.iter().collect();
        while !self.stop.is_cancelled() {
            let begun = Instant::now();
            let generation = self.spool_writer.spool.generation().await;
            let kept = self.spool_writer.spool.append(&references).await;
            let pause = match &kept {
                Ok(()) => begun.elapsed(),
                Err(error) => {
                    self.spool_writer.failed(generation, error).await;
                    RETRY_PAUSE
                }
            };
            self.spool_writer.filled.notify_one();
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.cancelled() => {}
            }
            if kept.is_ok() {
                self.spool_writer.measure().await;
                return true;
            }
        }
        false
    }
}
