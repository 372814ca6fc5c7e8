//! The outcomes that metrics count, and their labels.

use protocol::Rejection;
use receiver::RequestOutcome;

/// The labels of the outcomes of requests, in the order of the counters; those of rejections follow.
const LABELS: [&str; 15] = [
    "stored",
    "duplicate",
    "parked",
    "spooled",
    "not_stored",
    "shed",
    "not_found",
    "method_not_allowed",
    "head_too_slow",
    "head_too_large",
    "head_broken",
    "body_too_large",
    "body_too_slow",
    "body_broken",
    "abandoned",
];

/// The labels of all outcomes of requests to the public listener, which add up to the requests. People are shown them in
/// this order.
pub fn outcome_labels() -> impl Iterator<Item = String> {
    let rejected = Rejection::REASONS.iter().map(|reason| format!("rejected_{reason}"));
    LABELS.iter().map(|label| (*label).to_owned()).chain(rejected)
}

/// The place of an outcome in [`outcome_labels`].
pub(crate) fn outcome_index(outcome: RequestOutcome) -> usize {
    match outcome {
        RequestOutcome::Stored => 0,
        RequestOutcome::Duplicate => 1,
        RequestOutcome::DeadLetter => 2,
        RequestOutcome::Spooled => 3,
        RequestOutcome::NotStored => 4,
        RequestOutcome::Shed => 5,
        RequestOutcome::NotFound => 6,
        RequestOutcome::MethodNotAllowed => 7,
        RequestOutcome::BodyTooLarge => 11,
        RequestOutcome::BodyTooSlow => 12,
        RequestOutcome::BodyBroken => 13,
        RequestOutcome::Abandoned => 14,
        RequestOutcome::Rejected(rejection) => LABELS.len() + rejection.index(),
    }
}

/// A head that the listener refused, so that its request never reached the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedHead {
    /// It did not come in time.
    TooSlow,
    /// It was over the limit.
    TooLarge,
    /// It was not HTTP, or broke off.
    Broken,
}

impl RefusedHead {
    /// Its place in [`outcome_labels`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::TooSlow => 8,
            Self::TooLarge => 9,
            Self::Broken => 10,
        }
    }
}

/// Why we closed a connection of the public listener that its client kept open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// There was no place left for others, and closing it hurt least.
    Evicted,
    /// No request came.
    Idle,
    /// A head did not come in time.
    HeadTooSlow,
    /// The client did not take what it was answered.
    WriteTooSlow,
}

impl Closed {
    pub(crate) const ALL: [Self; 4] =
        [Self::Evicted, Self::Idle, Self::HeadTooSlow, Self::WriteTooSlow];

    /// Its name in logs and figures.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Idle => "idle",
            Self::HeadTooSlow => "head_too_slow",
            Self::WriteTooSlow => "write_too_slow",
        }
    }

    /// Its place in [`Closed::ALL`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Evicted => 0,
            Self::Idle => 1,
            Self::HeadTooSlow => 2,
            Self::WriteTooSlow => 3,
        }
    }
}

/// The result of a check of what is registered at the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckResult {
    /// It is what is wanted.
    Right,
    /// It is not.
    Differs,
    /// It was not, and was put right.
    Repaired,
    /// The vendor did not say, or did not let it be put right.
    Failed,
}

impl CheckResult {
    pub(crate) const ALL: [Self; 4] = [Self::Right, Self::Differs, Self::Repaired, Self::Failed];

    /// Its name in figures.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Differs => "differs",
            Self::Repaired => "repaired",
            Self::Failed => "failed",
        }
    }

    /// Its place in [`CheckResult::ALL`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Right => 0,
            Self::Differs => 1,
            Self::Repaired => 2,
            Self::Failed => 3,
        }
    }
}
