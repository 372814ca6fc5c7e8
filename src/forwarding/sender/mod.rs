//! What a kind of destination has to do: send one event once, and report the result.

pub(super) mod http;
#[cfg(feature = "nats")]
pub(super) mod nats;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use forward::answer::Meaning;
use forward::event_columns::EventColumns;

/// One try to send an event.
pub(super) struct Outgoing {
    /// The event.
    pub(super) event: Arc<EventColumns>,
    /// Its envelope.
    pub(super) body: String,
    /// Which try it is, from 1 on.
    pub(super) attempt: u32,
    /// Whether somebody asked to send it again.
    pub(super) replay: bool,
}

/// The result of one try.
pub(super) struct Sent {
    /// What the answer means.
    pub(super) meaning: Meaning,
    /// Its status.
    pub(super) status: Option<u16>,
    /// What went wrong, without what the destination answered.
    pub(super) problem: Option<String>,
    /// The beginning of what it answered.
    pub(super) excerpt: String,
    /// How long it took.
    pub(super) took: Duration,
}

/// A kind of destination, with what it needs to reach this one. There is a file for each kind.
#[async_trait]
pub(super) trait Sender: Send + Sync {
    /// Sends once, within the destination's timeout. Dropping the future gives up.
    async fn send(&self, outgoing: Outgoing) -> Sent;

    /// Looks at the destination when the server starts, beside sending. What it finds is logged.
    async fn prepare(&self) {}
}
