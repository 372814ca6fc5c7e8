//! Publishes batches of events, and waits until the stream has acknowledged each.

use std::error::Error;
use std::sync::Arc;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use futures_util::future::join_all;

use crate::stream::connection::Connection;
use crate::stream::message::{message_of, subject_of};
use crate::telemetry::Metrics;
use protocol::Event;
use protocol::diagnostic::Diagnostic;

/// Publishes events.
pub(crate) struct Publisher {
    connection: Connection,
    subject: String,
    metrics: Arc<Metrics>,
}

/// Why an event was not acknowledged.
pub(crate) enum PublishFailure {
    /// It is refused for good.
    Refused(String),
    /// Nothing is taken now, or the acknowledgement was lost.
    Unavailable(Diagnostic),
}

/// The result of publishing an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    New,
    Duplicate,
}

impl Publisher {
    pub(crate) fn new(connection: Connection, subject: &str, metrics: &Arc<Metrics>) -> Self {
        Self { connection, subject: subject.to_owned(), metrics: metrics.clone() }
    }

    /// Publishes all of a batch. On a failure some of it may be in the stream, which takes a repeat once.
    pub(crate) async fn publish(
        &self,
        events: &[&Event],
    ) -> Result<Vec<Published>, PublishFailure> {
        let counts = &self.metrics.stream;
        if let Some(trouble) = self.connection.trouble() {
            counts.unavailable.increment(events.len() as u64);
            return Err(PublishFailure::Unavailable(trouble));
        }
        let mut acks = Vec::with_capacity(events.len());
        for event in events {
            let subject = subject_of(event, &self.subject);
            let sent = self.connection.publishing.send_publish(subject, message_of(event)).await;
            acks.push(async { sent?.await });
        }
        let mut published = Vec::with_capacity(events.len());
        let (mut refused, mut unavailable) = (None, None);
        let acks = tokio::select! {
            acks = join_all(acks) => acks,
            // None of them can come any more, and the earlier the spool is tried, the more time it has.
            trouble = self.connection.broken() => {
                counts.unavailable.increment(events.len() as u64);
                return Err(PublishFailure::Unavailable(trouble));
            }
        };
        for ack in acks {
            match ack {
                Ok(ack) if ack.duplicate => {
                    counts.duplicate.increment(1);
                    published.push(Published::Duplicate);
                }
                Ok(_) => {
                    counts.stored.increment(1);
                    published.push(Published::New);
                }
                Err(error) => match failure(&error) {
                    PublishFailure::Refused(reason) => {
                        counts.refused.increment(1);
                        refused = Some(reason);
                    }
                    PublishFailure::Unavailable(found) => {
                        let is_late = error.kind() == PublishErrorKind::TimedOut;
                        let count = if is_late { &counts.timeout } else { &counts.unavailable };
                        count.increment(1);
                        unavailable = Some(found);
                    }
                },
            }
        }
        match (unavailable, refused) {
            (Some(found), _) => Err(PublishFailure::Unavailable(found)),
            (None, Some(reason)) => Err(PublishFailure::Refused(reason)),
            (None, None) => Ok(published),
        }
    }
}

/// What an error means. A stream that is missing and one without a leader give the same error.
fn failure(error: &PublishError) -> PublishFailure {
    let unavailable =
        |problem: String, hint: &str| PublishFailure::Unavailable(Diagnostic::new(problem, hint));
    let code = error
        .source()
        .and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>())
        .map(async_nats::jetstream::Error::error_code);
    match (error.kind(), code) {
        (PublishErrorKind::MaxPayloadExceeded, _) => PublishFailure::Refused(format!(
            "larger than the servers of NATS take (`max_payload`): {error}"
        )),
        (
            _,
            Some(
                ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM
                | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM,
            ),
        ) => PublishFailure::Refused(format!("larger than the stream takes: {error}")),
        (_, Some(ErrorCode::STREAM_STORE_FAILED)) => unavailable(
            format!("the stream is full: {error}"),
            "see that writers run and the store takes events; `stream status` shows how far they are",
        ),
        (_, Some(ErrorCode::INSUFFICIENT_RESOURCES)) => unavailable(
            format!("the servers of NATS have no room: {error}"),
            "raise the limits of the account or the servers",
        ),
        (PublishErrorKind::StreamNotFound, _) => unavailable(
            "the stream is not there, or has no leader now".to_owned(),
            "an election takes some seconds; `stream status` tells whether the stream exists",
        ),
        (PublishErrorKind::TimedOut, _) => unavailable(
            "the stream did not acknowledge in time".to_owned(),
            "check that its disks have room, and the network to its servers",
        ),
        _ => unavailable(format!("publish: {error}"), "check the log of the servers"),
    }
}
