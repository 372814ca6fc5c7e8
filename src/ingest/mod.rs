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
mod last_resort;

use job::{Job, Ticket};
use lane::Lane;
use last_resort::LastResort;

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
    queue: mpsc::Sender<Ticket>,
    /// Bounds what all jobs together take in memory, in bytes.
    room: Arc<Semaphore>,
    room_bytes: u32,
    /// The lanes, and the jobs that wait for a place in the queue.
    tasks: TaskTracker,
    stop: CancellationToken,
    ack_deadline: Duration,
    last_resort: Arc<LastResort>,
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
        let ack_deadline = Duration::from_millis(settings.ack_deadline_ms);
        for _ in 0..settings.lanes {
            let lane = Lane {
                jobs: jobs.clone(),
                stop: stop.clone(),
                rows_max: settings.batch_rows_max,
                attempt_timeout: ack_deadline / 2,
                store: store.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
            };
            tasks.spawn(lane.run());
        }
        let room_bytes = u32::try_from(settings.queue_bytes_max).unwrap_or(u32::MAX);
        Self {
            queue,
            room: Arc::new(Semaphore::new(usize::try_from(room_bytes).unwrap_or(usize::MAX))),
            room_bytes,
            tasks,
            stop,
            ack_deadline,
            last_resort: Arc::new(LastResort::start(metrics)),
            metrics: metrics.clone(),
        }
    }

    /// Takes no more events, and waits until those that were taken are stored or given up.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.last_resort.close().await;
    }

    /// Puts a job into the queue, or gives it back where there is no place or no room.
    fn try_queue(&self, mut ticket: Ticket) -> Result<(), Box<Ticket>> {
        match self.room.clone().try_acquire_many_owned(self.share(&ticket.job)) {
            Ok(room) => ticket.room = Some(room),
            Err(_) => return Err(Box::new(ticket)),
        }
        self.queue.try_send(ticket).map_err(|error| Box::new(error.into_inner()))
    }

    /// How much room a job takes: all there is for one that is larger.
    fn share(&self, job: &Job) -> u32 {
        job.bytes().min(self.room_bytes)
    }
}

#[async_trait]
impl Sink for Ingest {
    async fn submit(&self, event: Event) -> Outcome {
        let (answer, mut outcome) = oneshot::channel();
        let deadline = Instant::now() + self.ack_deadline;
        let job = Arc::new(Job::new(event, deadline, self.metrics.clone()));
        let ticket = Ticket::new(job.clone(), answer, self.last_resort.clone());
        if let Err(ticket) = self.try_queue(ticket) {
            let (room, share) = (self.room.clone(), self.share(&job));
            // As a task of its own, because this future ends when the client goes away, and the event must not.
            self.tasks.spawn(wait_in_line(*ticket, room, share, self.queue.clone()));
        }
        if let Ok(answer) = timeout_at(deadline, &mut outcome).await {
            return answer.unwrap_or(Outcome::NotStored);
        }
        if job.end() {
            // A statement may be on its way that stores it yet: then it stands in both places, under the same id.
            self.last_resort.write(&job.event, "not stored before the deadline").await;
            return Outcome::NotStored;
        }
        // The lane ended it in this moment, and its answer comes at once.
        outcome.await.unwrap_or(Outcome::NotStored)
    }
}

/// Waits until the job's deadline for room and for a place in the queue.
async fn wait_in_line(
    mut ticket: Ticket,
    room: Arc<Semaphore>,
    share: u32,
    queue: mpsc::Sender<Ticket>,
) {
    let placed = timeout_at(ticket.job.deadline, async {
        let room = match ticket.room.take() {
            Some(room) => room,
            None => room.acquire_many_owned(share).await.ok()?,
        };
        Some((room, queue.reserve_owned().await.ok()?))
    });
    match placed.await {
        Ok(Some((room, place))) => {
            ticket.room = Some(room);
            place.send(ticket);
        }
        Ok(None) => ticket.give_up("the server is stopping").await,
        Err(_) => ticket.give_up("the queue was full until the deadline").await,
    }
}
