//! Stores the events of the stream (scale-out mode): fetches some, writes them as one batch, acknowledges each once it is
//! committed. What is given twice, the store has already.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::ingest::batch_writer::{BatchWriter, Ticket};
use crate::store::Store;
use crate::stream::connection::Connection;
use crate::stream::reader::{Delivered, Message, Reader};
use crate::telemetry::{Metrics, OnChange};
use protocol::diagnostic::Diagnostic;
use protocol::event::Payload;
use protocol::{AppId, Body, Command, Event};

/// For how long an event is given back that could not be stored: another writer would fail, too.
const GIVEN_BACK: Duration = Duration::from_secs(30);
/// How often a store or stream that is away is asked whether it is back.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long the store may take to answer.
const PING_WAIT: Duration = Duration::from_secs(2);

/// Stores the events of the stream.
#[derive(Clone)]
pub(crate) struct StreamWriter {
    pub(crate) connection: Connection,
    /// The stream's name.
    pub(crate) stream: String,
    pub(crate) writer: Arc<BatchWriter>,
    pub(crate) store: Arc<dyn Store>,
    /// How many events are fetched at once.
    pub(crate) rows_max: usize,
    /// Cancelled once the store is ready, and once the stream is.
    pub(crate) ready: [CancellationToken; 2],
    /// Cancelled when the server stops: what is fetched is still stored.
    pub(crate) stop: CancellationToken,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
}

impl StreamWriter {
    /// Runs until the stop. It may be dropped at any point: what was not acknowledged is given again.
    pub(crate) async fn run(self) {
        for ready in &self.ready {
            tokio::select! {
                () = ready.cancelled() => {}
                () = self.stop.cancelled() => return,
            }
        }
        let (mut reader, mut logged) = (None, OnChange::default());
        let mut rows = self.rows_max;
        while !self.stop.is_cancelled() {
            match self.round(&mut reader, rows).await {
                Ok(true) => {
                    if logged.clear() {
                        info!("the stream is read again");
                    }
                    rows = self.rows_max;
                }
                // The next one probes the store.
                Ok(false) => {
                    rows = 1;
                    self.store_back().await;
                }
                Err(found) => {
                    reader = None;
                    if logged.is_new(&found) {
                        let Diagnostic { problem: reason, hint } = found;
                        warn!(reason, hint, "the stream is not read; trying again");
                    }
                    self.pause().await;
                }
            }
        }
        // Acknowledgements that do not leave would make others store these events again.
        self.connection.flush().await;
    }

    /// Fetches some events and stores them; `false` where the store did not take all.
    async fn round(&self, reader: &mut Option<Reader>, rows: usize) -> Result<bool, Diagnostic> {
        if let Some(trouble) = self.connection.trouble() {
            return Err(trouble);
        }
        let reader = match reader {
            Some(reader) => reader,
            none => none.insert(Reader::shared(&self.connection, &self.stream).await?),
        };
        let delivered = reader.fetch(rows).await?;
        Ok(delivered.is_empty() || self.store(delivered).await)
    }

    async fn store(&self, delivered: Vec<Delivered>) -> bool {
        let again = delivered.iter().filter(|one| one.again).count();
        self.metrics.stream.redelivered.increment(again as u64);
        let (mut tickets, mut waiting, mut all) = (Vec::new(), Vec::new(), true);
        for Delivered { event, message, .. } in delivered {
            match event {
                Ok(event) => {
                    let (answer, outcome) = oneshot::channel();
                    let event = Arc::new(event);
                    tickets.push(Ticket { event, changes: None, bypass_breaker: true, answer });
                    waiting.push((message, outcome));
                }
                Err(reason) => all &= self.dead_letter(&message, &reason).await,
            }
        }
        self.writer.write_once(tickets).await;
        for (message, outcome) in waiting {
            // A ticket is dropped without an outcome only when the writer panics.
            if let Ok(Ok(_)) = outcome.await {
                message.ack().await;
            } else {
                all = false;
                message.nak(GIVEN_BACK).await;
            }
        }
        all
    }

    /// Keeps a message that is no record of ours, so that it is neither lost nor given again for ever.
    async fn dead_letter(&self, message: &Message, reason: &str) -> bool {
        let now = self.clock.now();
        // Its app is not known, and ids begin with 1.
        let Some(app) = AppId::parse("1") else { return false };
        let row = Command::of_stored("", "unknown");
        let event = Event {
            id: message.id(),
            app,
            family: row.family,
            command: "unknown".into(),
            command_sent: None,
            kind: row.kind,
            event_time: now,
            timed: false,
            unchecked: false,
            received_at: now,
            call_id: None,
            room_id: None,
            operator: None,
            client_ip: None,
            platform: None,
            request_id: None,
            query: None,
            payload: Payload::Raw(message.payload().to_vec()),
            body: Body::Untyped,
            decode_error: None,
            decode_panicked: false,
        };
        let place = message.sequence;
        let reason = format!("message {place} of the stream is no record of an event: {reason}");
        let parked = timeout(PING_WAIT, self.store.park(&event, &reason, now)).await;
        let is_parked = matches!(parked, Ok(Ok(())));
        if is_parked {
            self.metrics.stream.unreadable.increment(1);
            error!(event.id = %event.id, reason, "kept in dead_letter_events");
            message.ack().await;
        } else {
            message.nak(GIVEN_BACK).await;
        }
        is_parked
    }

    /// Waits until the store answers, or the stop.
    async fn store_back(&self) {
        loop {
            self.pause().await;
            let back = matches!(timeout(PING_WAIT, self.store.ping()).await, Ok(Ok(())));
            if back || self.stop.is_cancelled() {
                return;
            }
        }
    }

    async fn pause(&self) {
        tokio::select! {
            () = sleep(RETRY_PAUSE) => {}
            () = self.stop.cancelled() => {}
        }
    }
}
