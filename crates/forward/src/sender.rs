//! A kind of destination: how one event is sent once.
//!
//! A [`Sender`] says what an answer [means](crate::answer) and nothing more. Order, retries, dead letters, the breaker and filters are
//! the same for all kinds, so it must neither try again nor wait for another event, and must not answer before the event is kept at the
//! other end. `examples/redis_stream.rs` is a kind that the server does not have.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::answer::Meaning;
use crate::event_columns::EventColumns;

/// One attempt to send an event.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The event.
    pub event: Arc<EventColumns>,
    /// Its [envelope](crate::envelope).
    pub body: String,
    /// Which attempt it is, from 1 on.
    pub attempt: u32,
    /// Whether somebody asked to send it again.
    pub replay: bool,
}

/// The result of one attempt.
#[derive(Debug, Clone)]
pub struct Sent {
    /// What the answer means.
    pub meaning: Meaning,
    /// Its status; absent where there is none, or the kind has no statuses.
    pub status: Option<u16>,
    /// What went wrong, without what the destination answered: it is logged.
    pub problem: Option<String>,
    /// The beginning of what it answered: it is kept and shown, and never logged.
    pub excerpt: String,
    /// How long it took.
    pub took: Duration,
}

/// A kind of destination, with what it needs to reach this one. It is called concurrently, at most as often as `in_flight_max` says.
#[async_trait]
pub trait Sender: Send + Sync {
    /// Sends once, within the destination's timeout. Dropping the future gives up.
    async fn send(&self, outgoing: Outgoing) -> Sent;

    /// Looks at the destination when the server starts, beside sending. What it finds is logged.
    async fn prepare(&self) {}
}
