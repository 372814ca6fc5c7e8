//! Replays the spool into the store, the oldest events first, beside those that arrive. While the store is unavailable, the
//! replay is what probes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::callback::Event;
use crate::ingest::batch_writer::{BatchWriter, GROUP_BYTES_MAX, Ticket};
use crate::ingest::spool::writer::SpoolWriter;
use crate::store::Spooled;
use crate::telemetry::Metrics;

/// How many events are moved at once, at most, and how many at first.
const ROWS_MAX: u32 = 500;
const ROWS_MIN: u32 = 8;
/// How long to wait before a store that did not take events is asked again: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long to wait once there is something in a spool that was empty. The store may only be slow, and have it soon; then many
/// such events are looked at together.
const PAUSE_FILLED: Duration = Duration::from_millis(500);
/// How long to wait before events are tried again that the store did not take while it took others.
const STUCK_PAUSE: Duration = Duration::from_secs(10);
/// How many such events are passed over. With more, something is wrong with the store and not with them.
const STUCK_MAX: usize = 1000;
/// Of how many events it is remembered that they failed.
const FAILED_MAX: usize = 10_000;

#[derive(Clone)]
pub(crate) struct SpoolReplay {
    pub(crate) spool_writer: Arc<SpoolWriter>,
    pub(crate) writer: Arc<BatchWriter>,
    /// Cancelled when the server stops: what is left waits for the next start.
    pub(crate) stop: CancellationToken,
    pub(crate) metrics: Arc<Metrics>,
}

/// How far the replay is.
struct ReplayState {
    /// The place it reads behind.
    after: i64,
    rows: u32,
    pause: Duration,
    /// Whether the store took what it was given last.
    takes: bool,
    /// How often it took some.
    successes: u64,
    /// The events it did not take when they were alone, and how often it had taken others by then. An event that
    /// fails again after others succeeded is at fault; else it was the store.
    failed: BTreeMap<i64, u64>,
    /// The events it did not take while it took others. They are skipped, so that they do not block the others.
    stuck: BTreeSet<i64>,
    /// Whether they were tried again since.
    tried_again: bool,
    /// How many stuck events the log has reported.
    logged: usize,
    moved: u64,
}

enum Step {
    /// There is nothing behind this place.
    End,
    /// What was read, up to `last`, is stored, but for some that are stuck.
    Moved { last: i64, events: u64, stuck: Vec<i64> },
    /// Up to `last` there is nothing but what is passed over, and so many records that cannot be trusted.
    Passed { last: i64, untrusted: u64 },
    /// Nothing of it is stored. `alone` is its place where it was a single event.
    Failed { last: i64, alone: Option<i64> },
    /// The spool itself failed.
    SpoolFailed,
}

impl ReplayState {
    fn went_well(&mut self, last: i64) {
        // After an outage begin with the oldest again: those that probed the store were skipped.
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
        // During an outage one event after the other probes the store, in case one of them is at fault.
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

    /// At the end of the spool: begins again where something was passed over, else waits for more.
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

    /// Moves one batch: stores it, and then forgets it. A crash between the two repeats it, under the same ids.
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
        self.metrics.spool_drained.increment(taken.len() as u64);
        self.spool_writer.measure().await;
        Step::Moved { last, events: taken.len() as u64 + untrusted, stuck: refused }
    }

    /// Returns the places of what the store has now, and of what it did not take.
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
        self.metrics.spool_damaged.increment(1);
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
