//! Notices that the machine was asleep, or this process stopped: what waited for an answer meanwhile may wait for ever.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::clock::Clock;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How late a look may be on a busy machine.
const LATE_MAX: Duration = Duration::from_secs(4);

/// The wall clock goes on while the machine sleeps, and the timers of a process do not fire.
pub(super) struct Suspension {
    clock: Clock,
    slept_ms: AtomicU64,
    noticed: Notify,
}

impl Suspension {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, slept_ms: AtomicU64::new(0), noticed: Notify::new() }
    }

    /// Looks at the clock, for ever. To be polled before whatever waits for [`Suspension::noticed`].
    pub(super) async fn watch(&self) -> Infallible {
        loop {
            let before = self.clock.now();
            sleep(TICK).await;
            let passed = self.clock.now().since(before);
            if passed > TICK + LATE_MAX {
                let ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
                self.slept_ms.fetch_max(ms, Ordering::Relaxed);
                self.noticed.notify_one();
            }
        }
    }

    /// Waits until the machine woke from a sleep, and says how long that was.
    pub(super) async fn noticed(&self) -> Duration {
        self.noticed.notified().await;
        Duration::from_millis(self.slept_ms.swap(0, Ordering::Relaxed))
    }
}
