//! The time budget of one event.

use std::time::Duration;

use tokio::time::Instant;

use crate::settings::IngestSettings;

/// What an event has at least, however late it came: one whose body was slow is not lost for that. Its answer is late by its
/// sender's own fault.
const LEAST: Duration = Duration::from_millis(400);
/// How much of that the store has for itself.
const LEAST_ALONE: Duration = Duration::from_millis(200);

/// How long things may take, as the settings want it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// From the arrival of a request to its answer, whatever happens in between; also how long one attempt to store may take,
    /// so that none is given up for which anybody still waits.
    pub(crate) answer: Duration,
    /// After which time without a commit another way is tried beside it.
    pub(crate) alone: Duration,
}

/// The time of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// When the spool is tried beside the store.
    pub(crate) beside: Instant,
    /// When the event is given up: what is not durable by then goes to the error log.
    pub(crate) end: Instant,
}

impl Limits {
    pub(crate) fn of(settings: &IngestSettings) -> Self {
        Self {
            answer: Duration::from_millis(settings.answer_deadline_ms),
            alone: Duration::from_millis(settings.ack_deadline_ms),
        }
    }

    /// The time of an event whose request `arrived` then, and which is whole `now`.
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
    fn what_came_before_counts_and_a_slow_body_leaves_a_moment() {
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
