//! Reads the stream: for writers by the consumer that they share, and for a replay from a moment on.

use std::mem::take;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::{self, AckKind};
use futures_util::StreamExt;
use uuid::Uuid;

use crate::stream::connection::Connection;
use crate::stream::layout;
use crate::stream::message::{event_of, id_of};
use protocol::diagnostic::Diagnostic;
use protocol::{Event, UnixMillis};

/// How long a request for events waits for so many. It is too short for heartbeats to tell anything: a request ends with it,
/// and the next one finds out whether the server is there.
const FETCH_WAIT: Duration = Duration::from_millis(100);
/// The same of a replay, which knows that there are some.
const REPLAY_WAIT: Duration = Duration::from_secs(1);
/// For how long the server keeps a reader that asks no more.
const INACTIVE_MAX: Duration = Duration::from_mins(1);

/// A reader of the stream.
pub(crate) struct Reader {
    consumer: Consumer<pull::Config>,
    wait: Duration,
}

/// What was read of the stream.
pub(crate) struct Delivered {
    /// Its event, or why it is none.
    pub(crate) event: Result<Event, String>,
    /// Whether it was given before.
    pub(crate) again: bool,
    pub(crate) message: Message,
}

/// A message of the stream. One of an event holds nothing: the event has all of it.
pub(crate) struct Message {
    /// Its place in the stream.
    pub(crate) sequence: u64,
    /// Its place in what its consumer gave, from 1 on.
    pub(crate) given: u64,
    inner: jetstream::Message,
}

impl Reader {
    /// By the consumer of the writers, which is made where it is missing.
    pub(crate) async fn shared(connection: &Connection, stream: &str) -> Result<Self, Diagnostic> {
        let stream = connection.api.get_stream(stream).await.map_err(|error| unread(&error))?;
        let consumer = stream.get_or_create_consumer(layout::CONSUMER, layout::consumer()).await;
        let consumer = consumer.map_err(|error| unread(&error))?;
        layout::judge_consumer(consumer.cached_info())?;
        Ok(Self { consumer, wait: FETCH_WAIT })
    }

    /// One of its own, which reads what came since then and acknowledges nothing. Says where in the stream it begins.
    pub(crate) async fn since(
        connection: &Connection,
        stream: &str,
        since: UnixMillis,
    ) -> Result<(Self, u64), Diagnostic> {
        let nanos = i128::from(since.0) * 1_000_000;
        let start_time = async_nats::datetime::from_nanos(nanos).map_err(|error| unread(&error))?;
        let policy = DeliverPolicy::ByStartTime { start_time };
        let reader = Self::alone(connection, stream, policy).await?;
        let first = reader.consumer.cached_info().delivered.stream_sequence + 1;
        Ok((reader, first))
    }

    /// The same from this place on.
    pub(crate) async fn from(
        connection: &Connection,
        stream: &str,
        start_sequence: u64,
    ) -> Result<Self, Diagnostic> {
        let policy = DeliverPolicy::ByStartSequence { start_sequence };
        Self::alone(connection, stream, policy).await
    }

    async fn alone(
        connection: &Connection,
        stream: &str,
        deliver_policy: DeliverPolicy,
    ) -> Result<Self, Diagnostic> {
        let stream = connection.api.get_stream(stream).await.map_err(|error| unread(&error))?;
        let config = pull::Config {
            deliver_policy,
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE_MAX,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|error| unread(&error))?;
        Ok(Self { consumer, wait: REPLAY_WAIT })
    }

    /// What is there, at most so much; waits a moment for it.
    pub(crate) async fn fetch(&self, rows: usize) -> Result<Vec<Delivered>, Diagnostic> {
        let batch = self.consumer.batch().max_messages(rows).expires(self.wait).messages().await;
        let mut batch = batch.map_err(|error| unread(&error))?;
        let mut delivered = Vec::new();
        while let Some(message) = batch.next().await {
            match message {
                Ok(message) => delivered.push(Delivered::of(message)),
                // What was given is worth the more: a failure that stays is met again by the next request.
                Err(_) if !delivered.is_empty() => break,
                Err(error) => return Err(unread(&error)),
            }
        }
        Ok(delivered)
    }

    /// Gives up a reader of its own.
    pub(crate) async fn close(self, connection: &Connection) {
        let info = self.consumer.cached_info();
        if let Ok(stream) = connection.api.get_stream(&info.stream_name).await {
            // Else the server forgets it after a while.
            let _ = stream.delete_consumer(&info.name).await;
        }
    }
}

impl Delivered {
    fn of(mut message: jetstream::Message) -> Self {
        let (sequence, given, deliveries) = message.info().map_or((0, 0, 1), |info| {
            (info.stream_sequence, info.consumer_sequence, info.delivered)
        });
        let event = event_of(message.headers.as_ref(), &message.payload);
        if event.is_ok() {
            drop((message.message.headers.take(), take(&mut message.message.payload)));
        }
        let message = Message { sequence, given, inner: message };
        Self { event, again: deliveries > 1, message }
    }
}

impl Message {
    /// The id that one has which cannot be read.
    pub(crate) fn id(&self) -> Uuid {
        let by_place = || Uuid::from_u128(u128::from(self.sequence));
        id_of(self.inner.headers.as_ref()).unwrap_or_else(by_place)
    }

    /// What one holds that cannot be read.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.inner.payload
    }

    /// Says that it is stored.
    pub(crate) async fn ack(&self) {
        // An acknowledgement that is lost means that it is given again, which the store notices.
        let _ = self.inner.ack().await;
    }

    /// Gives it back for so long.
    pub(crate) async fn nak(&self, pause: Duration) {
        let _ = self.inner.ack_with(AckKind::Nak(Some(pause))).await;
    }
}

fn unread(error: &dyn std::fmt::Display) -> Diagnostic {
    let hint = "`stream status` tells whether the stream exists; an election takes some seconds";
    Diagnostic::new(format!("read the stream: {error}"), hint)
}
