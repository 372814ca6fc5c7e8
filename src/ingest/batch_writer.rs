//! Stores a batch of events: retries, splits what is refused, and dead-letters an event that is refused alone.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{error, warn};

use crate::clock::Clock;
use crate::ingest::breaker::{Breaker, BreakerTexts};
use crate::ingest::budget::Limits;
#[cfg(feature = "nats")]
use crate::ingest::stream_target::StreamTarget;
use crate::ingest::target::{BatchTarget, StoreTarget, TargetError};
use crate::projections;
use crate::projections::Change;
use crate::settings::IngestSettings;
use crate::store::{EventInsert, Inserted, Store};
#[cfg(feature = "nats")]
use crate::stream::publisher::Publisher;
use crate::telemetry::{Metrics, WriteMetrics};
use protocol::Event;
use protocol::diagnostic::Diagnostic;
use receiver::Outcome;

/// The pause before an unavailable store is retried: initially, and at most.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(400);
/// Maximum size of one statement in bytes, so that it stays well within its timeout.
pub(crate) const GROUP_BYTES_MAX: usize = 4 << 20;
/// The bytes that a changed row counts for in this.
const CHANGE_BYTES: usize = 800;

/// Changes up to this size may be queued with any event, however small its body.
const SMALL_CHANGES_BYTES: usize = 4096;

/// An event in the queue, and the channel of its outcome. A closed channel means that it was kept elsewhere.
pub(crate) struct Ticket {
    pub(crate) event: Arc<Event>,
    /// Its changes of the read models. `None`: computed from its payload when it is written.
    pub(crate) changes: Option<Arc<[Change]>>,
    /// Whether to try the store even while the breaker is open: there is no other place left.
    pub(crate) bypass_breaker: bool,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// The outcome of an event, or why it was not stored.
pub(crate) type Answer = Result<Outcome, Arc<str>>;

impl Ticket {
    fn finish(self, result: Answer) {
        // Nobody may be waiting: then the spool has the event too, under the same id.
        let _ = self.answer.send(result);
    }
}

/// The means of writing, shared by the pool's workers and the spool replay.
pub(crate) struct BatchWriter {
    pub(crate) target: Arc<dyn BatchTarget>,
    pub(crate) breaker: Arc<Breaker>,
    /// Timeout of one attempt: as long as a request may wait for it.
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    /// Whether the read models are written together with the events.
    pub(crate) read_models: bool,
    pub(crate) metrics: WriteMetrics,
    /// Told of each batch that is committed.
    pub(crate) stored: Arc<Notify>,
}

/// The changes of a queued event, computed in advance; `None` where they would take much more memory than its body,
/// by which the queue is bounded. Then they are computed when it is written.
pub(crate) fn changes_ahead(event: &Event) -> Option<Arc<[Change]>> {
    let changes = projections::changes(event);
    let body = event.payload.as_bytes().len();
    let room = 4 * body + SMALL_CHANGES_BYTES;
    // Their texts come from the body, so a few need not be measured.
    let is_small = changes.len() * (size_of::<Change>() + body) <= room / 2;
    (is_small || changes.iter().map(Change::bytes).sum::<usize>() <= room).then(|| changes.into())
}

impl BatchWriter {
    /// A writer to the store, held until it is ready.
    pub(crate) fn on_store(
        settings: &IngestSettings,
        store: &Arc<dyn Store>,
        texts: BreakerTexts,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Self {
        let metrics = WriteMetrics {
            rows: metrics.batch_rows.clone(),
            seconds: metrics.commit_seconds.clone(),
            unavailable: metrics.store_unavailable.clone(),
            timeouts: metrics.store_timeouts.clone(),
            refused: metrics.store_refused.clone(),
            circuit_open: metrics.store_circuit_open.clone(),
        };
        Self {
            target: Arc::new(StoreTarget(store.clone())),
            breaker: Arc::new(Breaker::new(true, &metrics.circuit_open, texts)),
            limits: Limits::of(settings),
            clock: clock.clone(),
            read_models: settings.read_models,
            metrics,
            stored: Arc::new(Notify::new()),
        }
    }

    /// A writer to the stream, held until that is known to keep what it takes.
    #[cfg(feature = "nats")]
    pub(crate) fn on_stream(
        settings: &IngestSettings,
        publisher: Publisher,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Self {
        let texts = BreakerTexts {
            opens: "the stream does not take events; they go to the spool until it does",
            closes: "the stream takes events",
        };
        let metrics = metrics.stream.writes();
        Self {
            target: Arc::new(StreamTarget(publisher)),
            breaker: Arc::new(Breaker::new(true, &metrics.circuit_open, texts)),
            limits: Limits::of(settings),
            clock: clock.clone(),
            // Who stores the event does this.
            read_models: false,
            metrics,
            stored: Arc::new(Notify::new()),
        }
    }

    /// Stores a batch, retrying while the breaker is closed. Requests keep their own deadlines, so an attempt lasts
    /// until no request of its batch can be waiting any more.
    ///
    /// A batch that the store refuses is split until the refused row is alone. An unavailable store is retried until
    /// the breaker opens. Retries are idempotent: an event has its id since it was decoded.
    pub(crate) async fn write(&self, batch: Vec<Ticket>) {
        self.work(batch, true).await;
    }

    /// As [`Self::write`], but an unavailable store is tried once.
    pub(crate) async fn write_once(&self, batch: Vec<Ticket>) {
        self.work(batch, false).await;
    }

    async fn work(&self, mut batch: Vec<Ticket>, patient: bool) {
        // The lock order of all writers, so that they cannot deadlock.
        batch.sort_unstable_by_key(|ticket| ticket.event.id);
        let mut groups = by_bytes(batch, weight);
        let mut pause = RETRY_PAUSE;
        while let Some(mut group) = groups.pop() {
            group.retain(|ticket| !ticket.answer.is_closed());
            if self.breaker.is_held() {
                fail(group, &format!("the {} is not ready yet", self.target.name()));
                continue;
            }
            if self.breaker.is_open() {
                let (bypassing, rest): (Vec<_>, Vec<_>) =
                    group.into_iter().partition(|ticket| ticket.bypass_breaker);
                fail(rest, &format!("the {} is not available", self.target.name()));
                group = bypassing;
            }
            if group.is_empty() {
                continue;
            }
            match self.insert(&group, patient).await {
                Ok(outcomes) => {
                    for (ticket, inserted) in group.into_iter().zip(outcomes) {
                        ticket.finish(Ok(match inserted {
                            Inserted::New => Outcome::New,
                            Inserted::Duplicate => Outcome::Duplicate,
                        }));
                    }
                }
                Err(Failure::Refused(reason)) if group.len() == 1 => {
                    for ticket in group {
                        groups.extend(self.refused(ticket, &reason).await.map(|again| vec![again]));
                    }
                }
                Err(Failure::Refused(reason)) => {
                    warn!(rows = group.len(), reason, "batch refused, splitting it");
                    groups.extend(halves(group));
                }
                Err(Failure::Unavailable(_)) if patient => {
                    groups.push(group);
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
                Err(Failure::TooSlow(reason)) if patient => fail(group, &reason),
                Err(Failure::Unavailable(reason) | Failure::TooSlow(reason)) => {
                    groups.push(group);
                    return fail(groups.into_iter().flatten(), &reason);
                }
            }
        }
    }

    async fn insert(&self, group: &[Ticket], patient: bool) -> Result<Vec<Inserted>, Failure> {
        let entry = |ticket: &Ticket| EventInsert {
            event: ticket.event.clone(),
            changes: self.changes(ticket),
        };
        let entries: Vec<_> = group.iter().map(entry).collect();
        let begun = Instant::now();
        let is_wanted = || patient && group.iter().any(|ticket| !ticket.answer.is_closed());
        match timeout(self.limits.answer, self.attempt(&entries, is_wanted)).await {
            Ok(Ok(outcomes)) => {
                self.breaker.succeeded();
                self.stored.notify_one();
                self.metrics.seconds.record(begun.elapsed().as_secs_f64());
                #[expect(clippy::cast_precision_loss, reason = "a batch has a few thousand rows")]
                self.metrics.rows.record(entries.len() as f64);
                Ok(outcomes)
            }
            Ok(Err(TargetError::Refused(reason))) => {
                self.breaker.succeeded();
                self.metrics.refused.increment(1);
                Err(Failure::Refused(reason))
            }
            Ok(Err(TargetError::Unavailable(found))) => {
                self.breaker.failed(&found);
                self.metrics.unavailable.increment(1);
                Err(Failure::Unavailable(found.problem))
            }
            Err(_) => {
                let problem = format!("the {} did not answer in time", self.target.name());
                let found = Diagnostic::from(problem);
                self.breaker.failed(&found);
                self.metrics.timeouts.increment(1);
                Err(Failure::TooSlow(found.problem))
            }
        }
    }

    /// Writes the entries. When that takes long while requests still wait, because the spool is missing or slow too,
    /// another connection is tried concurrently: the first may be dead without an error.
    async fn attempt(
        &self,
        entries: &[EventInsert],
        is_wanted: impl Fn() -> bool,
    ) -> Result<Vec<Inserted>, TargetError> {
        let mut first = pin!(self.target.insert(entries));
        let alone = Instant::now() + self.limits.alone;
        match timeout_at(alone, &mut first).await {
            Ok(done) => return done,
            Err(_) if !is_wanted() => return first.await,
            Err(_) => {}
        }
        match select(first, self.target.insert(entries)).await {
            Either::Left((Err(TargetError::Unavailable(_)), second)) => second.await,
            Either::Right((Err(TargetError::Unavailable(_)), first)) => first.await,
            Either::Left((done, _)) | Either::Right((done, _)) => done,
        }
    }

    /// The changes of the read models by this event.
    fn changes(&self, ticket: &Ticket) -> Arc<[Change]> {
        match &ticket.changes {
            _ if !self.read_models => Arc::default(),
            Some(changes) => changes.clone(),
            None => {
                let mut event = Event::clone(&ticket.event);
                event.restore_body();
                projections::changes(&event).into()
            }
        }
    }

    /// Handles an event that was refused alone. Its changes of the read models must not lose it: it is retried
    /// without them, and then kept as a dead letter.
    async fn refused(&self, mut ticket: Ticket, reason: &str) -> Option<Ticket> {
        if self.changes(&ticket).is_empty() {
            self.park(ticket, reason).await;
            return None;
        }
        let event = &ticket.event;
        error!(event.id = %event.id, event.command = %event.command, reason,
            "refused with what it changes in calls and rooms; trying without");
        ticket.changes = Some(Arc::default());
        Some(ticket)
    }

    async fn park(&self, ticket: Ticket, reason: &str) {
        let event = &ticket.event;
        let parked = self.target.park(event, reason, self.clock.now());
        let result = match timeout(self.limits.answer, parked).await {
            Ok(Ok(())) => {
                error!(event.id = %event.id, event.command = %event.command, reason,
                    "the store refuses this event; it is in dead_letter_events");
                Ok(Outcome::DeadLetter)
            }
            Ok(Err(more)) => Err(format!("{reason}; not parked: {more}").into()),
            Err(_) => Err(format!("{reason}; not parked in time").into()),
        };
        ticket.finish(result);
    }
}

/// Why a group was not stored.
enum Failure {
    Refused(String),
    Unavailable(String),
    /// The attempt took as long as any request may wait.
    TooSlow(String),
}

fn fail(tickets: impl IntoIterator<Item = Ticket>, reason: &str) {
    let reason: Arc<str> = reason.into();
    for ticket in tickets {
        ticket.finish(Err(reason.clone()));
    }
}

/// The share of a ticket in the size of its group, in bytes: a small body may change many rows.
fn weight(ticket: &Ticket) -> usize {
    let rows = ticket.changes.as_ref().map_or(0, |changes| changes.len());
    ticket.event.payload.as_bytes().len() + rows * CHANGE_BYTES
}

/// Splits a batch into groups bounded in bytes by one statement or one commit of the spool. Popping them from the end
/// yields the original order.
pub(crate) fn by_bytes<T>(batch: Vec<T>, bytes_of: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0;
    for ticket in batch {
        let more = bytes_of(&ticket);
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
