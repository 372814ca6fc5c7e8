//! Writes events to the spool, many with one commit, and maintains its file.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::ingest::batch_writer::by_bytes;
use crate::store::{Size, Spool, SpoolError};
use crate::telemetry::{Metrics, OnChange};
use protocol::Event;
use protocol::diagnostic::{Diagnostic, Hint};

/// Maximum number of events of one commit.
const BATCH_ROWS_MAX: usize = 500;
/// Interval of probing a spool that failed.
const TRY_EVERY: Duration = Duration::from_secs(2);

/// An event queued for the spool, and the channel of its outcome.
pub(crate) struct SpoolTicket {
    pub(crate) event: Arc<Event>,
    /// Gets `Ok`, or why the spool did not accept it.
    pub(crate) answer: oneshot::Sender<Result<(), Arc<str>>>,
}

/// Writes to the spool, and tracks its health and size.
pub(crate) struct SpoolWriter {
    pub(crate) spool: Spool,
    /// Notified when events were appended.
    pub(crate) filled: Notify,
    /// Notified when a damaged file was quarantined.
    pub(crate) quarantined: Notify,
    state: Mutex<State>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    /// Why it does not accept events; `None` while it does.
    trouble: Option<Arc<str>>,
    /// The last logged failure, so that each is logged once.
    logged: OnChange<Diagnostic>,
    /// The file quarantined last since the start.
    quarantined: Option<PathBuf>,
    size: Size,
}

impl SpoolWriter {
    pub(crate) fn new(spool: Spool, clock: &Clock, metrics: &Arc<Metrics>) -> Self {
        Self {
            spool,
            filled: Notify::new(),
            quarantined: Notify::new(),
            state: Mutex::default(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trouble(&self) -> Option<Arc<str>> {
        self.state().trouble.clone()
    }

    pub(crate) fn quarantined(&self) -> Option<PathBuf> {
        self.state().quarantined.clone()
    }

    /// The size of the spool, as of the last change.
    pub(crate) fn size(&self) -> Size {
        self.state().size
    }

    /// Records why it does not accept events.
    pub(crate) fn note_failing(&self, reason: &Arc<str>) {
        self.state().trouble = Some(reason.clone());
    }

    /// Records that it works.
    pub(crate) fn recovered(&self) {
        let mut state = self.state();
        state.trouble = None;
        if state.logged.clear() {
            info!("the spool works");
        }
    }

    /// Updates the size and its metrics.
    pub(crate) async fn measure(&self) {
        let generation = self.spool.generation().await;
        match self.spool.size().await {
            Ok(size) => {
                #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
                {
                    self.metrics.spool.events.set(size.events as f64);
                    self.metrics.spool.bytes.set(size.bytes as f64);
                }
                self.state().size = size;
            }
            Err(error) => self.failed(generation, &error).await,
        }
    }

    /// Records a failure. A damaged file is quarantined and replaced.
    pub(crate) async fn failed(&self, generation: u64, error: &SpoolError) {
        self.metrics.spool.errors.increment(1);
        if !matches!(error, SpoolError::Damaged(_)) {
            return self.log(error);
        }
        match self.spool.replace(generation, self.clock.now()).await {
            Ok(Some(quarantined)) => self.note_quarantined(quarantined),
            Ok(None) => {}
            Err(error) => self.log(&error),
        }
    }

    /// Logs a failure, unless it equals the last one logged.
    pub(crate) fn log(&self, error: &SpoolError) {
        let found = error.diagnostic();
        if self.state().logged.is_new(&found) {
            let Diagnostic { problem: reason, hint } = found;
            warn!(reason, hint, "the spool did not do what it should");
        }
    }

    /// Logs that a damaged file was quarantined, and starts its salvage.
    pub(crate) fn note_quarantined(&self, quarantined: PathBuf) {
        self.metrics.spool.damaged.increment(1);
        error!(
            path = %quarantined.display(),
            "the spool was damaged and is quarantined; a new one takes its place. What can be read of the old one is \
             taken over, what cannot is only there: keep it"
        );
        self.state().quarantined = Some(quarantined);
        self.quarantined.notify_one();
    }

    /// Runs until the last sender is gone.
    pub(crate) async fn run(self: Arc<Self>, queue: Arc<AsyncMutex<mpsc::Receiver<SpoolTicket>>>) {
        let mut queue = queue.lock().await;
        let mut batch = Vec::new();
        let mut tries = interval(TRY_EVERY);
        tries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                taken = queue.recv_many(&mut batch, BATCH_ROWS_MAX) => {
                    if taken == 0 {
                        return;
                    }
                    self.put(std::mem::take(&mut batch)).await;
                }
                _ = tries.tick() => self.try_out().await,
            }
        }
    }

    /// Probes a spool that failed. During an outage of the store such a server is not ready and may get no events, so
    /// that none would show its recovery.
    async fn try_out(&self) {
        let is_in_doubt = {
            let state = self.state();
            state.trouble.is_some() || state.logged.is_set()
        };
        if !is_in_doubt {
            return;
        }
        let generation = self.spool.generation().await;
        match self.spool.try_out().await {
            Ok(()) => {
                self.recovered();
                self.measure().await;
            }
            Err(error) => {
                self.note_failing(&error.to_string().into());
                self.failed(generation, &error).await;
            }
        }
    }

    /// Appends a batch; of one that does not fit, as much as fits.
    async fn put(&self, batch: Vec<SpoolTicket>) {
        let mut groups = by_bytes(batch, |ticket| ticket.event.payload.as_bytes().len());
        while let Some(mut group) = groups.pop() {
            group.retain(|ticket| !ticket.answer.is_closed());
            if group.is_empty() {
                continue;
            }
            let result = self.append(&group).await;
            if matches!(result, Err(SpoolError::Full)) && group.len() > 1 {
                let rest = group.split_off(group.len() / 2);
                groups.extend([rest, group]);
                continue;
            }
            let result: Result<(), Arc<str>> = match result {
                Ok(()) => {
                    self.recovered();
                    Ok(())
                }
                Err(error) => {
                    let reason: Arc<str> = error.to_string().into();
                    self.note_failing(&reason);
                    Err(reason)
                }
            };
            for ticket in group {
                // Nobody may be waiting: then the event is in the store or in the error log too.
                let _ = ticket.answer.send(result.clone());
            }
            self.measure().await;
            self.filled.notify_one();
        }
    }

    /// Appends events, and retries on a new file where the old one is damaged.
    async fn append(&self, group: &[SpoolTicket]) -> Result<(), SpoolError> {
        let events: Vec<&Event> = group.iter().map(|ticket| ticket.event.as_ref()).collect();
        let generation = self.spool.generation().await;
        let Err(error) = self.spool.append(&events).await else {
            return Ok(());
        };
        self.failed(generation, &error).await;
        if !matches!(error, SpoolError::Damaged(_)) {
            return Err(error);
        }
        self.spool.append(&events).await
    }
}
