//! Chance, from a seed: the same seed throws the same numbers.

use std::time::Duration;

/// A source of chance.
#[derive(Debug, Clone)]
pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Whether something of this probability happens.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.0.f64() < probability
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn number(&mut self, low: u64, high: u64) -> u64 {
        self.0.u64(low..=high.max(low))
    }

    /// A place in a list of `count`; 0 where it is empty.
    pub(crate) fn place(&mut self, count: usize) -> usize {
        self.0.usize(..count.max(1))
    }

    /// One of the words.
    pub(crate) fn word(&mut self, words: &[&'static str]) -> &'static str {
        words.get(self.place(words.len())).copied().unwrap_or_default()
    }

    /// So many different places out of `count`, or all, in no order.
    pub(crate) fn places(&mut self, count: usize, of: usize) -> Vec<usize> {
        let mut places: Vec<usize> = self.0.choose_multiple(0..of, count);
        self.0.shuffle(&mut places);
        places
    }

    /// A time between two.
    pub(crate) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        low + high.saturating_sub(low).mul_f64(self.0.f64())
    }

    /// A time between two, in seconds.
    pub(crate) fn seconds(&mut self, low: u64, high: u64) -> Duration {
        self.between(Duration::from_secs(low), Duration::from_secs(high))
    }

    /// A time between two, in milliseconds.
    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        self.between(Duration::from_millis(low), Duration::from_millis(high))
    }

    /// A part of `whole`, between two shares of it.
    pub(crate) fn part(&mut self, whole: Duration, low: f64, high: f64) -> Duration {
        whole.mul_f64(low + (high - low) * self.0.f64())
    }

    /// How long people do a thing: mostly about `median`, sometimes much longer, never longer than `max`.
    pub(crate) fn about(&mut self, median: Duration, max: Duration) -> Duration {
        // Log-normal, by Box and Muller. The logarithm of 0 is left out.
        let (u, v) = (1.0 - self.0.f64(), self.0.f64());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        median.mul_f64((0.8 * normal).exp()).min(max)
    }

    /// A random UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.0.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}
