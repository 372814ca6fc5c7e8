//! One server settles for each database: elects it, and runs its tasks while it leads.

use std::time::Duration;

use tokio::time::sleep;

use crate::sessions::gaps::Sweeps;
use crate::sessions::outages::drift;
use crate::sessions::settler::{FailureLog, RETRY_PAUSE, Settler, step};
use crate::store::{RoomQueue, SettlerConnection};
use protocol::diagnostic::Diagnostic;

/// How often to ask whether to take over from the server that settles, and whether one still is that server.
const LEAD_EVERY: Duration = Duration::from_secs(3);

impl Settler {
    /// Settles for ever. It may be cancelled at any point: what is half done is done again.
    pub(crate) async fn run(&self) {
        let mut failures = FailureLog::default();
        loop {
            // What these tasks hold between their steps is large.
            if let Err(reason) = Box::pin(self.lead(&mut failures)).await {
                failures.failed(&reason);
            }
            self.metrics.settle.queue(0, Duration::ZERO);
            self.metrics.settle.backing_off(0);
            self.metrics.anomalies(&[]);
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Settles while the connection lasts that says who does. Returns why it does not.
    async fn lead(&self, failures: &mut FailureLog) -> Result<(), Diagnostic> {
        let mut lock = step(SettlerConnection::open(&self.options)).await?;
        while !step(lock.lead()).await? {
            // Only this server knows of them.
            step(drift::list_repairs(&mut lock, &self.book, &self.metrics)).await?;
            sleep(LEAD_EVERY).await;
        }
        failures.succeeded();
        tracing::debug!("this server settles room sessions and live sessions");
        let mut sweeps = Sweeps::default();
        let held = async {
            loop {
                sleep(LEAD_EVERY).await;
                step(lock.clock_ms()).await?;
            }
        };
        let all = async {
            tokio::join!(
                self.quick(RoomQueue::Kit),
                self.slow(RoomQueue::Kit),
                self.quick(RoomQueue::Rtc),
                self.slow(RoomQueue::Rtc),
                self.sweeps(&mut sweeps)
            )
        };
        tokio::select! {
            _ = all => Ok(()),
            lost = held => lost,
        }
    }
}
