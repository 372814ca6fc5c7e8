//! The time budget of one event.

use std::time::Duration;

use tokio::time::Instant;

use crate::settings::IngestSettings;

/// The minimum budget of an event, however late its body was complete: a slow sender must not lose it, only get its
/// answer late.
const LEAST: Duration = Duration::from_millis(400);
/// The part of that in which only the store is tried.
const LEAST_ALONE: Duration = Duration::from_millis(200);

/// The configured time limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// From the arrival of a request to its answer; also the timeout of one attempt to store, so that none is
    /// cancelled for which a request still waits.
    pub(crate) answer: Duration,
    /// The time without a commit after which the spool is tried concurrently.
    pub(crate) alone: Duration,
}

/// The time budget of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// When the spool is tried beside the store.
    pub(crate) beside: Instant,
    /// The deadline: an event that is not durable by then goes to the error log.
    pub(crate) end: Instant,
}

impl Limits {
    pub(crate) fn of(settings: &IngestSettings) -> Self {
        Self {
            answer: Duration::from_millis(settings.answer_deadline_ms),
            alone: Duration::from_millis(settings.ack_deadline_ms),
        }
    }

    /// The budget of an event whose request `arrived` then and was complete at `now`.
    pub(crate) fn budget(self, arrived: Instant, now: Instant) -> Budget {
        Budget {
            beside: (arrived + self.alone).max(now + self.alone.min(LEAST_ALONE)),
            end: (arrived + self.answer).max(now + self.answer.min(LEAST)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_already_spent_counts_and_leaves_a_minimum_budget() {
        let millis = Duration::from_millis;
        let limits = Limits { answer: millis(1900), alone: millis(1600) };
        let arrived = Instant::now();
        for (came, beside, end) in
            [(0, 1600, 1900), (700, 1600, 1900), (1450, 1650, 1900), (9000, 9200, 9400)]
        {
            let expected = Budget { beside: arrived + millis(beside), end: arrived + millis(end) };
            assert_eq!(limits.budget(arrived, arrived + millis(came)), expected);
        }
        let short = Limits { answer: millis(20), alone: millis(10) };
        let expected = Budget { beside: arrived + millis(10), end: arrived + millis(20) };
        assert_eq!(short.budget(arrived, arrived), expected);
    }
}
