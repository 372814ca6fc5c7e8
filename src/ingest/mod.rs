//! The only door to storage: a bounded queue, a few lanes that write what waits in it, and the spool behind them.
//!
//! Natural group commit: a lane takes whatever is queued, stores it with one statement, commits, and answers every
//! waiter. There is no timer: an idle server answers after one commit, a loaded one batches by itself.
//!
//! What the store does not take in time goes to the spool, and from there to the store when it is back.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::callback::{Body, Event};
use crate::clock::Clock;
use crate::handlers::Change;
use crate::settings::IngestSettings;
use crate::store::{Size, Spool, SpoolError, Store};
use crate::telemetry::Metrics;

mod breaker;
mod drain;
mod lane;
mod last_resort;
mod salvager;
mod spooler;
mod tasks;
mod writer;

use breaker::Breaker;
use drain::Drain;
use lane::{Gate, Lane, Waiting};
use last_resort::LastResort;
use salvager::Salvager;
use spooler::{Keeper, SpoolTicket};
use tasks::keep_running;
use writer::{Ticket, Writer, changes_ahead};

/// How long the spool may take, after the store had its time. What is left until the deadline is the spool's as well.
const SPOOL_TIMEOUT: Duration = Duration::from_millis(400);
/// How many events may wait for the spool. More would not be written within its time anyway.
const SPOOL_QUEUE_MAX: usize = 4096;

/// What takes verified, decoded events: the server's own [`Ingest`], or yours where you mount the callback router in
/// another app.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Takes one event. The vendor is answered when this returns, so it must not take longer than 2 s; after
    /// [`Outcome::New`] the event must survive a crash.
    ///
    /// It is run to its end, also when the client goes away before its answer.
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
    /// The store does not take it now. It is kept on this machine's disk, and will be stored.
    Spooled,
    /// It could not be kept in time. It stands, whole, in the error log.
    NotStored,
}

/// The queue, its lanes and the spool.
pub struct Ingest {
    queue: mpsc::Sender<Ticket>,
    gate: Arc<Gate>,
    lanes: TaskTracker,
    stop: CancellationToken,
    breaker: Arc<Breaker>,
    spool: Option<Spooling>,
    ack_deadline: Duration,
    read_models: bool,
    last_resort: LastResort,
    metrics: Arc<Metrics>,
}

/// The way into the spool.
struct Spooling {
    keeper: Arc<Keeper>,
    /// Taken when it is closed.
    queue: Mutex<Option<mpsc::Sender<SpoolTicket>>>,
    tasks: TaskTracker,
}

/// How well events are being kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Events go to the spool, because the store does not take them.
    pub store_away: bool,
    /// What waits in the spool; `None` where there is none.
    pub spool: Option<Size>,
    /// Why the spool did not take the last event that came to it; `None` while it does.
    pub spool_trouble: Option<String>,
    /// Where a damaged spool was moved to, since the start.
    pub spool_aside: Option<PathBuf>,
}

impl Ingest {
    /// Starts it without a spool, on a store that is ready.
    #[must_use]
    pub async fn start(
        settings: &IngestSettings,
        store: &Arc<dyn Store>,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let ingest = Self::start_held(settings, store, None, clock, metrics).await;
        ingest.release();
        ingest
    }

    /// Starts it before the store is ready: until [`Ingest::release`], events go to the spool. With the spool comes why it
    /// cannot be used now, if so.
    pub async fn start_held(
        settings: &IngestSettings,
        store: &Arc<dyn Store>,
        spool: Option<(Spool, Option<SpoolError>)>,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(settings.queue_events_max);
        let waiting = Arc::new(Mutex::new(Waiting::new(waiting)));
        let (lanes, stop) = (TaskTracker::new(), CancellationToken::new());
        let gate = Arc::new(Gate::new());
        let ack_deadline = Duration::from_millis(settings.ack_deadline_ms);
        let breaker = Arc::new(Breaker::new(true, metrics));
        let writer = Arc::new(Writer {
            store: store.clone(),
            breaker: breaker.clone(),
            attempt_timeout: ack_deadline / 2,
            clock: clock.clone(),
            read_models: settings.read_models,
            metrics: metrics.clone(),
        });
        for _ in 0..settings.lanes {
            let lane = Lane {
                waiting: waiting.clone(),
                gate: gate.clone(),
                stop: stop.clone(),
                rows_max: settings.batch_rows_max,
                writer: writer.clone(),
            };
            lanes.spawn(keep_running(lanes.clone(), "lane", move || lane.clone().run()));
        }
        let spool = match spool {
            None => None,
            Some((spool, trouble)) => {
                let keeper = Arc::new(Keeper::new(spool, clock, metrics));
                Some(Spooling::start(keeper, trouble, writer, &stop, metrics).await)
            }
        };
        Self {
            queue,
            gate,
            lanes,
            stop,
            breaker,
            spool,
            ack_deadline,
            read_models: settings.read_models,
            last_resort: LastResort::start(metrics),
            metrics: metrics.clone(),
        }
    }

    /// Says that the store is ready: its tables are those of this version.
    pub fn release(&self) {
        self.breaker.release();
    }

    /// How well events are being kept.
    #[must_use]
    pub fn health(&self) -> Health {
        let keeper = self.spool.as_ref().map(|spooling| &spooling.keeper);
        Health {
            store_away: self.breaker.is_open(),
            spool: keeper.map(|keeper| keeper.size()),
            spool_trouble: keeper.and_then(|keeper| Some(keeper.trouble()?.to_string())),
            spool_aside: keeper.and_then(|keeper| keeper.aside()),
        }
    }

    /// Takes no more events, and waits until those that were taken are kept. What is in the spool stays there for the
    /// next start.
    pub async fn close(&self) {
        self.stop.cancel();
        self.lanes.close();
        self.lanes.wait().await;
        if let Some(spooling) = &self.spool {
            spooling.close().await;
        }
        self.last_resort.close().await;
    }

    /// Has the lanes store it; why not, where they do not in time.
    async fn store(
        &self,
        event: &Arc<Event>,
        changes: Option<Arc<[Change]>>,
        deadline: Instant,
        insists: bool,
    ) -> Result<Outcome, Arc<str>> {
        let (answer, outcome) = oneshot::channel();
        let ticket = Ticket { event: event.clone(), changes, insists, answer };
        match self.queue.try_send(ticket) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(ticket)) if insists => {
                match timeout_at(deadline, self.queue.send(ticket)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err("the server is stopping".into()),
                    Err(_) => return Err("the queue was full until the deadline".into()),
                }
            }
            Err(mpsc::error::TrySendError::Full(_)) => return Err("the queue is full".into()),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                return Err("the server is stopping".into());
            }
        }
        self.gate.queued(self.queue.max_capacity() - self.queue.capacity());
        match timeout_at(deadline, outcome).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err("the server ended before it was stored".into()),
            Err(_) => Err("not stored before the deadline".into()),
        }
    }

    /// Puts an event into the spool that the store did not take, for this `reason`; all reasons, where it is kept nowhere.
    /// Beside a spool that is slow, and after one that failed, the store has what is left of the time.
    async fn spool(
        &self,
        spooling: &Spooling,
        event: &Arc<Event>,
        deadline: Instant,
        reason: Arc<str>,
    ) -> Result<Outcome, Arc<str>> {
        let mut put = pin!(spooling.put(event));
        match timeout(SPOOL_TIMEOUT, &mut put).await {
            Ok(Ok(())) => return Ok(Outcome::Spooled),
            Ok(Err(why)) => {
                let reason = format!("{reason}; {why}").into();
                return self.store_after_all(event, deadline, reason).await;
            }
            Err(_) => {}
        }
        tokio::select! {
            biased;
            Ok(Ok(())) = timeout_at(deadline, put) => Ok(Outcome::Spooled),
            Ok(outcome) = self.store_after_all(event, deadline, reason.clone()) => Ok(outcome),
            else => {
                let slow: Arc<str> = "the spool did not take it in time".into();
                spooling.keeper.troubled(&slow);
                Err(format!("{reason}; {slow}").into())
            }
        }
    }

    /// Gives what is left of the time to the store, whatever is thought of it. Nothing else took the event, for this `reason`.
    async fn store_after_all(
        &self,
        event: &Arc<Event>,
        deadline: Instant,
        reason: Arc<str>,
    ) -> Result<Outcome, Arc<str>> {
        if Instant::now() >= deadline {
            return Err(reason);
        }
        let stored = self.store(event, None, deadline, true).await;
        stored.map_err(|why| format!("{reason}; {why}").into())
    }
}

#[async_trait]
impl Sink for Ingest {
    async fn submit(&self, mut event: Event) -> Outcome {
        let away = self.breaker.is_open();
        let changes = if self.read_models && !away { changes_ahead(&event) } else { None };
        // No store reads it, and a small body can make a large one.
        event.body = Body::Untyped;
        let _counted = Counted::new(&event, &self.metrics);
        let event = Arc::new(event);
        let deadline = Instant::now() + self.ack_deadline;
        let mut reason: Arc<str> = "the store is not available".into();
        if !away {
            match self.store(&event, changes, deadline, self.spool.is_none()).await {
                Ok(outcome) => return outcome,
                Err(why) => reason = why,
            }
        }
        let kept = match &self.spool {
            Some(spooling) => self.spool(spooling, &event, deadline, reason).await,
            None => self.store_after_all(&event, deadline, reason).await,
        };
        match kept {
            Ok(outcome) => outcome,
            Err(reason) => {
                self.last_resort.write(&event, &reason).await;
                Outcome::NotStored
            }
        }
    }
}

impl Spooling {
    async fn start(
        keeper: Arc<Keeper>,
        trouble: Option<SpoolError>,
        writer: Arc<Writer>,
        stop: &CancellationToken,
        metrics: &Arc<Metrics>,
    ) -> Self {
        if let Some(trouble) = trouble {
            keeper.say(&trouble);
            keeper.troubled(&trouble.to_string().into());
        }
        match keeper.spool.damaged_files() {
            Ok(files) => files.into_iter().for_each(|file| keeper.note_aside(file)),
            Err(error) => warn!(%error, "look for spool files that were moved aside"),
        }
        keeper.measure().await;
        let (queue, waiting) = mpsc::channel(SPOOL_QUEUE_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        let tasks = TaskTracker::new();
        let kept = keeper.clone();
        let keeping = move || kept.clone().run(waiting.clone());
        tasks.spawn(keep_running(tasks.clone(), "keeper of the spool", keeping));
        let (stop, metrics) = (stop.clone(), metrics.clone());
        let salvager = Salvager { keeper: keeper.clone(), stop: stop.clone() };
        tasks.spawn(keep_running(tasks.clone(), "salvager", move || salvager.clone().run()));
        let drain = Drain { keeper: keeper.clone(), writer, stop, metrics };
        tasks.spawn(keep_running(tasks.clone(), "drain", move || drain.clone().run()));
        Self { keeper, queue: Mutex::new(Some(queue)), tasks }
    }

    /// Puts an event into the spool; why not, where it does not take it. Once this is dropped it does not begin with it.
    async fn put(&self, event: &Arc<Event>) -> Result<(), Arc<str>> {
        let (answer, done) = oneshot::channel();
        let queue = self.queue.lock().await.clone();
        let queue = queue.ok_or("the server is stopping")?;
        let ticket = SpoolTicket { event: event.clone(), answer };
        queue.send(ticket).await.map_err(|_| "the spool is closed")?;
        done.await.map_err(|_| "the spool ended before it was kept")?
    }

    async fn close(&self) {
        self.queue.lock().await.take();
        self.tasks.close();
        self.tasks.wait().await;
        self.keeper.spool.close().await;
    }
}

/// An event on its way, counted until it is dropped.
struct Counted<'a> {
    metrics: &'a Metrics,
    bytes: u32,
}

impl<'a> Counted<'a> {
    fn new(event: &Event, metrics: &'a Metrics) -> Self {
        let bytes = u32::try_from(event.payload.as_bytes().len()).unwrap_or(u32::MAX);
        metrics.queue_events.increment(1);
        metrics.queue_bytes.increment(bytes);
        Self { metrics, bytes }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.queue_events.decrement(1);
        self.metrics.queue_bytes.decrement(self.bytes);
    }
}
