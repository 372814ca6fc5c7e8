//! Rate limit of wrong tokens: each is counted, the log warns once a minute, and beyond the limit answers no longer say that the
//! token was wrong.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::Counter;
use tracing::warn;

use protocol::UnixMillis;
use receiver::LogThrottle;

/// Maximum number of wrong tokens answered as such within [`WITHIN`], for all clients together.
const MAX: usize = 10;
const WITHIN: Duration = Duration::from_mins(1);

/// The wrong tokens of API, metrics and sign-in together. The right token is always accepted: otherwise an attacker
/// could lock out its owner. Guessing is prevented by the token's length.
pub(crate) struct Guesses {
    counter: Counter,
    lately: Mutex<Lately>,
}

#[derive(Default)]
struct Lately {
    /// The times of those answered as such.
    answered: VecDeque<UnixMillis>,
    warning: LogThrottle,
}

impl Guesses {
    pub(crate) fn new(counter: Counter) -> Self {
        Self { counter, lately: Mutex::default() }
    }

    /// Counts a wrong token of this peer. Returns how long to wait before the next one is answered as such; `None`
    /// where this one is.
    pub(crate) fn wrong(&self, peer: Option<IpAddr>, now: UnixMillis) -> Option<Duration> {
        self.counter.increment(1);
        // A poisoned lock only means that another request panicked; each change is complete.
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(more) = lately.warning.due(now) {
            let peer = peer.map(|peer| peer.to_string());
            warn!(
                peer = peer.as_deref().unwrap_or("unknown"),
                more_since_last_warning = more,
                "a wrong token was given to the operations listener"
            );
        }
        // After the clock was set back, the wait must not grow.
        lately.answered.retain(|guess| *guess <= now && now.since(*guess) < WITHIN);
        if lately.answered.len() < MAX {
            lately.answered.push_back(now);
            return None;
        }
        let oldest = lately.answered.front()?;
        Some(WITHIN.saturating_sub(now.since(*oldest)).max(Duration::from_secs(1)))
    }
}

#[cfg(test)]
mod tests {
    use crate::http::ops::guess_limit::*;

    #[test]
    fn guesses_are_limited_and_allowed_again_later() {
        let (guesses, now) = (Guesses::new(Counter::noop()), UnixMillis(1_000_000));
        for _ in 0..MAX {
            assert_eq!(guesses.wrong(None, now), None);
        }
        assert_eq!(guesses.wrong(None, now), Some(WITHIN));
        assert_eq!(guesses.wrong(None, now.plus(WITHIN / 2)), Some(WITHIN / 2));
        assert_eq!(guesses.wrong(None, now.plus(WITHIN)), None);
        // A clock that was set back starts afresh.
        assert_eq!(guesses.wrong(None, UnixMillis(0)), None);
    }
}
