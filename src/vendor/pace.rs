//! How fast the vendor is called.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The vendor takes 200 calls a second. That is one every 5 ms; a little more, since calls are delayed unequally on
/// their way.
const SPACING: Duration = Duration::from_millis(6);

/// Lets one call go after the other, with a pause between them.
#[derive(Debug)]
pub(super) struct Pace {
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { next: Mutex::new(Instant::now()) }
    }

    /// Waits for this call's turn.
    pub(super) async fn turn(&self) {
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + SPACING;
            turn
        };
        sleep_until(turn).await;
    }
}
