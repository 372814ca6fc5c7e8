//! The outcomes that metrics count.

use protocol::Rejection;

/// The outcome of one HTTP request to the public listener. The outcomes add up to the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its event is a new row.
    Stored,
    /// Its event already was a row.
    Duplicate,
    /// The store refused its event as a row and keeps it as a dead letter. Labelled `parked`.
    DeadLetter,
    /// The store did not take its event in time, and the spool did.
    Spooled,
    /// Its event could not be kept in time and went to the error log.
    NotStored,
    /// There was no room for its body, or it was slow and others needed the room. Its event is nowhere.
    Shed,
    /// It was not for us, or not signed.
    Rejected(Rejection),
    /// It went to no callback path.
    NotFound,
    /// It was no POST.
    MethodNotAllowed,
    /// Its head did not come in time.
    HeadTooSlow,
    /// Its head was over the limit.
    HeadTooLarge,
    /// Its head was not HTTP, or broke off.
    HeadBroken,
    /// Its body was over the limit.
    BodyTooLarge,
    /// Its body did not come in time.
    BodyTooSlow,
    /// Its body broke off.
    BodyBroken,
    /// Its connection ended before the answer. What had been taken in is stored all the same.
    Abandoned,
}

impl Outcome {
    const PLAIN: [&'static str; 15] = [
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

    /// The names of all, as figures have them, in the order of the counters. People are shown them in this order.
    pub fn names() -> impl Iterator<Item = String> {
        let rejected = Rejection::REASONS.iter().map(|reason| format!("rejected_{reason}"));
        Self::PLAIN.iter().map(|name| (*name).to_owned()).chain(rejected)
    }

    /// Its place among the counters: [`Outcome::PLAIN`], then the rejections.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Stored => 0,
            Self::Duplicate => 1,
            Self::DeadLetter => 2,
            Self::Spooled => 3,
            Self::NotStored => 4,
            Self::Shed => 5,
            Self::NotFound => 6,
            Self::MethodNotAllowed => 7,
            Self::HeadTooSlow => 8,
            Self::HeadTooLarge => 9,
            Self::HeadBroken => 10,
            Self::BodyTooLarge => 11,
            Self::BodyTooSlow => 12,
            Self::BodyBroken => 13,
            Self::Abandoned => 14,
            Self::Rejected(rejection) => Self::PLAIN.len() + rejection.index(),
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
