//! The only place that reads the wall clock. Everything else is handed the time. Pauses of background jobs
//! are varied here.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use protocol::UnixMillis;

/// Where the time comes from: the machine's clock, or one that a test sets.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `start` until [`Clock::set`] moves it. Clones share it.
    #[must_use]
    pub fn manual(start: UnixMillis) -> Self {
        Self(Some(Arc::new(AtomicI64::new(start.0))))
    }

    /// Moves a manual clock; the machine's clock stays as it is.
    pub fn set(&self, now: UnixMillis) {
        if let Some(manual) = &self.0 {
            manual.store(now.0, Ordering::Relaxed);
        }
    }

    /// The present moment.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the wall clock"
    )]
    pub fn now(&self) -> UnixMillis {
        match &self.0 {
            Some(manual) => UnixMillis(manual.load(Ordering::Relaxed)),
            None => UnixMillis(jiff::Timestamp::now().as_millisecond()),
        }
    }
}

/// A pause a little shorter than `most`, at random, so that servers that start together do not ask together.
pub(crate) fn jittered(most: Duration) -> Duration {
    most.mul_f64(0.8 + fastrand::f64() / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_until_it_is_set() {
        let clock = Clock::manual(UnixMillis(5));
        let other = clock.clone();
        clock.set(UnixMillis(7));
        assert_eq!(other.now(), UnixMillis(7));
    }
}
