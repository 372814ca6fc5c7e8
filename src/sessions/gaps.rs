//! Looks for gaps that no new event tells of, beside all settling.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::sessions::outages::{drift, forwarding, silence};
use crate::sessions::overdue_calls::Calls;
use crate::sessions::settler::{FailureLog, POLL, RETRY_PAUSE, Settler, step};
use crate::sessions::tasks::sweep::Tasks;
use crate::settings::seconds;
use crate::store::{QUEUE_COUNTED_MAX, RoomQueue, SLOT_MS, SettlerConnection, StoreError};
use protocol::diagnostic::Diagnostic;

/// How often gaps are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How long counts of minutes are kept; those of hours stay.
pub(crate) const MINUTES_KEPT: Duration = Duration::from_hours(48);

/// What is remembered between sweeps.
#[derive(Default)]
pub(crate) struct Sweeps {
    swept_at: Option<Instant>,
    /// The version of the registrations' book that was listed.
    listed: u64,
    calls: Calls,
    tasks: Tasks,
}

impl Settler {
    /// Adds up counts and looks for gaps, for ever.
    pub(crate) async fn sweeps(&self, sweeps: &mut Sweeps) {
        let mut failures = FailureLog::default();
        loop {
            if let Err(reason) = self.sweep_while_it_works(sweeps, &mut failures).await {
                failures.failed(&reason);
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn sweep_while_it_works(
        &self,
        sweeps: &mut Sweeps,
        failures: &mut FailureLog,
    ) -> Result<(), Diagnostic> {
        let mut store = step(SettlerConnection::open(&self.options)).await?;
        loop {
            let begun = Instant::now();
            step(store.add_counts()).await?;
            let version = self.book.version();
            let is_news = sweeps.listed != version;
            if is_news || sweeps.swept_at.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
                step(self.sweep(&mut store, sweeps)).await?;
                sweeps.swept_at = Some(Instant::now());
                sweeps.listed = version;
            }
            failures.succeeded();
            sleep(begun.elapsed().max(POLL)).await;
        }
    }

    async fn sweep(
        &self,
        store: &mut SettlerConnection,
        sweeps: &mut Sweeps,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        sweeps.calls.sweep(store, &self.gaps, now, &self.metrics).await?;
        sweeps.tasks.sweep(store, &self.gaps, now, &self.metrics).await?;
        if let Some(idle_max) = seconds(self.gaps.room_idle_overdue_s) {
            store.queue_idle_rooms(now.minus(idle_max)).await?;
        }
        store.queue_overdue_rtc_rooms(now).await?;
        for app in &self.apps {
            silence::sweep(store, *app, &self.gaps, now, &self.metrics).await?;
        }
        drift::sweep(store, &self.book, now, &self.metrics).await?;
        let failing_after = seconds(self.gaps.forwarding_failing_after_s);
        forwarding::sweep(store, failing_after, now, &self.metrics).await?;
        self.show_queue(store).await?;
        store.delete_minutes(now.minus(MINUTES_KEPT)).await?;
        self.metrics.anomalies(&store.listed().await?);
        Ok(())
    }

    /// Shows how long the queue is, and how long its oldest row has been there.
    async fn show_queue(&self, store: &mut SettlerConnection) -> Result<(), StoreError> {
        let (rooms, oldest) = store.queue_figures().await?;
        let clock_ms = store.clock_ms().await?;
        let age_ms = oldest.map_or(0, |slot| clock_ms.saturating_sub(slot.saturating_mul(SLOT_MS)));
        let age = Duration::from_millis(age_ms.max(0).unsigned_abs());
        let rooms = u32::try_from(rooms).unwrap_or(QUEUE_COUNTED_MAX);
        self.metrics.settle.queue(rooms, age);
        let backing_off = |queue| self.memory(queue).backing_off();
        self.metrics.settle.backing_off(backing_off(RoomQueue::Kit) + backing_off(RoomQueue::Rtc));
        Ok(())
    }
}
