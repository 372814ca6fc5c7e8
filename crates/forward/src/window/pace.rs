//! A rate limit: so many events per second, evenly spread.

use protocol::UnixMillis;

/// The longest time for which unused room is saved up.
const BURST_US: i64 = 100_000;

/// When the next event may be sent.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// The time of one event; 0 where there is no limit.
    event_us: i64,
    /// When the next event may be sent, in microseconds since 1970.
    next_us: i64,
}

impl Pace {
    /// So many events per second; 0 for any number.
    pub(super) fn new(rate_max: u32) -> Self {
        let event_us = if rate_max == 0 { 0 } else { 1_000_000 / i64::from(rate_max) };
        Self { event_us, next_us: 0 }
    }

    /// When the next event may be sent.
    pub(super) fn next_at(&self) -> UnixMillis {
        UnixMillis(self.next_us.saturating_add(999).div_euclid(1000))
    }

    /// An event is sent.
    pub(super) fn sent(&mut self, now: UnixMillis) {
        let earliest = now.0.saturating_mul(1000).saturating_sub(BURST_US);
        self.next_us = self.next_us.max(earliest).saturating_add(self.event_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many events are sent within this time, by one who always has more.
    fn sent(rate_max: u32, ms: i64) -> i64 {
        let mut pace = Pace::new(rate_max);
        let mut sent = 0;
        for ms in 0..ms {
            let now = UnixMillis(1_795_943_259_000 + ms);
            // No more than these at one moment, where there is no limit.
            for _ in 0..10 {
                if pace.next_at() <= now {
                    pace.sent(now);
                    sent += 1;
                }
            }
        }
        sent
    }

    #[test]
    fn events_are_spread_and_little_is_saved_up() {
        assert_eq!(sent(0, 10), 100, "no limit");
        for (rate, most) in [(1, 11), (7, 72), (100, 1011), (1000, 10_101)] {
            let sent = sent(rate, 10_000);
            assert!(sent <= most && sent >= 10 * i64::from(rate) - 1, "{rate}: {sent}");
        }
        assert_eq!(Pace::new(u32::MAX).event_us, 0, "as good as none");
    }
}
