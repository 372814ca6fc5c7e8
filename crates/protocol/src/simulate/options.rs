//! The options of a generator.

use std::time::Duration;

use crate::Dialect;
use crate::simulate::scenario::Kind;

/// In which dialects what happens is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialects {
    /// What the kits tell, and what Chat does.
    #[default]
    Im,
    /// What the RTC Engine tells of the same calls, conferences and shows, and of their rooms, users and recordings.
    RtcEngine,
    /// Both sides of all that, with the same ids.
    Both,
}

impl Dialects {
    /// Whether this one is spoken.
    #[must_use]
    pub fn contain(self, dialect: Dialect) -> bool {
        match self {
            Self::Im => dialect == Dialect::Im,
            Self::RtcEngine => dialect == Dialect::RtcEngine,
            Self::Both => true,
        }
    }
}

/// How large, how long and how often. Lengths are those of real life, before [`Options::compress`].
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How often each kind comes, against the others. A kind that is not listed does not come.
    pub kinds: Vec<(Kind, u64)>,
    /// How many events there are per second on average: how closely scenarios follow each other.
    pub rate: f64,
    /// How many times faster than in real life everything happens. 10 makes three seconds of a ring of thirty.
    pub compress: f64,
    /// How many people there are; more where a show needs them.
    pub accounts: usize,
    /// How many a group call rings at most, the caller among them; 3 at least. Two more may come in later.
    pub group_members_max: usize,
    /// How many come to a conference at most.
    pub conference_members_max: usize,
    /// How many come to a show at most; half of them at least.
    pub viewers: usize,
    /// How many sessions a room has at most within one scenario.
    pub sessions_max: usize,
    /// How long people talk on average.
    pub talk_median: Duration,
    /// How long they talk at most.
    pub talk_max: Duration,
    /// How long a conference takes, give or take a half.
    pub conference_length: Duration,
    /// How long a show takes, give or take two fifths.
    pub show_length: Duration,
    /// How long the RTC Engine keeps the room of a show whose last user was a viewer.
    pub room_kept: Duration,
    /// Which share of calls and shows is recorded, from 0 to 1.
    pub recorded: f64,
    /// In which dialects it is told.
    pub dialects: Dialects,
}

impl Default for Options {
    /// A small app at a busy hour, in real time.
    fn default() -> Self {
        Self {
            kinds: vec![
                (Kind::AnsweredCall, 24),
                (Kind::RejectedCall, 6),
                (Kind::MissedCall, 8),
                (Kind::CancelledCall, 5),
                (Kind::BusyCall, 3),
                (Kind::DroppedCall, 4),
                (Kind::GroupCall, 12),
                (Kind::Conference, 12),
                (Kind::Show, 12),
                (Kind::Quota, 1),
            ],
            rate: 20.0,
            compress: 1.0,
            accounts: 200,
            group_members_max: 7,
            conference_members_max: 12,
            viewers: 40,
            sessions_max: 2,
            talk_median: Duration::from_secs(90),
            talk_max: Duration::from_mins(30),
            conference_length: Duration::from_mins(20),
            show_length: Duration::from_mins(30),
            room_kept: Duration::from_mins(10),
            recorded: 0.25,
            dialects: Dialects::Im,
        }
    }
}

impl Options {
    /// As small as a scenario can be and still have everything in it: for tests that play thousands.
    #[must_use]
    pub fn tiny() -> Self {
        Self {
            accounts: 12,
            group_members_max: 4,
            conference_members_max: 4,
            viewers: 4,
            sessions_max: 3,
            ..Self::default()
        }
    }

    /// With what makes no sense replaced by what does: no factor that is no number, no length beyond a week.
    pub(super) fn sound(mut self) -> Self {
        let number = |value: f64| if value.is_nan() { 1.0 } else { value.clamp(0.001, 1e6) };
        self.compress = number(self.compress);
        self.rate = number(self.rate);
        let lengths = [
            &mut self.talk_median,
            &mut self.talk_max,
            &mut self.conference_length,
            &mut self.show_length,
            &mut self.room_kept,
        ];
        for length in lengths {
            *length = (*length).min(Duration::from_hours(7 * 24));
        }
        self
    }
}
