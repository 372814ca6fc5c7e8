//! One writer: takes what is queued, stores it, answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Job, Outcome};
use crate::clock::Clock;
use crate::store::{Inserted, Store, StoreError};
use crate::telemetry::Metrics;

/// How long to wait before an unavailable store is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Lane {
    /// Shared by all lanes: the one that holds the lock waits for jobs, the others write or wait for the lock.
    pub(super) jobs: Arc<Mutex<mpsc::Receiver<Job>>>,
    /// Cancelled when no more jobs will come; what is queued is written all the same.
    pub(super) stop: CancellationToken,
    pub(super) rows_max: usize,
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
    async fn next_batch(&self) -> Vec<Job> {
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

    /// Stores a batch, and sees to it that every job in it is finished soon after its deadline.
    ///
    /// A batch the store refuses is split until the row stands alone that it will not take. An unavailable store is
    /// asked again while there is time. Trying again is harmless: an event has its id since it was decoded.
    async fn write(&self, mut batch: Vec<Job>) {
        // The order in which every writer takes its rows, so that no two wait for each other in a circle.
        batch.sort_unstable_by_key(|job| job.event.id);
        let mut groups = vec![batch];
        while let Some(mut group) = groups.pop() {
            match self.insert(&group).await {
                Ok(outcomes) => {
                    for (job, inserted) in group.into_iter().zip(outcomes) {
                        job.finish(match inserted {
                            Inserted::New => Outcome::New,
                            Inserted::Duplicate => Outcome::Duplicate,
                        });
                    }
                }
                Err(Failure::Refused(reason)) if group.len() > 1 => {
                    let rest = group.split_off(group.len() / 2);
                    warn!(rows = group.len() + rest.len(), reason, "batch refused, splitting it");
                    groups.extend([rest, group]);
                }
                Err(Failure::Refused(reason)) => {
                    for job in group {
                        self.park(job, &reason).await;
                    }
                }
                Err(Failure::Unavailable(reason)) => {
                    let group = give_up_late(group, &reason);
                    if let Some(deadline) = earliest_deadline(&group) {
                        sleep_until(deadline.min(Instant::now() + RETRY_PAUSE)).await;
                        groups.push(group);
                    }
                }
            }
        }
    }

    async fn insert(&self, group: &[Job]) -> Result<Vec<Inserted>, Failure> {
        let events: Vec<_> = group.iter().map(|job| &*job.event).collect();
        let Some(deadline) = earliest_deadline(group) else {
            return Ok(Vec::new());
        };
        let begun = Instant::now();
        let done = timeout_at(deadline, self.store.insert(&events)).await;
        match done {
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
            Ok(Err(reason)) => {
                self.metrics.store_unavailable.increment(1);
                Err(Failure::Unavailable(reason.to_string()))
            }
            Err(_) => {
                self.metrics.store_timeouts.increment(1);
                Err(Failure::Unavailable("the store did not answer in time".to_owned()))
            }
        }
    }

    async fn park(&self, job: Job, reason: &str) {
        let now = self.clock.now();
        let parked = timeout_at(job.deadline, self.store.park(&job.event, reason, now)).await;
        match parked {
            Ok(Ok(())) => {
                error!(event.id = %job.event.id, event.command = %job.event.command, reason,
                    "the store refuses this event; it is in parked_events");
                job.finish(Outcome::Parked);
            }
            Ok(Err(error)) => job.give_up(&format!("{reason}; not parked: {error}")),
            Err(_) => job.give_up(&format!("{reason}; not parked in time")),
        }
    }
}

/// Why a group was not stored.
enum Failure {
    Refused(String),
    Unavailable(String),
}

fn earliest_deadline(group: &[Job]) -> Option<Instant> {
    group.iter().map(|job| job.deadline).min()
}

/// Ends the jobs whose time is up, and returns the others.
fn give_up_late(group: Vec<Job>, reason: &str) -> Vec<Job> {
    let now = Instant::now();
    let (late, rest): (Vec<_>, _) = group.into_iter().partition(|job| job.deadline <= now);
    if !late.is_empty() {
        error!(events = late.len(), reason, "not stored before the deadline, see the lines below");
    }
    for job in late {
        job.give_up(reason);
    }
    rest
}
