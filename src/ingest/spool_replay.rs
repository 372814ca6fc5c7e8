//! Empties the spool into the store, the oldest events first, beside those that arrive. While the store is away, this is
//! what asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::callback::Event;
use crate::ingest::batch_writer::{GROUP_BYTES_MAX, Ticket, Writer};
use crate::ingest::spool_writer::Keeper;
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
pub(crate) struct Drain {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) writer: Arc<Writer>,
    /// Cancelled when the server stops: what is left waits for the next start.
    pub(crate) stop: CancellationToken,
    pub(crate) metrics: Arc<Metrics>,
}

/// How far the drain is.
struct Course {
    /// The place it reads behind.
    after: i64,
    rows: u32,
    pause: Duration,
    /// Whether the store took what it was given last.
    takes: bool,
    /// How often it took some.
    successes: u64,
    /// The events it did not take when they were alone, and how often it had taken others by then. Who fails, and fails
    /// again after others went well, is at fault; else it was the store.
    failed: BTreeMap<i64, u64>,
    /// The events it did not take while it took others. They are passed over, so that they hold nobody up.
    stuck: BTreeSet<i64>,
    /// Whether they were tried again since.
    tried_again: bool,
    /// Of how many events it is said that they are stuck.
    said: usize,
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
    Troubled,
}

impl Course {
    fn went_well(&mut self, last: i64) {
        // After an outage the oldest come first again: those it was asked with were passed over.
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
        // An outage is asked about with one event after the other, in case one of them is at fault.
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

impl Drain {
    pub(crate) async fn run(self) {
        let mut course = Course {
            after: 0,
            rows: ROWS_MIN,
            pause: PAUSE_MIN,
            takes: true,
            successes: 0,
            failed: BTreeMap::new(),
            stuck: BTreeSet::new(),
            tried_again: false,
            said: 0,
            moved: 0,
        };
        while !self.stop.is_cancelled() {
            match self.step(&course).await {
                Step::End => self.end(&mut course).await,
                Step::Passed { last, untrusted } => {
                    course.moved += untrusted;
                    course.after = last;
                }
                Step::Moved { last, events, stuck } => {
                    course.moved += events;
                    course.stuck.extend(stuck);
                    course.went_well(last);
                }
                Step::Failed { last, alone } => {
                    course.went_wrong(last, alone);
                    self.rest(&mut course).await;
                }
                Step::Troubled => self.rest(&mut course).await,
            }
        }
    }

    async fn rest(&self, course: &mut Course) {
        self.wait(course.pause).await;
        course.pause = (course.pause * 2).min(PAUSE_MAX);
    }

    async fn wait(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// At the end of the spool: begins again where something was passed over, else waits for more.
    async fn end(&self, course: &mut Course) {
        let passed_over = course.after > 0;
        course.after = 0;
        if !course.takes {
            return self.rest(course).await;
        }
        if course.stuck.is_empty() {
            if passed_over {
                return;
            }
            (course.said, course.tried_again) = (0, false);
            course.failed.clear();
            if course.moved > 0 {
                info!(events = course.moved, "the spool is empty again");
                course.moved = 0;
                self.shrink().await;
            }
            tokio::select! {
                () = self.keeper.filled.notified() => self.wait(PAUSE_FILLED).await,
                () = self.stop.cancelled() => {}
            }
            return;
        }
        if !course.tried_again {
            // It may have been a moment's trouble.
            course.tried_again = true;
            return course.stuck.clear();
        }
        if course.said != course.stuck.len() {
            course.said = course.stuck.len();
            error!(
                events = course.said,
                "the store does not take some events of the spool, while it takes others; they stay there and are tried \
                 again, and the log says why they were not stored"
            );
        }
        tokio::select! {
            () = sleep(STUCK_PAUSE) => course.stuck.clear(),
            () = self.keeper.filled.notified() => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Moves one batch: stores it, and then forgets it. A crash between the two repeats it, under the same ids.
    async fn step(&self, course: &Course) -> Step {
        let spool = &self.keeper.spool;
        let opened = spool.generation().await;
        let batch = match spool.oldest(course.after, course.rows, GROUP_BYTES_MAX as u64).await {
            Ok(batch) => batch,
            Err(error) => {
                self.keeper.failed(opened, &error).await;
                return Step::Troubled;
            }
        };
        let Some(last) = batch.records.last().map(|record| record.place) else {
            return Step::End;
        };
        let (mut events, mut untrusted) = (Vec::new(), 0);
        for Spooled { place, event } in batch.records {
            match event {
                _ if course.stuck.contains(&place) => {}
                Ok(event) => events.push((place, Arc::new(event))),
                Err(reason) => {
                    untrusted += 1;
                    if !self.set_aside(batch.generation, place, &reason).await {
                        return Step::Troubled;
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
            self.keeper.failed(batch.generation, &error).await;
            return Step::Troubled;
        }
        self.keeper.recovered();
        self.metrics.spool_drained.increment(taken.len() as u64);
        self.keeper.measure().await;
        Step::Moved { last, events: taken.len() as u64 + untrusted, stuck: refused }
    }

    /// Returns the places of what the store has now, and of what it did not take.
    async fn store(&self, events: Vec<(i64, Arc<Event>)>) -> (Vec<i64>, Vec<i64>) {
        let (mut tickets, mut waiting) = (Vec::new(), Vec::new());
        for (place, event) in events {
            let (answer, outcome) = oneshot::channel();
            tickets.push(Ticket { event, changes: None, insists: true, answer });
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

    async fn set_aside(&self, generation: u64, place: i64, reason: &str) -> bool {
        if let Err(error) = self.keeper.spool.set_aside(generation, place, reason).await {
            self.keeper.failed(generation, &error).await;
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
        let generation = self.keeper.spool.generation().await;
        if let Err(error) = self.keeper.spool.shrink().await {
            self.keeper.failed(generation, &error).await;
        }
        self.keeper.measure().await;
    }
}
