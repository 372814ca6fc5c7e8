//! An event on its way to the store, and who waits for it.

use std::io::Write;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::Outcome;
use crate::callback::{Delivery, Event};
use crate::telemetry::Metrics;

/// What a job takes in memory beside its body, in bytes, roughly.
const JOB_BYTES: usize = 1024;

/// One event until its waiter has an answer. Whoever holds it finishes it; dropped unfinished it gives itself up, so
/// that no path loses an event.
pub(super) struct Job {
    pub(super) event: Box<Event>,
    /// When the waiter must have its answer.
    pub(super) deadline: Instant,
    /// Room for it in memory, given back when it ends.
    pub(super) room: Option<OwnedSemaphorePermit>,
    /// `None` once it is answered.
    answer: Option<oneshot::Sender<Outcome>>,
    metrics: Arc<Metrics>,
}

impl Job {
    pub(super) fn new(
        event: Event,
        deadline: Instant,
        answer: oneshot::Sender<Outcome>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let job =
            Self { event: Box::new(event), deadline, room: None, answer: Some(answer), metrics };
        job.metrics.queue_events.increment(1);
        job.metrics.queue_bytes.increment(job.bytes());
        job
    }

    /// What it takes in memory, in bytes.
    pub(super) fn bytes(&self) -> u32 {
        let bytes = self.event.payload.as_bytes().len().saturating_add(JOB_BYTES);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// Answers the waiter. It may be gone; the event is where it belongs all the same.
    pub(super) fn finish(mut self, outcome: Outcome) {
        if let Some(answer) = self.answer.take() {
            let _ = answer.send(outcome);
        }
    }

    /// The last resort: writes the whole event to the error log, as one line of JSON that `replay` reads.
    pub(super) fn give_up(mut self, reason: &str) {
        self.give_up_once(reason);
    }

    fn give_up_once(&mut self, reason: &str) {
        let Some(answer) = self.answer.take() else {
            return;
        };
        let line = LastResort {
            not_stored: reason,
            id: self.event.id.to_string(),
            received_at: self.event.received_at.to_string(),
            delivery: Delivery::of_event(&self.event),
        };
        let mut text = serde_json::to_string(&line).expect("it holds strings and JSON");
        text.push('\n');
        // Not through the log: no level or format may keep this line from being written, and read again.
        // Where even stderr is gone there is nobody left to tell.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        let _ = answer.send(Outcome::NotStored);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.metrics.queue_events.decrement(1);
        self.metrics.queue_bytes.decrement(self.bytes());
        self.give_up_once("the server ended before it was stored");
    }
}

#[derive(Serialize)]
struct LastResort<'a> {
    /// Why.
    not_stored: &'a str,
    id: String,
    received_at: String,
    #[serde(flatten)]
    delivery: Delivery,
}
