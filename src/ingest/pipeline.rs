//! The path of one event: store, spool, error log.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{self, Duration};

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::projections::Change;
use crate::settings::IngestSettings;
use crate::store::{Spool, SpoolError, Store};
use crate::telemetry::Metrics;
use protocol::{Body, Event};
use receiver::{Outcome, Sink};

use crate::ingest::batch_writer::{Answer, BatchWriter, Ticket, changes_ahead};
use crate::ingest::breaker::BreakerTexts;
use crate::ingest::budget::{Budget, Limits};
use crate::ingest::health::Health;
use crate::ingest::last_resort::LastResort;
use crate::ingest::spool::handle::SpoolHandle;
use crate::ingest::spool::writer::SpoolWriter;
use crate::ingest::supervisor::{RESTART_PAUSE, keep_running};
use crate::ingest::writer_pool::{BatchTrigger, EventQueue, PoolWorker};

/// How long only the spool is tried for an event that the store did not accept. Then the store is tried again
/// concurrently.
const SPOOL_ALONE: Duration = Duration::from_millis(400);

/// What the log says of a store that callbacks are written to.
const TO_STORE: BreakerTexts = BreakerTexts {
    opens: "the store does not take events; they go to the spool until it does",
    closes: "the store takes events",
};

/// Ingest: the queue, its batch writers and the spool.
pub struct Ingest {
    queue: mpsc::Sender<Ticket>,
    trigger: Arc<BatchTrigger>,
    writers: TaskTracker,
    stop: CancellationToken,
    writer: Arc<BatchWriter>,
    spool: Option<SpoolHandle>,
    limits: Limits,
    last_resort: LastResort,
    metrics: Arc<Metrics>,
}

impl Ingest {
    /// Starts without a spool, on a store that is ready.
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

    /// Starts before the store is ready: until [`Ingest::release`], events go to the spool. The spool comes with the
    /// reason why it is unusable at the moment, if there is one.
    pub async fn start_held(
        settings: &IngestSettings,
        store: &Arc<dyn Store>,
        spool: Option<(Spool, Option<SpoolError>)>,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let writer = Arc::new(BatchWriter::on_store(settings, store, TO_STORE, clock, metrics));
        Self::start_on(settings, writer, spool, clock, metrics).await
    }

    /// Starts with this writer.
    pub(crate) async fn start_on(
        settings: &IngestSettings,
        writer: Arc<BatchWriter>,
        spool: Option<(Spool, Option<SpoolError>)>,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(settings.queue_events_max);
        let waiting = Arc::new(Mutex::new(EventQueue::new(waiting)));
        let (writers, stop) = (TaskTracker::new(), CancellationToken::new());
        let trigger = Arc::new(BatchTrigger::new());
        for _ in 0..settings.lanes {
            let worker = PoolWorker {
                waiting: waiting.clone(),
                trigger: trigger.clone(),
                stop: stop.clone(),
                rows_max: settings.batch_rows_max,
                writer: writer.clone(),
            };
            writers
                .spawn(keep_running("batch writer", RESTART_PAUSE, move || worker.clone().run()));
        }
        let spool = match spool {
            None => None,
            Some((spool, trouble)) => {
                let spool_writer = Arc::new(SpoolWriter::new(spool, clock, metrics));
                let writer = writer.clone();
                Some(SpoolHandle::start(spool_writer, trouble, writer, &stop, metrics).await)
            }
        };
        Self {
            queue,
            trigger,
            writers,
            stop,
            writer,
            spool,
            limits: Limits::of(settings),
            last_resort: LastResort::start(metrics),
            metrics: metrics.clone(),
        }
    }

    /// What writes the batches.
    pub(crate) fn writer(&self) -> &Arc<BatchWriter> {
        &self.writer
    }

    /// Permits writes to the store: its tables are of this version.
    pub fn release(&self) {
        self.writer.breaker.release();
    }

    /// The health of ingest.
    #[must_use]
    pub fn health(&self) -> Health {
        let spool_writer = self.spool.as_ref().map(|spool| &spool.spool_writer);
        Health {
            target: self.writer.target.name(),
            store_away: self.writer.breaker.is_open(),
            spool: spool_writer.map(|spool_writer| spool_writer.size()),
            spool_trouble: spool_writer
                .and_then(|spool_writer| Some(spool_writer.trouble()?.to_string())),
            quarantined_spool: spool_writer.and_then(|spool_writer| spool_writer.quarantined()),
        }
    }

    /// Stops accepting events, and waits until accepted ones are kept. Spooled events stay for the next start.
    pub async fn close(&self) {
        self.stop.cancel();
        self.writers.close();
        self.writers.wait().await;
        if let Some(spool) = &self.spool {
            spool.close().await;
        }
        self.last_resort.close().await;
    }

    /// Queues an event for the batch writers. The receiver gets its outcome.
    async fn queue(
        &self,
        event: &Arc<Event>,
        changes: Option<Arc<[Change]>>,
        bypass_breaker: bool,
        until: Instant,
    ) -> Result<oneshot::Receiver<Answer>, Arc<str>> {
        let (answer, stored) = oneshot::channel();
        let ticket = Ticket { event: event.clone(), changes, bypass_breaker, answer };
        match self.queue.try_send(ticket) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(ticket)) if bypass_breaker => {
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
        self.trigger.queued(self.queue.max_capacity() - self.queue.capacity());
        Ok(stored)
    }

    /// The path of one event: the store, the spool beside it after some time, the store again. Returns the reason
    /// where it is kept nowhere.
    async fn keep(
        &self,
        event: &Arc<Event>,
        changes: Option<Arc<[Change]>>,
        away: bool,
        budget: Budget,
    ) -> Answer {
        if away {
            let why = format!("the {} is not available", self.writer.target.name());
            return self.keep_without(event, budget, why.into()).await;
        }
        let bypass_breaker = self.spool.is_none();
        let mut stored = match self.queue(event, changes, bypass_breaker, budget.end).await {
            Ok(stored) => stored,
            Err(why) => return self.keep_without(event, budget, why).await,
        };
        match (timeout_at(budget.beside, &mut stored).await, &self.spool) {
            (Ok(answer), _) => match outcome_of(answer) {
                Ok(outcome) => Ok(outcome),
                Err(why) => self.keep_without(event, budget, why).await,
            },
            (Err(_), Some(spool)) => self.keep_beside(spool, event, stored, budget).await,
            (Err(_), None) => match outcome_by(budget.end, stored).await {
                Ok(outcome) => Ok(outcome),
                Err(why) => self.store_after_all(event, budget.end, why).await,
            },
        }
    }

    /// Spools an event that was not committed in time. The commit may still succeed and is awaited too: whichever
    /// completes first counts. Where both succeed, the replay finds the event stored.
    async fn keep_beside(
        &self,
        spool: &SpoolHandle,
        event: &Arc<Event>,
        mut stored: oneshot::Receiver<Answer>,
        budget: Budget,
    ) -> Answer {
        let mut put = pin!(spool.put(event));
        tokio::select! {
            biased;
            answer = &mut stored => match outcome_of(answer) {
                Ok(outcome) => Ok(outcome),
                Err(why) => self.spool(spool, put, event, budget.end, why).await,
            },
            done = &mut put => match done {
                Ok(()) => Ok(Outcome::Spooled),
                Err(why) => match outcome_by(budget.end, stored).await {
                    Ok(outcome) => Ok(outcome),
                    Err(more) => {
                        let why = format!("{why}; {more}").into();
                        self.store_after_all(event, budget.end, why).await
                    }
                },
            },
            () = sleep_until(budget.end) => Err(spool.is_slow(NOT_IN_TIME)),
        }
    }

    /// Keeps an event that the batch writers refused for this `reason`. Returns all reasons where it is kept nowhere.
    async fn keep_without(&self, event: &Arc<Event>, budget: Budget, reason: Arc<str>) -> Answer {
        match &self.spool {
            None => self.store_after_all(event, budget.end, reason).await,
            Some(spool) => {
                let put = pin!(spool.put(event));
                self.spool(spool, put, event, budget.end, reason).await
            }
        }
    }

    /// Waits for the spool to accept an event that the store did not, for this `reason`. While the spool is slow, and
    /// after it failed, the store gets the rest of the time.
    async fn spool(
        &self,
        spool: &SpoolHandle,
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
            else => Err(spool.is_slow(&reason)),
        }
    }

    /// Gives the rest of the time to the store, bypassing an open breaker: nothing else accepted the event, for this
    /// `reason`.
    async fn store_after_all(&self, event: &Arc<Event>, end: Instant, reason: Arc<str>) -> Answer {
        if Instant::now() >= end {
            return Err(reason);
        }
        let stored = async { outcome_by(end, self.queue(event, None, true, end).await?).await };
        stored.await.map_err(|why| format!("{reason}; {why}").into())
    }
}

/// The reason for an event without an outcome at its deadline.
const NOT_IN_TIME: &str = "not stored before the deadline";

/// The outcome from a batch writer. A ticket is dropped without one only when the writer panics.
fn outcome_of(answer: Result<Answer, oneshot::error::RecvError>) -> Answer {
    answer.unwrap_or_else(|_| Err("the server ended before it was stored".into()))
}

/// The outcome of an event, awaited until `end`.
async fn outcome_by(end: Instant, stored: oneshot::Receiver<Answer>) -> Answer {
    match timeout_at(end, stored).await {
        Ok(answer) => outcome_of(answer),
        Err(_) => Err(NOT_IN_TIME.into()),
    }
}

#[async_trait]
impl Sink for Ingest {
    async fn submit(&self, mut event: Event, arrived: time::Instant) -> Outcome {
        let away = self.writer.breaker.is_open();
        let changes = if self.writer.read_models && !away { changes_ahead(&event) } else { None };
        // The store does not need the decoded body, which may be much larger than the original one.
        event.body = Body::Untyped;
        let _in_flight = InFlight::new(&event, &self.metrics);
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

/// An event in flight: counted in the metrics until this is dropped.
struct InFlight<'a> {
    metrics: &'a Metrics,
    bytes: u32,
}

impl<'a> InFlight<'a> {
    fn new(event: &Event, metrics: &'a Metrics) -> Self {
        let bytes = u32::try_from(event.payload.as_bytes().len()).unwrap_or(u32::MAX);
        metrics.queue_events.increment(1);
        metrics.queue_bytes.increment(bytes);
        Self { metrics, bytes }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.metrics.queue_events.decrement(1);
        self.metrics.queue_bytes.decrement(self.bytes);
    }
}
