//! The interface that receives verified events.

use std::time;

use async_trait::async_trait;

use crate::ingest::outcome::Outcome;
use protocol::Event;

/// Receives verified, decoded events: the server's own [`Ingest`](super::Ingest), or yours when you mount the
/// callback router in another app.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Submits one event, whose request `arrived` then. The vendor is answered when this returns, and waits at most 2
    /// s from that moment; after [`Outcome::New`] the event must survive a crash.
    ///
    /// Runs to completion even when the client disconnects.
    async fn submit(&self, event: Event, arrived: time::Instant) -> Outcome;
}
