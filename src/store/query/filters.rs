//! Which rows of a list a reader wants, and behind which place.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::callback::AppId;
use crate::clock::UnixMillis;
use crate::store::model::read_models::Room;

/// Which calls. Absent conditions let all through.
#[derive(Debug, Clone, Default)]
pub struct CallFilter {
    /// Of this app.
    pub app: Option<AppId>,
    /// In this state.
    pub state: Option<String>,
    /// With this result.
    pub result: Option<String>,
    /// `audio` or `video`.
    pub media: Option<String>,
    /// In which this account takes part.
    pub account: Option<String>,
    /// In this RTC room.
    pub room_id: Option<String>,
    /// First named at this time or later.
    pub since: Option<UnixMillis>,
    /// First named before this time.
    pub until: Option<UnixMillis>,
    /// Behind this one: `first_at`, `sdk_app_id`, `call_id`.
    pub after: Option<(UnixMillis, i64, String)>,
    /// At most so many.
    pub limit: u32,
}

/// Which calls of an account.
#[derive(Debug, Clone)]
pub struct UserCallFilter {
    /// The app.
    pub app: AppId,
    /// The account.
    pub account: String,
    /// `incoming` or `outgoing`.
    pub direction: Option<String>,
    /// As [`UserCall::outcome`](crate::store::UserCall::outcome).
    pub outcome: Option<String>,
    /// Behind this one: [`UserCall::at`](crate::store::UserCall::at), `call_id`.
    pub after: Option<(UnixMillis, String)>,
    /// At most so many.
    pub limit: u32,
}

/// Which room visits of an account.
#[derive(Debug, Clone)]
pub struct UserVisitFilter {
    /// The app.
    pub app: AppId,
    /// The account.
    pub account: String,
    /// Behind this one: [`UserVisit::entered_at`](crate::store::UserVisit::entered_at), `event_id`, `room_id`.
    pub after: Option<(UnixMillis, Uuid, String)>,
    /// At most so many.
    pub limit: u32,
}

/// Which sessions of rooms.
#[derive(Debug, Clone, Default)]
pub struct RoomFilter {
    /// Of this app.
    pub app: Option<AppId>,
    /// `room` or `live`.
    pub family: Option<String>,
    /// In this state.
    pub state: Option<String>,
    /// Of this room id.
    pub room_id: Option<String>,
    /// Owned by this account.
    pub owner: Option<String>,
    /// Started at this time or later.
    pub since: Option<UnixMillis>,
    /// Started before this time.
    pub until: Option<UnixMillis>,
    /// Behind this one: `started_at`, `sdk_app_id`, `room_id`, `session`.
    pub after: Option<(UnixMillis, i64, String, i64)>,
    /// At most so many.
    pub limit: u32,
}

/// A page of the details of one session.
#[derive(Debug, Clone, Default)]
pub struct DetailPage {
    /// Of this account (visits), or from or to it (gifts).
    pub account: Option<String>,
    /// Behind this one.
    pub after: Option<DetailPlace>,
    /// At most so many.
    pub limit: u32,
}

/// The place of a visit or a gift in its list; see [`Visit::place`](crate::store::Visit::place).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetailPlace {
    /// When it began; of a visit that nothing began, when it ended.
    pub at: UnixMillis,
    /// The event that says so.
    pub event_id: Uuid,
    /// Of a visit: whose, since one event may tell of many. Of a gift: empty.
    pub account: String,
    /// Of a visit: whether it has a beginning. Those without stand behind the others.
    pub entered: bool,
}

/// Which anomalies.
#[derive(Debug, Clone, Default)]
pub struct AnomalyFilter {
    /// Of this app.
    pub app: Option<AppId>,
    /// Of this kind.
    pub kind: Option<String>,
    /// About this call id or room id.
    pub subject: Option<String>,
    /// Only those that are still so, or only those that are not.
    pub resolved: Option<bool>,
    /// That happened at this time or later.
    pub since: Option<UnixMillis>,
    /// That happened before this time.
    pub until: Option<UnixMillis>,
    /// Behind this one: `happened_at`, `sdk_app_id`, `kind`, `subject`, `session`.
    pub after: Option<(UnixMillis, i64, String, String, i64)>,
    /// At most so many.
    pub limit: u32,
}

/// Which counts.
#[derive(Debug, Clone)]
pub struct CountFilter {
    /// Of this app.
    pub app: Option<AppId>,
    /// From the span on that holds this time, but not from earlier than [`Step::spans_max`] before `until`.
    pub since: UnixMillis,
    /// Spans that begin before this time. Each is whole.
    pub until: UnixMillis,
    /// How long each span is.
    pub step: Step,
    /// What is counted apart.
    pub by: CountBy,
}

impl CountFilter {
    /// Where the first span begins, and where the last ends.
    pub(crate) fn spans(&self) -> (UnixMillis, UnixMillis) {
        let length = self.step.length_ms();
        let begin = |time: i64| time.saturating_sub(time.rem_euclid(length));
        let until = begin(self.until.0.saturating_sub(1)).saturating_add(length);
        (UnixMillis(begin(self.since.0.max(self.earliest()))), UnixMillis(until))
    }

    /// Whether it asks for more than is given: whoever does should be told.
    #[must_use]
    pub const fn is_too_long(&self) -> bool {
        self.since.0 < self.earliest()
    }

    const fn earliest(&self) -> i64 {
        self.until.0.saturating_sub(self.step.spans_max() * self.step.length_ms())
    }
}

/// The length of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// 60 s. Kept for two days.
    Minute,
    /// An hour.
    Hour,
    /// A day, by UTC.
    Day,
}

impl Step {
    /// How long it is, in ms.
    #[must_use]
    pub const fn length_ms(self) -> i64 {
        match self {
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }

    /// How many spans one may ask for: minutes of a day, hours of a month, days of a quarter. More would take longer than a
    /// page may.
    #[must_use]
    pub const fn spans_max(self) -> i64 {
        match self {
            Self::Minute => 1440,
            Self::Hour => 744,
            Self::Day => 92,
        }
    }
}

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CountBy {
    /// Families.
    Family,
    /// Commands.
    Command,
    /// How calls ended; other events are left out.
    Result,
}

/// Which session of which room.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoomKey {
    /// The app.
    pub app: AppId,
    /// The room.
    pub room_id: String,
    /// The session, as in `room_sessions.session`. In ms since 1970.
    pub session: i64,
}

/// Whose recordings.
#[derive(Debug, Clone)]
pub enum Subject {
    /// Of a call.
    Call(AppId, String),
    /// Of one session of a room.
    Room(Box<Room>),
}
