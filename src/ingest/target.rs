//! Where batches of events are written: the store, or in scale-out mode the stream.

use std::sync::Arc;

use async_trait::async_trait;

use crate::store::{EventInsert, Inserted, Store, StoreError};
use protocol::diagnostic::{Diagnostic, Hint};
use protocol::{Event, UnixMillis};

/// Takes batches of events for good: when it says so, they are durable. Repeats are harmless, since an event has its id.
#[async_trait]
pub(crate) trait BatchTarget: Send + Sync {
    /// What reasons call it.
    fn name(&self) -> &'static str;

    /// Takes all of `entries` and returns for each whether it was new. On an error it may have taken some.
    async fn insert(&self, entries: &[EventInsert]) -> Result<Vec<Inserted>, TargetError>;

    /// Keeps an event that it refuses as a dead letter, or says why it does not.
    async fn park(&self, event: &Event, reason: &str, now: UnixMillis) -> Result<(), String>;
}

/// Why a batch was not taken.
#[derive(Debug)]
pub(crate) enum TargetError {
    /// One of its events is refused. Permanent.
    Refused(String),
    /// The target takes nothing now. A retry may succeed.
    Unavailable(Diagnostic),
}

/// The store as a target.
pub(crate) struct StoreTarget(pub(crate) Arc<dyn Store>);

#[async_trait]
impl BatchTarget for StoreTarget {
    fn name(&self) -> &'static str {
        "store"
    }

    async fn insert(&self, entries: &[EventInsert]) -> Result<Vec<Inserted>, TargetError> {
        self.0.insert(entries).await.map_err(|error| match error {
            refusal @ StoreError::Refused(_) => TargetError::Refused(refusal.to_string()),
            error => TargetError::Unavailable(error.diagnostic()),
        })
    }

    async fn park(&self, event: &Event, reason: &str, now: UnixMillis) -> Result<(), String> {
        self.0.park(event, reason, now).await.map_err(|error| error.to_string())
    }
}
