//! Throttles a warning.

use std::time::Duration;

use protocol::UnixMillis;

/// Interval between two warnings of the same kind.
const PAUSE: Duration = Duration::from_mins(1);

/// Lets one warning of its kind through per minute, and counts the suppressed ones.
#[derive(Debug, Default)]
pub struct LogThrottle {
    logged_at: Option<UnixMillis>,
    suppressed: u64,
}

impl LogThrottle {
    /// The number of suppressed warnings if another one is due.
    pub fn due(&mut self, now: UnixMillis) -> Option<u64> {
        let silent = self.logged_at.is_some_and(|logged| now < logged.plus(PAUSE) && now >= logged);
        if silent {
            self.suppressed += 1;
            return None;
        }
        let more = self.suppressed;
        *self = Self { logged_at: Some(now), suppressed: 0 };
        Some(more)
    }
}
