//! The only door to storage: a bounded queue, a few lanes that write what waits in it, and the spool behind them.
//!
//! Natural group commit: a lane takes whatever is queued, stores it with one statement, commits, and answers every
//! waiter. There is no timer: an idle server answers after one commit, a loaded one batches by itself.
//!
//! What the store has not taken after a time is put into the spool as well, beside the commit, and whichever is durable first
//! answers. From the spool it goes to the store when that takes events again.

use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{self, Duration};

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::callback::{Body, Event};
use crate::clock::Clock;
use crate::projections::Change;
use crate::settings::IngestSettings;
use crate::store::{Size, Spool, SpoolError, Store};
use crate::telemetry::Metrics;

pub(crate) mod batch_writer;
mod breaker;
mod budget;
mod last_resort;
pub(crate) mod spool_replay;
pub(crate) mod spool_salvage;
pub(crate) mod spool_writer;
pub(crate) mod supervisor;
pub(crate) mod writer_pool;

use crate::ingest::batch_writer::{Answer, Ticket, Writer, changes_ahead};
use crate::ingest::spool_replay::Drain;
use crate::ingest::spool_salvage::Salvager;
use crate::ingest::spool_writer::{Keeper, SpoolTicket};
use crate::ingest::supervisor::keep_running;
use crate::ingest::writer_pool::{Gate, Lane, Waiting};
use breaker::Breaker;
use budget::{Budget, Limits};
use last_resort::LastResort;

/// How long the spool has an event for itself that the store did not take. Then the store is asked again beside it.
const SPOOL_ALONE: Duration = Duration::from_millis(400);
/// How many events may wait for the spool. More would not be written within its time anyway.
const SPOOL_QUEUE_MAX: usize = 4096;

/// What takes verified, decoded events: the server's own [`Ingest`], or yours where you mount the callback router in
/// another app.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Takes one event, whose request `arrived` then. The vendor is answered when this returns, and waits for 2 s from
    /// that moment at most; after [`Outcome::New`] the event must survive a crash.
    ///
    /// It is run to its end, also when the client goes away before its answer.
    async fn submit(&self, event: Event, arrived: time::Instant) -> Outcome;
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
    limits: Limits,
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
        let limits = Limits::of(settings);
        let breaker = Arc::new(Breaker::new(true, metrics));
        let writer = Arc::new(Writer {
            store: store.clone(),
            breaker: breaker.clone(),
            limits,
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
            limits,
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

    /// Queues it for the lanes. What comes back is told what became of it.
    async fn queue(
        &self,
        event: &Arc<Event>,
        changes: Option<Arc<[Change]>>,
        insists: bool,
        until: Instant,
    ) -> Result<oneshot::Receiver<Answer>, Arc<str>> {
        let (answer, stored) = oneshot::channel();
        let ticket = Ticket { event: event.clone(), changes, insists, answer };
        match self.queue.try_send(ticket) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(ticket)) if insists => {
                match timeout_at(until, self.queue.send(ticket)).await {
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
        Ok(stored)
    }

    /// The way of one event: the store, the spool beside it once that has taken long, the store again. Why it is kept
    /// nowhere, where it is not.
    async fn keep(
        &self,
        event: &Arc<Event>,
        changes: Option<Arc<[Change]>>,
        away: bool,
        budget: Budget,
    ) -> Answer {
        if away {
            return self.keep_without(event, budget, "the store is not available".into()).await;
        }
        let insists = self.spool.is_none();
        let mut stored = match self.queue(event, changes, insists, budget.end).await {
            Ok(stored) => stored,
            Err(why) => return self.keep_without(event, budget, why).await,
        };
        match (timeout_at(budget.beside, &mut stored).await, &self.spool) {
            (Ok(answer), _) => match told(answer) {
                Ok(outcome) => Ok(outcome),
                Err(why) => self.keep_without(event, budget, why).await,
            },
            (Err(_), Some(spooling)) => self.keep_beside(spooling, event, stored, budget).await,
            (Err(_), None) => match until(budget.end, stored).await {
                Ok(outcome) => Ok(outcome),
                Err(why) => self.store_after_all(event, budget.end, why).await,
            },
        }
    }

    /// Puts an event into the spool that the lanes have had for long. Its commit may be under way, so it is waited for until the
    /// end: whichever is done first counts. Where both will be, the drain finds that it is stored.
    async fn keep_beside(
        &self,
        spooling: &Spooling,
        event: &Arc<Event>,
        mut stored: oneshot::Receiver<Answer>,
        budget: Budget,
    ) -> Answer {
        let mut put = pin!(spooling.put(event));
        tokio::select! {
            biased;
            answer = &mut stored => match told(answer) {
                Ok(outcome) => Ok(outcome),
                Err(why) => self.spool(spooling, put, event, budget.end, why).await,
            },
            done = &mut put => match done {
                Ok(()) => Ok(Outcome::Spooled),
                Err(why) => match until(budget.end, stored).await {
                    Ok(outcome) => Ok(outcome),
                    Err(more) => {
                        let why = format!("{why}; {more}").into();
                        self.store_after_all(event, budget.end, why).await
                    }
                },
            },
            () = sleep_until(budget.end) => Err(spooling.is_slow(NOT_IN_TIME)),
        }
    }

    /// Keeps an event that the lanes do not take, for this `reason`; all reasons, where it is kept nowhere.
    async fn keep_without(&self, event: &Arc<Event>, budget: Budget, reason: Arc<str>) -> Answer {
        match &self.spool {
            None => self.store_after_all(event, budget.end, reason).await,
            Some(spooling) => {
                let put = pin!(spooling.put(event));
                self.spool(spooling, put, event, budget.end, reason).await
            }
        }
    }

    /// Waits for the spool to take what the store did not, for this `reason`. Beside a spool that is slow, and after one that
    /// failed, the store has what is left of the time.
    async fn spool(
        &self,
        spooling: &Spooling,
        mut put: Pin<&mut impl Future<Output = Result<(), Arc<str>>>>,
        event: &Arc<Event>,
        end: Instant,
        reason: Arc<str>,
    ) -> Answer {
        match timeout_at(end.min(Instant::now() + SPOOL_ALONE), &mut put).await {
            Ok(Ok(())) => return Ok(Outcome::Spooled),
            Ok(Err(why)) => {
                let reason = format!("{reason}; {why}").into();
                return self.store_after_all(event, end, reason).await;
            }
            Err(_) => {}
        }
        tokio::select! {
            biased;
            Ok(Ok(())) = timeout_at(end, put) => Ok(Outcome::Spooled),
            Ok(outcome) = self.store_after_all(event, end, reason.clone()) => Ok(outcome),
            else => Err(spooling.is_slow(&reason)),
        }
    }

    /// Gives what is left of the time to the store, whatever is thought of it. Nothing else took the event, for this `reason`.
    async fn store_after_all(&self, event: &Arc<Event>, end: Instant, reason: Arc<str>) -> Answer {
        if Instant::now() >= end {
            return Err(reason);
        }
        let stored = async { until(end, self.queue(event, None, true, end).await?).await };
        stored.await.map_err(|why| format!("{reason}; {why}").into())
    }
}

/// Why an event has no outcome at the end of its time.
const NOT_IN_TIME: &str = "not stored before the deadline";

/// What the lanes told of an event. They drop its ticket only where a lane panics.
fn told(answer: Result<Answer, oneshot::error::RecvError>) -> Answer {
    answer.unwrap_or_else(|_| Err("the server ended before it was stored".into()))
}

/// What the lanes tell of an event in time.
async fn until(end: Instant, stored: oneshot::Receiver<Answer>) -> Answer {
    match timeout_at(end, stored).await {
        Ok(answer) => told(answer),
        Err(_) => Err(NOT_IN_TIME.into()),
    }
}

#[async_trait]
impl Sink for Ingest {
    async fn submit(&self, mut event: Event, arrived: time::Instant) -> Outcome {
        let away = self.breaker.is_open();
        let changes = if self.read_models && !away { changes_ahead(&event) } else { None };
        // No store reads it, and a small body can make a large one.
        event.body = Body::Untyped;
        let _counted = Counted::new(&event, &self.metrics);
        let event = Arc::new(event);
        let budget = self.limits.budget(arrived.into(), Instant::now());
        match self.keep(&event, changes, away, budget).await {
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

    /// Notes that it did not take an event in time, which nothing else took for this `reason`; both.
    fn is_slow(&self, reason: &str) -> Arc<str> {
        let slow: Arc<str> = "the spool did not take it in time".into();
        self.keeper.troubled(&slow);
        format!("{reason}; {slow}").into()
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
