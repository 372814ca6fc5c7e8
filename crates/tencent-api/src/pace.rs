//! How fast the vendor is called.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// The vendor takes 200 calls a second of the callback configuration. That is one every 5 ms; a little more, since calls are delayed unequally on
/// their way.
pub(crate) const SPACING: Duration = Duration::from_millis(6);

/// Lets one call go after the other, with a pause between them.
#[derive(Debug)]
pub(crate) struct Pace {
    spacing: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new(spacing: Duration) -> Self {
        Self { spacing, next: Mutex::new(Instant::now()) }
    }

    /// Waits for this call's turn, in order of arrival.
    pub(crate) async fn turn(&self) {
        // The pause counts from when a call went, not from when it was to go: after a standstill all would go at once.
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        *next = Instant::now() + self.spacing;
    }
}
