//! How long and how often a call is tried.

use std::time::Duration;

use crate::error::Failure;
use crate::error_codes::Retry;

/// How long and how often one call is tried.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a connection may take.
    pub connect: Duration,
    /// How long one try may take from begin to end. The vendor gives up after 3 s; only after that may we.
    pub one_try: Duration,
    /// How long all tries may take together, pauses included.
    pub all_tries: Duration,
    /// How often one call is tried.
    pub tries_max: u32,
    /// The pause before the second try; it doubles from one to the next, and is four times as long where there were too
    /// many calls.
    pub pause: Duration,
    /// How long an answer may be, in bytes.
    pub answer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(4),
            one_try: Duration::from_secs(6),
            all_tries: Duration::from_secs(25),
            tries_max: 4,
            pause: Duration::from_millis(300),
            answer_bytes_max: 1 << 20,
        }
    }
}

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Limits {
    /// How long to wait after so many tries; `None` where another try has no sense.
    pub(crate) fn pause_after(&self, failure: &Failure, tries: u32) -> Option<Duration> {
        self.pause_of(failure.retry(), tries)
    }

    /// The same by whether to try once more: at random between the half and the whole, so that several clients part.
    pub(crate) fn pause_of(&self, retry: Retry, tries: u32) -> Option<Duration> {
        let first = match retry {
            Retry::Never => return None,
            Retry::Soon => self.pause,
            Retry::Slowly => self.pause.saturating_mul(4),
        };
        let doublings = tries.saturating_sub(1).min(10);
        let whole = first.saturating_mul(1 << doublings).min(PAUSE_MAX);
        Some(whole.mul_f64(0.5 + fastrand::f64() / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: i64) -> Failure {
        Failure::Refused { code, info: String::new() }
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_vary() {
        let limits = Limits { pause: Duration::from_millis(100), ..Limits::default() };
        for (failure, tries, whole_ms) in [
            (refused(60008), 1, 100),
            (refused(60008), 2, 200),
            (refused(60008), 3, 400),
            (refused(60007), 1, 400),
            (Failure::Status(502), 1, 100),
            (Failure::TimedOut(Duration::ZERO), 1, 100),
            (refused(60008), 40, 5000),
        ] {
            let pauses = (0..50).map(|_| limits.pause_after(&failure, tries).unwrap());
            let pauses: std::collections::BTreeSet<Duration> = pauses.collect();
            let whole = Duration::from_millis(whole_ms);
            assert!(pauses.len() > 1, "{failure:?}");
            assert!(pauses.iter().all(|pause| (whole / 2..=whole).contains(pause)), "{pauses:?}");
        }
    }

    #[test]
    fn permanent_errors_are_not_retried() {
        for failure in
            [refused(70009), refused(424_242), Failure::Status(404), Failure::TooLarge(1)]
        {
            assert_eq!(Limits::default().pause_after(&failure, 1), None);
        }
    }
}
