//! What the tasks of the settler share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use crate::clock::Clock;
use crate::registration::RegistrationStatus;
use crate::sessions::memory::Memory;
use crate::settings::{GapsSettings, SettleSettings};
use crate::store::deadline::within;
use crate::store::{RoomQueue, StoreError, StoreOptions};
use crate::telemetry::{Metrics, OnChange};
use protocol::AppId;
use protocol::diagnostic::Diagnostic;

/// How long to wait before new facts are looked for again. It is as long as settling took, where that is longer, so that
/// the store is ours for half of the time at most.
pub(super) const POLL: Duration = Duration::from_millis(500);

/// How long one step may take: to settle a room of which there is much, or to look for gaps.
pub(super) const STEP_MAX: Duration = Duration::from_mins(2);

/// How long to wait before a connection that failed is made anew.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The background task.
pub(crate) struct Settler {
    pub(super) options: StoreOptions,
    pub(super) apps: Vec<AppId>,
    pub(super) gaps: GapsSettings,
    pub(super) bounds: SettleSettings,
    pub(super) book: Arc<RegistrationStatus>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) memory: Mutex<Memory>,
    pub(super) rtc_memory: Mutex<Memory>,
}

impl Settler {
    pub(crate) fn new(
        options: StoreOptions,
        apps: Vec<AppId>,
        (gaps, bounds): (GapsSettings, SettleSettings),
        book: Arc<RegistrationStatus>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (memory, rtc_memory) = (Mutex::default(), Mutex::default());
        Self { options, apps, gaps, bounds, book, clock, metrics, memory, rtc_memory }
    }

    pub(super) fn memory(&self, queue: RoomQueue) -> MutexGuard<'_, Memory> {
        let memory = match queue {
            RoomQueue::Kit => &self.memory,
            RoomQueue::Rtc => &self.rtc_memory,
        };
        memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs a failure once, and the recovery from it.
#[derive(Default)]
pub(super) struct FailureLog(OnChange<Diagnostic>);

impl FailureLog {
    pub(super) fn failed(&mut self, found: &Diagnostic) {
        if self.0.is_new(found) {
            let Diagnostic { problem: reason, hint } = found;
            warn!(reason, hint, "room sessions and live sessions are not up to date; trying again");
        }
    }

    pub(super) fn succeeded(&mut self) {
        if self.0.clear() {
            info!("room sessions and live sessions are settled again");
        }
    }
}

/// Waits for a step of the store, no longer than [`STEP_MAX`].
pub(super) async fn step<T>(
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Diagnostic> {
    within(STEP_MAX, work).await
}
