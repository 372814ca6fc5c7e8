//! An event on its way to the store, and who waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::Outcome;
use super::last_resort::LastResort;
use crate::callback::{Body, Event};
use crate::telemetry::Metrics;

/// What a job takes in memory beside its body, in bytes, roughly.
const JOB_BYTES: usize = 1024;

/// One event, shared by the lane that stores it and the waiter that must have its answer in time. Whichever ends it
/// first decides: it is ended once.
pub(super) struct Job {
    pub(super) event: Event,
    /// When the waiter must have its answer.
    pub(super) deadline: Instant,
    ended: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Job {
    pub(super) fn new(mut event: Event, deadline: Instant, metrics: Arc<Metrics>) -> Self {
        // No store reads it, and a small body can make a large one.
        event.body = Body::Untyped;
        let job = Self { event, deadline, ended: AtomicBool::new(false), metrics };
        job.metrics.queue_events.increment(1);
        job.metrics.queue_bytes.increment(job.bytes());
        job
    }

    /// What it takes in memory, in bytes.
    pub(super) fn bytes(&self) -> u32 {
        let bytes = self.event.payload.as_bytes().len().saturating_add(JOB_BYTES);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// Whether nobody has ended it yet.
    pub(super) fn is_open(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }

    /// Ends it; whether it was the caller who did.
    pub(super) fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.metrics.queue_events.decrement(1);
        self.metrics.queue_bytes.decrement(self.bytes());
    }
}

/// A lane's side of a job. Whoever holds it ends the job; dropped, it gives the job up, so that no path loses an event.
pub(super) struct Ticket {
    pub(super) job: Arc<Job>,
    /// Room for it in memory, given back when the lane is done with it.
    pub(super) room: Option<OwnedSemaphorePermit>,
    /// `None` once it is used.
    answer: Option<oneshot::Sender<Outcome>>,
    last_resort: Arc<LastResort>,
}

impl Ticket {
    pub(super) fn new(
        job: Arc<Job>,
        answer: oneshot::Sender<Outcome>,
        last_resort: Arc<LastResort>,
    ) -> Self {
        Self { job, room: None, answer: Some(answer), last_resort }
    }

    /// Answers the waiter, unless it has given up: then the event is in the error log too, under the same id.
    pub(super) fn finish(mut self, outcome: Outcome) {
        if self.job.end() {
            self.answer(outcome);
        }
    }

    /// Writes the event to the error log, unless the waiter did.
    pub(super) async fn give_up(mut self, reason: &str) {
        if self.job.end() {
            self.last_resort.write(&self.job.event, reason).await;
            self.answer(Outcome::NotStored);
        }
    }

    fn answer(&mut self, outcome: Outcome) {
        if let Some(answer) = self.answer.take() {
            // The waiter may have gone with its client.
            let _ = answer.send(outcome);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.job.end() {
            drop(
                self.last_resort
                    .hand_over(&self.job.event, "the server ended before it was stored"),
            );
            self.answer(Outcome::NotStored);
        }
    }
}
