//! One writer: takes what is queued, stores it, answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Outcome;
use super::job::Ticket;
use crate::clock::Clock;
use crate::store::{Inserted, Store, StoreError};
use crate::telemetry::Metrics;

/// How long to wait before an unavailable store is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How many bytes one statement may carry, so that it is done well within its time.
const GROUP_BYTES_MAX: usize = 4 << 20;

pub(super) struct Lane {
    /// Shared by all lanes: the one that holds the lock waits for jobs, the others write or wait for the lock.
    pub(super) jobs: Arc<Mutex<mpsc::Receiver<Ticket>>>,
    /// Cancelled when no more jobs will come; what is queued is written all the same.
    pub(super) stop: CancellationToken,
    pub(super) rows_max: usize,
    /// How long one attempt to store may take: so much less than the deadline that there is time for another.
    pub(super) attempt_timeout: Duration,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
}

impl Lane {
    pub(super) async fn run(self) {
        loop {
            let batch = self.next_batch().await;
            if batch.is_empty() {
                return;
            }
            self.write(batch).await;
        }
    }

    /// Everything that is queued, at least one job; none when the queue is closed and empty.
    async fn next_batch(&self) -> Vec<Ticket> {
        let mut batch = Vec::new();
        let mut jobs = self.jobs.lock().await;
        tokio::select! {
            biased;
            _ = jobs.recv_many(&mut batch, self.rows_max) => {}
            () = self.stop.cancelled() => {
                jobs.close();
                jobs.recv_many(&mut batch, self.rows_max).await;
            }
        }
        batch
    }

    /// Stores a batch. Its waiters look after their deadlines themselves, so nothing here hurries for one of them: an
    /// attempt that were cut off because one job is late would be lost for all the others.
    ///
    /// What the store refuses is split until the row stands alone that it will not take; what it does not finish in
    /// time is split too. An unavailable store is asked again while anybody waits. Trying again is harmless: an event
    /// has its id since it was decoded.
    async fn write(&self, mut batch: Vec<Ticket>) {
        // The order in which every writer takes its rows, so that no two wait for each other in a circle.
        batch.sort_unstable_by_key(|ticket| ticket.job.event.id);
        let mut groups = by_bytes(batch);
        while let Some(mut group) = groups.pop() {
            // Whoever waited for these has given up and written them to the error log.
            group.retain(|ticket| ticket.job.is_open());
            if group.is_empty() {
                continue;
            }
            match self.insert(&group).await {
                Ok(outcomes) => {
                    for (ticket, inserted) in group.into_iter().zip(outcomes) {
                        ticket.finish(match inserted {
                            Inserted::New => Outcome::New,
                            Inserted::Duplicate => Outcome::Duplicate,
                        });
                    }
                }
                Err(Failure::Refused(reason)) if group.len() == 1 => {
                    for ticket in group {
                        self.park(ticket, &reason).await;
                    }
                }
                Err(Failure::Refused(reason)) => {
                    warn!(rows = group.len(), reason, "batch refused, splitting it");
                    groups.extend(halves(group));
                }
                Err(Failure::Unavailable { reason, slow }) => {
                    let group = give_up_late(group, &reason).await;
                    sleep_until(Instant::now() + RETRY_PAUSE).await;
                    groups.extend(if slow { halves(group) } else { vec![group] });
                }
            }
        }
    }

    async fn insert(&self, group: &[Ticket]) -> Result<Vec<Inserted>, Failure> {
        let events: Vec<_> = group.iter().map(|ticket| &ticket.job.event).collect();
        let begun = Instant::now();
        match timeout(self.attempt_timeout, self.store.insert(&events)).await {
            Ok(Ok(outcomes)) => {
                self.metrics.commit_seconds.record(begun.elapsed().as_secs_f64());
                #[expect(clippy::cast_precision_loss, reason = "a batch has a few thousand rows")]
                self.metrics.batch_rows.record(events.len() as f64);
                Ok(outcomes)
            }
            Ok(Err(refusal @ StoreError::Refused(_))) => {
                self.metrics.store_refused.increment(1);
                Err(Failure::Refused(refusal.to_string()))
            }
            Ok(Err(error)) => {
                self.metrics.store_unavailable.increment(1);
                Err(Failure::Unavailable { reason: error.to_string(), slow: false })
            }
            Err(_) => {
                self.metrics.store_timeouts.increment(1);
                let reason = "the store did not answer in time".to_owned();
                Err(Failure::Unavailable { reason, slow: true })
            }
        }
    }

    async fn park(&self, ticket: Ticket, reason: &str) {
        let event = &ticket.job.event;
        let parked = self.store.park(event, reason, self.clock.now());
        match timeout(self.attempt_timeout, parked).await {
            Ok(Ok(())) => {
                error!(event.id = %event.id, event.command = %event.command, reason,
                    "the store refuses this event; it is in parked_events");
                ticket.finish(Outcome::Parked);
            }
            Ok(Err(error)) => ticket.give_up(&format!("{reason}; not parked: {error}")).await,
            Err(_) => ticket.give_up(&format!("{reason}; not parked in time")).await,
        }
    }
}

/// Why a group was not stored.
enum Failure {
    Refused(String),
    Unavailable {
        reason: String,
        /// It did not say so, but took too long.
        slow: bool,
    },
}

/// Groups no larger than one statement may be, in the order given when they are taken from the end.
fn by_bytes(batch: Vec<Ticket>) -> Vec<Vec<Ticket>> {
    let mut groups: Vec<Vec<Ticket>> = Vec::new();
    let mut bytes = 0;
    for ticket in batch {
        let more = ticket.job.event.payload.as_bytes().len();
        match groups.last_mut() {
            Some(group) if bytes + more <= GROUP_BYTES_MAX => {
                bytes += more;
                group.push(ticket);
            }
            _ => {
                bytes = more;
                groups.push(vec![ticket]);
            }
        }
    }
    groups.reverse();
    groups
}

fn halves(mut group: Vec<Ticket>) -> Vec<Vec<Ticket>> {
    let rest = group.split_off(group.len() / 2);
    vec![rest, group]
}

/// Ends the jobs whose time is up, those of waiters that went away among them, and returns the others.
async fn give_up_late(group: Vec<Ticket>, reason: &str) -> Vec<Ticket> {
    let now = Instant::now();
    let (late, rest): (Vec<_>, _) =
        group.into_iter().partition(|ticket| ticket.job.deadline <= now);
    // Together, so that however slow the error log is, the lane waits for it once.
    let reason: Arc<str> = reason.into();
    let mut ends = JoinSet::new();
    for ticket in late {
        let reason = reason.clone();
        ends.spawn(async move { ticket.give_up(&reason).await });
    }
    ends.join_all().await;
    rest
}
