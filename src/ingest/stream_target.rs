//! The stream as a target of batches (scale-out mode).

use async_trait::async_trait;

use crate::ingest::target::{BatchTarget, TargetError};
use crate::store::{EventInsert, Inserted};
use crate::stream::publisher::{PublishFailure, Published, Publisher};
use protocol::{Event, UnixMillis};

/// Publishes batches.
pub(crate) struct StreamTarget(pub(crate) Publisher);

#[async_trait]
impl BatchTarget for StreamTarget {
    fn name(&self) -> &'static str {
        "stream"
    }

    async fn insert(&self, entries: &[EventInsert]) -> Result<Vec<Inserted>, TargetError> {
        let events: Vec<&Event> = entries.iter().map(|entry| &*entry.event).collect();
        match self.0.publish(&events).await {
            Ok(published) => Ok(published
                .into_iter()
                .map(|published| match published {
                    Published::New => Inserted::New,
                    Published::Duplicate => Inserted::Duplicate,
                })
                .collect()),
            Err(PublishFailure::Refused(reason)) => Err(TargetError::Refused(reason)),
            Err(PublishFailure::Unavailable(found)) => Err(TargetError::Unavailable(found)),
        }
    }

    /// Dead letters are in the store, which a receiver has not: the event goes to the spool, until the stream takes it.
    async fn park(&self, _: &Event, _: &str, _: UnixMillis) -> Result<(), String> {
        Err("the stream has no dead letters".to_owned())
    }
}
