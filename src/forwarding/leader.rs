//! Takes the right to forward to a destination, and forwards while it lasts.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::forwarding::forwarder::{Forwarder, LEASE};
use crate::forwarding::runner::{Ended, Runner};
use crate::telemetry::OnChange;
use protocol::diagnostic::Diagnostic;

/// How often a server that waits for a lease asks for it.
const TAKE_OVER_EVERY: Duration = Duration::from_millis(400);
/// How long to wait after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

impl Forwarder {
    /// Forwards until it is stopped. It may be cancelled at any point: what was not written down is sent again.
    pub(super) async fn run(self) {
        let name = self.destination.name.as_str();
        let (mut failed, mut differs) = (OnChange::default(), OnChange::default());
        while !self.stop.is_cancelled() {
            match self.lead(&mut failed, &mut differs).await {
                Ok(()) => {}
                Err(found) => {
                    if failed.is_new(&found) {
                        let Diagnostic { problem: reason, hint } = found;
                        warn!(
                            destination = name,
                            reason, hint, "forwarding stands still; trying again"
                        );
                    }
                    self.pause(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Waits for the lease and forwards while it lasts.
    async fn lead(
        &self,
        failed: &mut OnChange<Diagnostic>,
        differs: &mut OnChange<String>,
    ) -> Result<(), Diagnostic> {
        let (name, hash) =
            (self.destination.name.as_str(), self.destination.definition_hash.as_str());
        self.database.ensure(name, hash).await?;
        let wanted = (name, &*self.holder, hash);
        let (lease, loaded) = loop {
            if let Some(leased) = self.database.lease(wanted, LEASE).await? {
                break leased;
            }
            let Some(row) = self.database.destination(name).await? else { return Ok(()) };
            if row.definition_hash == hash {
                differs.clear();
            } else if differs.is_new(&row.definition_hash) {
                warn!(
                    destination = name,
                    hint = "give all servers the same `[[forward]]` tables",
                    "the server that forwards is configured differently"
                );
            }
            failed.clear();
            self.pause(TAKE_OVER_EVERY).await;
            if self.stop.is_cancelled() {
                return Ok(());
            }
        };
        if failed.clear() {
            info!(destination = name, "forwarding goes on");
        }
        debug!(destination = name, epoch = lease.epoch, "this server forwards");
        let ended = Runner::new(self.clone(), lease.clone(), loaded).run().await;
        self.metrics.left();
        match ended {
            Ended::Stopped => self.database.release(&lease).await,
            Ended::Lost => {
                info!(
                    destination = name,
                    "the right to forward was lost, or its place was changed; asking for it again"
                );
                Ok(())
            }
            Ended::BacklogSkipped => Ok(()),
        }
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }
}
