//! Reads the stream: for writers by the consumer that they share, and for a replay from a moment on.

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

/// A message of the stream.
pub(crate) struct Delivered {
    /// Its event, or why it is none.
    pub(crate) event: Result<Event, String>,
    /// Its place in the stream.
    pub(crate) sequence: u64,
    /// Whether it was given before.
    pub(crate) again: bool,
    message: jetstream::Message,
}

impl Reader {
    /// By the consumer of the writers, which is made where it is missing.
    pub(crate) async fn shared(connection: &Connection, stream: &str) -> Result<Self, Diagnostic> {
        let stream = connection.api.get_stream(stream).await.map_err(|error| unread(&error))?;
        let consumer = stream.get_or_create_consumer(layout::CONSUMER, layout::consumer()).await;
        Ok(Self { consumer: consumer.map_err(|error| unread(&error))?, wait: FETCH_WAIT })
    }

    /// One of its own, which reads what came since then and acknowledges nothing. Says where in the stream it begins.
    pub(crate) async fn since(
        connection: &Connection,
        stream: &str,
        since: UnixMillis,
    ) -> Result<(Self, u64), Diagnostic> {
        let stream = connection.api.get_stream(stream).await.map_err(|error| unread(&error))?;
        let nanos = i128::from(since.0) * 1_000_000;
        let start_time = async_nats::datetime::from_nanos(nanos).map_err(|error| unread(&error))?;
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartTime { start_time },
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE_MAX,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|error| unread(&error))?;
        let first = consumer.cached_info().delivered.stream_sequence + 1;
        Ok((Self { consumer, wait: REPLAY_WAIT }, first))
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
    fn of(message: jetstream::Message) -> Self {
        let info = message.info().map_or((0, 1), |info| (info.stream_sequence, info.delivered));
        Self {
            event: event_of(message.headers.as_ref(), &message.payload),
            sequence: info.0,
            again: info.1 > 1,
            message,
        }
    }

    /// The id of its event, also of a message that cannot be read.
    pub(crate) fn id(&self) -> Uuid {
        let by_place = || Uuid::from_u128(u128::from(self.sequence));
        id_of(self.message.headers.as_ref()).unwrap_or_else(by_place)
    }

    /// What it holds.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.message.payload
    }

    /// Says that it is stored.
    pub(crate) async fn ack(&self) {
        // An acknowledgement that is lost means that it is given again, which the store notices.
        let _ = self.message.ack().await;
    }

    /// Gives it back for so long.
    pub(crate) async fn nak(&self, pause: Duration) {
        let _ = self.message.ack_with(AckKind::Nak(Some(pause))).await;
    }
}

fn unread(error: &dyn std::fmt::Display) -> Diagnostic {
    let hint = "`stream status` tells whether the stream exists; an election takes some seconds";
    Diagnostic::new(format!("read the stream: {error}"), hint)
}
