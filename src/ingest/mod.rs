//! The only door to storage: a bounded queue, and a few lanes that write what waits in it.
//!
//! Natural group commit: a lane takes whatever is queued, stores it with one statement, commits, and answers every
//! waiter. There is no timer: an idle server answers after one commit, a loaded one batches by itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::callback::Event;
use crate::clock::Clock;
use crate::settings::IngestSettings;
use crate::store::Store;
use crate::telemetry::Metrics;

mod job;
mod lane;

use job::Job;
use lane::Lane;

/// What takes verified, decoded events: the server's own [`Ingest`], or yours where you mount the callback router in
/// another app.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Takes one event. The vendor is answered when this returns, so it must not take longer than 2 s; after
    /// [`Outcome::New`] the event must survive a crash.
    ///
    /// The future is dropped when the client goes away before its answer; what it has begun should go on.
    async fn submit(&self, event: Event) -> Outcome;
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored now.
    New,
    /// It already was.
    Duplicate,
    /// The store refused it as a row, and keeps it apart, whole.
    Parked,
    /// It could not be stored in time. It stands, whole, in the error log.
    NotStored,
}

/// The queue and its lanes.
pub struct Ingest {
    queue: mpsc::Sender<Job>,
    /// Bounds what all jobs together take in memory, in bytes.
    room: Arc<Semaphore>,
    /// The lanes, and the jobs that wait for a place in the queue.
    tasks: TaskTracker,
    stop: CancellationToken,
    ack_deadline: Duration,
    metrics: Arc<Metrics>,
}

impl Ingest {
    /// Starts the lanes.
    #[must_use]
    pub fn start(
        settings: &IngestSettings,
        store: &Arc<dyn Store>,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(settings.queue_events_max);
        let jobs = Arc::new(Mutex::new(jobs));
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        for _ in 0..settings.lanes {
            let lane = Lane {
                jobs: jobs.clone(),
                stop: stop.clone(),
                rows_max: settings.batch_rows_max,
                store: store.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
            };
            tasks.spawn(lane.run());
        }
        Self {
            queue,
            room: Arc::new(Semaphore::new(settings.queue_bytes_max.min(Semaphore::MAX_PERMITS))),
            tasks,
            stop,
            ack_deadline: Duration::from_millis(settings.ack_deadline_ms),
            metrics: metrics.clone(),
        }
    }

    /// Takes no more events, and waits until those that were taken are stored or given up.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Puts a job into the queue, or gives it back where there is no place or no room.
    fn try_queue(&self, mut job: Job) -> Result<(), Job> {
        let Ok(room) = self.room.clone().try_acquire_many_owned(job.bytes()) else {
            return Err(job);
        };
        job.room = Some(room);
        self.queue.try_send(job).map_err(mpsc::error::TrySendError::into_inner)
    }
}

#[async_trait]
impl Sink for Ingest {
    async fn submit(&self, event: Event) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let deadline = Instant::now() + self.ack_deadline;
        let job = Job::new(event, deadline, answer, self.metrics.clone());
        if let Err(job) = self.try_queue(job) {
            // As a task of its own, because this future ends when the client goes away, and the event must not.
            self.tasks.spawn(wait_in_line(job, self.room.clone(), self.queue.clone()));
        }
        // Every job answers, at the latest when it is dropped.
        outcome.await.unwrap_or(Outcome::NotStored)
    }
}

/// Waits until the job's deadline for room and for a place in the queue.
async fn wait_in_line(mut job: Job, room: Arc<Semaphore>, queue: mpsc::Sender<Job>) {
    let bytes = job.bytes();
    let placed = timeout_at(job.deadline, async {
        let room = match job.room.take() {
            Some(room) => room,
            None => room.acquire_many_owned(bytes).await.ok()?,
        };
        Some((room, queue.reserve_owned().await.ok()?))
    });
    match placed.await {
        Ok(Some((room, place))) => {
            job.room = Some(room);
            place.send(job);
        }
        Ok(None) => job.give_up("the server is stopping"),
        Err(_) => job.give_up("the queue was full until the deadline"),
    }
}
