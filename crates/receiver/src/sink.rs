//! The interface that receives events.

use std::time::Instant;

use async_trait::async_trait;
use protocol::Event;

/// Takes verified, decoded events: the code of yours that stores them, or does something else with them.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Submits one event, whose request `arrived` then. The vendor is answered when this returns, and waits at most 2
    /// s from that moment; after [`Outcome::New`] the event must survive a crash.
    ///
    /// Runs to completion even when the client disconnects.
    async fn submit(&self, event: Event, arrived: Instant) -> Outcome;
}

/// The outcome of one submitted event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored now.
    New,
    /// It was stored before.
    Duplicate,
    /// The store refused it as a row and keeps it whole as a dead letter.
    DeadLetter,
    /// The store does not take it now: a spool has it, from which it will be replayed.
    Spooled,
    /// It could not be kept in time. At most a log has it.
    NotStored,
}
