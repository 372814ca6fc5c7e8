//! When an event that failed alone is tried again.

use std::time::Duration;

/// The standard's example: ten attempts in 75 h 35 min.
pub const STANDARD_S: [u32; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// The pauses between attempts: one attempt more than there are pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

impl Schedule {
    /// The most pauses that a schedule has.
    pub const PAUSES_MAX: usize = 20;
    /// The longest time that all pauses may take together.
    pub const SUM_MAX: Duration = Duration::from_hours(14 * 24);

    /// The schedule of these pauses in seconds.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of_seconds(pauses: &[u32]) -> Result<Self, ScheduleError> {
        if pauses.is_empty() || pauses.len() > Self::PAUSES_MAX {
            return Err(ScheduleError::Count(pauses.len()));
        }
        if pauses.contains(&0) {
            return Err(ScheduleError::Zero);
        }
        let pauses: Vec<Duration> =
            pauses.iter().map(|pause| Duration::from_secs(u64::from(*pause))).collect();
        let sum: Duration = pauses.iter().sum();
        if sum > Self::SUM_MAX {
            return Err(ScheduleError::Sum(sum));
        }
        Ok(Self(pauses))
    }

    /// The pause after this many attempts that failed, a fifth more or less at random, so that events that failed together do not
    /// come back together; `None` after the last attempt.
    #[must_use]
    pub fn pause_after(&self, attempts: u32, random: &mut fastrand::Rng) -> Option<Duration> {
        let place = usize::try_from(attempts).ok()?.checked_sub(1)?;
        self.0.get(place).map(|pause| jittered(*pause, random))
    }

    /// The longest pause, for an event that must wait though its attempts are used up.
    #[must_use]
    pub fn pause_max(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    /// How often an event is tried.
    #[must_use]
    pub fn attempts_max(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX).saturating_add(1)
    }
}

/// The standard's example.
impl Default for Schedule {
    fn default() -> Self {
        Self(STANDARD_S.iter().map(|pause| Duration::from_secs(u64::from(*pause))).collect())
    }
}

/// This long, a fifth more or less.
pub(crate) fn jittered(pause: Duration, random: &mut fastrand::Rng) -> Duration {
    pause.mul_f64(0.8 + 0.4 * random.f64())
}

/// What is wrong with a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// There are this many pauses.
    #[error("{0} pauses: there may be 1 to {max}", max = Schedule::PAUSES_MAX)]
    Count(usize),
    /// A pause is 0.
    #[error("a pause of 0 s")]
    Zero,
    /// All pauses take this long together.
    #[error("the pauses take {} s together, more than 14 days", .0.as_secs())]
    Sum(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_schedule_has_ten_attempts_in_75_hours() {
        let schedule = Schedule::default();
        assert_eq!(schedule, Schedule::of_seconds(&STANDARD_S).unwrap());
        assert_eq!(schedule.attempts_max(), 10);
        let sum: Duration = schedule.0.iter().sum();
        assert_eq!(sum.as_secs(), 75 * 3600 + 35 * 60 + 5);
    }

    #[test]
    fn pauses_vary_by_a_fifth_and_end_after_the_last() {
        let schedule = Schedule::of_seconds(&[10, 100]).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        let (mut shortest, mut longest) = (Duration::MAX, Duration::ZERO);
        for _ in 0..1000 {
            let pause = schedule.pause_after(1, &mut random).unwrap();
            (shortest, longest) = (shortest.min(pause), longest.max(pause));
        }
        assert!(shortest >= Duration::from_secs(8) && shortest < Duration::from_millis(8100));
        assert!(longest <= Duration::from_secs(12) && longest > Duration::from_millis(11_900));
        assert!(schedule.pause_after(2, &mut random).unwrap() >= Duration::from_secs(80));
        for none in [0, 3, 4, u32::MAX] {
            assert_eq!(schedule.pause_after(none, &mut random), None, "{none}");
        }
        assert_eq!(schedule.pause_max(), Duration::from_secs(100));
    }

    #[test]
    fn a_schedule_outside_its_bounds_is_refused() {
        assert_eq!(Schedule::of_seconds(&[]), Err(ScheduleError::Count(0)));
        assert_eq!(Schedule::of_seconds(&[1; 21]), Err(ScheduleError::Count(21)));
        assert_eq!(Schedule::of_seconds(&[5, 0]), Err(ScheduleError::Zero));
        let said = Schedule::of_seconds(&[u32::MAX; 2]).unwrap_err().to_string();
        assert_eq!(said, "the pauses take 8589934590 s together, more than 14 days");
        assert!(Schedule::of_seconds(&[1_209_600]).is_ok());
        assert!(Schedule::of_seconds(&[1_209_600, 1]).is_err());
    }
}
