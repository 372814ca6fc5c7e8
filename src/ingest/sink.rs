//! What takes verified events.

use std::time;

use async_trait::async_trait;

use crate::callback::Event;
use crate::ingest::outcome::Outcome;

/// What takes verified, decoded events: the server's own [`Ingest`](super::Ingest), or yours where you mount the callback router in
/// another app.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Takes one event, whose request `arrived` then. The vendor is answered when this returns, and waits for 2 s from
    /// that moment at most; after [`Outcome::New`] the event must survive a crash.
    ///
    /// It is run to its end, also when the client goes away before its answer.
    async fn submit(&self, event: Event, arrived: time::Instant) -> Outcome;
}
