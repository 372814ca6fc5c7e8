//! A destination, and what forwarding to it needs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::forwarding::database::Database;
use crate::telemetry::DestinationMetrics;
use forward::destination::Destination;
use forward::sender::Sender;

/// For how long a lease holds. Another server takes over this long after one died, and a moment.
pub(super) const LEASE: Duration = Duration::from_secs(2);

/// A destination, and what forwarding to it needs.
#[derive(Clone)]
pub(super) struct Forwarder {
    pub(super) destination: Arc<Destination>,
    pub(super) sender: Arc<dyn Sender>,
    /// How many bytes of events it may hold: all destinations share what one would have.
    pub(super) window_bytes: usize,
    pub(super) database: Arc<Database>,
    pub(super) end: watch::Receiver<i64>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<DestinationMetrics>,
    /// This server's name among those that could forward.
    pub(super) holder: Arc<str>,
    pub(super) stop: CancellationToken,
    /// From which age on what waits is about to be deleted before it is sent.
    pub(super) age_max: Option<Duration>,
}
