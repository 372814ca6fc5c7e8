//! Replays: events that somebody wants again, beside those that are sent for the first time.
//!
//! They say nothing of the destination's health: one that fails opens no breaker, and one that is taken closes none. Somebody may ask
//! for events that the destination refused before, or no longer knows, and that must stop no new event. So replays have backoff of
//! their own: while they fail, one is sent at a time, after pauses that grow to a minute. There are two exceptions. An answer 410 pauses
//! the destination, whatever it answers. And where nothing else is left to send, a replay is the probe of an open breaker.

use std::time::Duration;

use protocol::UnixMillis;

use crate::answer::DestinationMeaning;
use crate::breaker::{FAILURES_MAX, PROBE_PAUSE_MAX};
use crate::schedule::jittered;
use crate::window::pace::Pace;

/// When the next replay may be sent.
#[derive(Debug, Clone)]
pub(super) struct ReplayLane {
    pace: Pace,
    /// No replay is sent before this moment.
    until: UnixMillis,
    /// The failures in a row after which there was a pause.
    failures: u32,
    /// The failures in a row that may each be the event's own.
    refusals: u32,
    in_flight: u32,
}

impl ReplayLane {
    /// Replays are sent at half of the destination's rate, so that live events have the other half; 0 for any rate.
    pub(super) fn new(rate_max: u32) -> Self {
        Self {
            pace: Pace::new(rate_max.div_ceil(2)),
            until: UnixMillis(0),
            failures: 0,
            refusals: 0,
            in_flight: 0,
        }
    }

    /// Whether one may be sent now.
    pub(super) fn is_open(&self, now: UnixMillis) -> bool {
        self.opens_at() <= now && (self.failures == 0 || self.in_flight == 0)
    }

    /// When the next one may be sent, unless an answer is waited for.
    pub(super) fn opens_at(&self) -> UnixMillis {
        self.pace.next_at().max(self.until)
    }

    pub(super) fn sent(&mut self, now: UnixMillis) {
        self.pace.sent(now);
        self.in_flight += 1;
    }

    pub(super) fn ended(
        &mut self,
        meaning: DestinationMeaning,
        now: UnixMillis,
        random: &mut fastrand::Rng,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match meaning {
            DestinationMeaning::Nothing | DestinationMeaning::Gone => {}
            DestinationMeaning::Works => (self.failures, self.refusals) = (0, 0),
            DestinationMeaning::Counts { of_several: true } => {
                self.refusals = self.refusals.saturating_add(1);
                if self.refusals >= FAILURES_MAX {
                    self.pause(None, now, random);
                }
            }
            DestinationMeaning::Counts { of_several: false } => self.pause(None, now, random),
            DestinationMeaning::Fails(wait) => self.pause(wait, now, random),
            DestinationMeaning::Misconfigured => {
                self.pause(Some(PROBE_PAUSE_MAX), now, random);
            }
        }
    }

    fn pause(&mut self, wait: Option<Duration>, now: UnixMillis, random: &mut fastrand::Rng) {
        let asked = now.plus(wait.unwrap_or_default());
        // Those that were sent before the pause add nothing to it.
        if self.until <= now {
            let doubled = Duration::from_secs(1).saturating_mul(1 << self.failures.min(6));
            self.failures = self.failures.saturating_add(1);
            self.until = now.plus(jittered(doubled.min(PROBE_PAUSE_MAX), random));
        }
        self.until = self.until.max(asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_795_943_259_000);

    fn lane(meanings: &[DestinationMeaning]) -> ReplayLane {
        let (mut lane, mut random) = (ReplayLane::new(0), fastrand::Rng::with_seed(1));
        for meaning in meanings {
            lane.sent(NOW);
            lane.ended(*meaning, NOW, &mut random);
        }
        lane
    }

    #[test]
    fn failures_pause_replays_and_a_success_ends_that() {
        let mut lane = lane(&[DestinationMeaning::Counts { of_several: false }]);
        assert!(!lane.is_open(NOW) && lane.opens_at().since(NOW) <= Duration::from_millis(1200));
        let mut random = fastrand::Rng::with_seed(1);
        let mut now = NOW;
        for _ in 0..10 {
            now = lane.opens_at();
            assert!(lane.is_open(now));
            lane.sent(now);
            assert!(!lane.is_open(now), "one at a time");
            lane.ended(DestinationMeaning::Fails(None), now, &mut random);
        }
        let pause = lane.opens_at().since(now);
        assert!((48..=72).contains(&pause.as_secs()), "{pause:?}");
        lane.sent(lane.opens_at());
        lane.ended(DestinationMeaning::Works, now, &mut random);
        assert_eq!((lane.failures, lane.refusals), (0, 0));
    }

    #[test]
    fn retry_after_is_obeyed_and_refusals_of_single_events_are_not_a_failure() {
        let wait = Duration::from_mins(7);
        let asked = lane(&[DestinationMeaning::Fails(Some(wait))]);
        assert_eq!(asked.opens_at(), NOW.plus(wait));
        let refused = DestinationMeaning::Counts { of_several: true };
        assert!(lane(&[refused; 4]).is_open(NOW));
        assert!(!lane(&[refused; 5]).is_open(NOW));
        let mixed = [refused, refused, refused, DestinationMeaning::Works, refused, refused];
        assert!(lane(&mixed).is_open(NOW));
    }

    #[test]
    fn replays_get_half_of_the_rate() {
        let mut lane = ReplayLane::new(7);
        lane.sent(NOW);
        lane.ended(DestinationMeaning::Works, NOW, &mut fastrand::Rng::with_seed(1));
        assert_eq!(lane.opens_at().since(NOW), Duration::from_millis(150), "4 a s, and a burst");
        assert!(ReplayLane::new(0).is_open(NOW));
    }
}
