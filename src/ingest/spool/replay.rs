//! Replays spooled events into the store, the oldest first, beside new ones. While the store is unavailable, the
//! replay probes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::ingest::batch_writer::{BatchWriter, GROUP_BYTES_MAX, Ticket};
use crate::ingest::spool::writer::SpoolWriter;
use crate::store::Spooled;
use crate::telemetry::Metrics;
use protocol::Event;

/// Batch size: at most, and initially.
const ROWS_MAX: u32 = 500;
const ROWS_MIN: u32 = 8;
/// The pause before a failed store is retried: initially, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The pause after an empty spool got events. The store may only be slow and commit them soon; then they are checked
/// together.
const PAUSE_FILLED: Duration = Duration::from_millis(500);
/// The pause before stuck events are retried, which the store refuses while it accepts others.
const STUCK_PAUSE: Duration = Duration::from_secs(10);
/// Maximum number of stuck events to skip. With more, the store is at fault.
const STUCK_MAX: usize = 1000;
/// Maximum number of remembered failed events.
const FAILED_MAX: usize = 10_000;

#[derive(Clone)]
pub(crate) struct SpoolReplay {
    pub(crate) spool_writer: Arc<SpoolWriter>,
    pub(crate) writer: Arc<BatchWriter>,
    /// Cancelled when the server stops: the rest waits for the next start.
    pub(crate) stop: CancellationToken,
    pub(crate) metrics: Arc<Metrics>,
}

/// The progress of the replay.
struct ReplayState {
    /// The position to read after.
    after: i64,
    rows: u32,
    pause: Duration,
    /// Whether the store accepted the last batch.
    takes: bool,
    /// Number of successful batches.
    successes: u64,
    /// Events that failed alone, with the number of successful batches at that time. An event that fails again after
    /// others succeeded is at fault; otherwise the store is.
    failed: BTreeMap<i64, u64>,
    /// Stuck events: they failed while others succeeded. They are skipped, so that they do not block the others.
    stuck: BTreeSet<i64>,
    /// Whether they were retried since.
    tried_again: bool,
    /// How many stuck events the log has reported.
    logged: usize,
    moved: u64,
}

enum Step {
    /// Nothing follows this position.
    End,
    /// Events up to `last` are stored, except for stuck ones.
    Moved { last: i64, events: u64, stuck: Vec<i64> },
    /// Up to `last` there are only skipped events and this number of corrupt records.
    Passed { last: i64, untrusted: u64 },
    /// Nothing was stored. `alone` is the position of a single event.
    Failed { last: i64, alone: Option<i64> },
    /// The spool itself failed.
    SpoolFailed,
}

impl ReplayState {
    fn went_well(&mut self, last: i64) {
        // After an outage it restarts from the oldest: the events that probed the store were skipped.
        self.after = if self.takes { last } else { 0 };
        self.takes = true;
        self.successes += 1;
        (self.rows, self.pause) = ((self.rows * 4).min(ROWS_MAX), PAUSE_MIN);
    }

    fn went_wrong(&mut self, last: i64, alone: Option<i64>) {
        let Some(place) = alone else {
            self.rows = 1;
            return;
        };
        // During an outage single events probe the store, in case one of them is at fault.
        self.after = last;
        let at_fault = self.failed.get(&place).is_some_and(|before| *before < self.successes);
        if at_fault && self.stuck.len() < STUCK_MAX {
            self.stuck.insert(place);
            self.pause = PAUSE_MIN;
            return;
        }
        self.takes = false;
        if self.failed.len() < FAILED_MAX {
            self.failed.insert(place, self.successes);
        }
    }
}

impl SpoolReplay {
    pub(crate) async fn run(self) {
        let mut state = ReplayState {
            after: 0,
            rows: ROWS_MIN,
            pause: PAUSE_MIN,
            takes: true,
            successes: 0,
            failed: BTreeMap::new(),
            stuck: BTreeSet::new(),
            tried_again: false,
            logged: 0,
            moved: 0,
        };
        while !self.stop.is_cancelled() {
            match self.step(&state).await {
                Step::End => self.end(&mut state).await,
                Step::Passed { last, untrusted } => {
                    state.moved += untrusted;
                    state.after = last;
                }
                Step::Moved { last, events, stuck } => {
                    state.moved += events;
                    state.stuck.extend(stuck);
                    state.went_well(last);
                }
                Step::Failed { last, alone } => {
                    state.went_wrong(last, alone);
                    self.rest(&mut state).await;
                }
                Step::SpoolFailed => self.rest(&mut state).await,
            }
        }
    }

    async fn rest(&self, state: &mut ReplayState) {
        self.wait(state.pause).await;
        state.pause = (state.pause * 2).min(PAUSE_MAX);
    }

    async fn wait(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// At the end of the spool: restarts where something was skipped, else waits for more.
    async fn end(&self, state: &mut ReplayState) {
        let passed_over = state.after > 0;
        state.after = 0;
        if !state.takes {
            return self.rest(state).await;
        }
        if state.stuck.is_empty() {
            if passed_over {
                return;
            }
            (state.logged, state.tried_again) = (0, false);
            state.failed.clear();
            if state.moved > 0 {
                info!(events = state.moved, "the spool is empty again");
                state.moved = 0;
                self.shrink().await;
            }
            tokio::select! {
                () = self.spool_writer.filled.notified() => self.wait(PAUSE_FILLED).await,
                () = self.stop.cancelled() => {}
            }
            return;
        }
        if !state.tried_again {
            // The failure may have been transient.
            state.tried_again = true;
            return state.stuck.clear();
        }
        if state.logged != state.stuck.len() {
            state.logged = state.stuck.len();
            error!(
                events = state.logged,
                "the store does not take some events of the spool, while it takes others; they stay there and are tried \
                 again, and the log says why they were not stored"
            );
        }
        tokio::select! {
            () = sleep(STUCK_PAUSE) => state.stuck.clear(),
            () = self.spool_writer.filled.notified() => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Moves one batch: stores it, then removes it. A crash in between repeats it, under the same ids.
    async fn step(&self, state: &ReplayState) -> Step {
        let spool = &self.spool_writer.spool;
        let opened = spool.generation().await;
        let batch = match spool.oldest(state.after, state.rows, GROUP_BYTES_MAX as u64).await {
            Ok(batch) => batch,
            Err(error) => {
                self.spool_writer.failed(opened, &error).await;
                return Step::SpoolFailed;
            }
        };
        let Some(last) = batch.records.last().map(|record| record.place) else {
            return Step::End;
        };
        let (mut events, mut untrusted) = (Vec::new(), 0);
        for Spooled { place, event } in batch.records {
            match event {
                _ if state.stuck.contains(&place) => {}
                Ok(event) => events.push((place, Arc::new(event))),
                Err(reason) => {
                    untrusted += 1;
                    if !self.quarantine(batch.generation, place, &reason).await {
                        return Step::SpoolFailed;
                    }
                }
            }
        }
        let alone = match events.as_slice() {
            [] => return Step::Passed { last, untrusted },
            [(place, _)] => Some(*place),
            _ => None,
        };
        let (taken, refused) = self.store(events).await;
        if taken.is_empty() && !refused.is_empty() {
            return Step::Failed { last, alone };
        }
        if let Err(error) = spool.remove(batch.generation, &taken).await {
            self.spool_writer.failed(batch.generation, &error).await;
            return Step::SpoolFailed;
        }
        self.spool_writer.recovered();
        self.metrics.spool.drained.increment(taken.len() as u64);
        self.spool_writer.measure().await;
        Step::Moved { last, events: taken.len() as u64 + untrusted, stuck: refused }
    }

    /// Returns the positions of stored events and of refused ones.
    async fn store(&self, events: Vec<(i64, Arc<Event>)>) -> (Vec<i64>, Vec<i64>) {
        let (mut tickets, mut waiting) = (Vec::new(), Vec::new());
        for (place, event) in events {
            let (answer, outcome) = oneshot::channel();
            tickets.push(Ticket { event, changes: None, bypass_breaker: true, answer });
            waiting.push((place, outcome));
        }
        self.writer.write_once(tickets).await;
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for (place, outcome) in waiting {
            match outcome.await {
                Ok(Ok(_)) => taken.push(place),
                Ok(Err(_)) | Err(_) => refused.push(place),
            }
        }
        (taken, refused)
    }

    async fn quarantine(&self, generation: u64, place: i64, reason: &str) -> bool {
        if let Err(error) = self.spool_writer.spool.quarantine(generation, place, reason).await {
            self.spool_writer.failed(generation, &error).await;
            return false;
        }
        self.metrics.spool.damaged.increment(1);
        error!(
            place,
            reason, "a record of the spool cannot be trusted; it is in its table `damaged`"
        );
        true
    }

    async fn shrink(&self) {
        let generation = self.spool_writer.spool.generation().await;
        if let Err(error) = self.spool_writer.spool.shrink().await {
            self.spool_writer.failed(generation, &error).await;
        }
        self.spool_writer.measure().await;
    }
}
