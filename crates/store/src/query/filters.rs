//! Which rows of a list a reader wants, and behind which place.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::column_values::{
    ANOMALY_KINDS, CALL_DIRECTIONS, CALL_MEDIA, CALL_OUTCOMES, CALL_RESULTS, CALL_STATES,
    RECORDING_STATES, ROOM_FAMILIES, ROOM_STATES, RTC_TASK_KINDS, RTC_TASK_STATES,
};
use crate::filter;
use crate::model::read_models::Room;
use crate::query::conditions::ConditionKind;
use protocol::AppId;
use protocol::UnixMillis;

filter! {
    /// Which calls. Absent conditions let all through.
    #[derive(Debug, Clone, Default)]
    pub struct CallFilter {
        /// Only this state
        "state" "State" ConditionKind::OneOf(CALL_STATES) => state: Option<String>,
        /// Only this result
        "result" "Result" ConditionKind::OneOf(CALL_RESULTS) => result: Option<String>,
        /// Only this medium
        "media" "Media" ConditionKind::OneOf(CALL_MEDIA) => media: Option<String>,
        /// Only with this account as caller or callee
        "user" "Account" ConditionKind::Text => account: Option<String>,
        /// Only this RTC room
        "room" "RTC room" ConditionKind::Text => room_id: Option<String>,
        /// Only this app (`SDKAppID`)
        "app" "App" ConditionKind::App => app: Option<AppId>,
        /// Only those whose first event happened at this time or later: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d
        "since" "From (UTC)" ConditionKind::Time => since: Option<UnixMillis>,
        /// Only those whose first event happened before this time
        "until" "Until (UTC)" ConditionKind::Time => until: Option<UnixMillis>,
    } and {
        /// Behind this one: `first_at`, `sdk_app_id`, `call_id`.
        after: Option<(UnixMillis, i64, String)>,
        /// At most so many.
        limit: u32,
    }
}

filter! {
    /// Which calls of an account.
    #[derive(Debug, Clone)]
    pub struct UserCallFilter {
        /// Only this direction, as the account sees it
        "direction" "Direction" ConditionKind::OneOf(CALL_DIRECTIONS) => direction: Option<String>,
        /// Only this outcome for the account
        "outcome" "Outcome" ConditionKind::OneOf(CALL_OUTCOMES) => outcome: Option<String>,
    } and {
        /// The app.
        app: AppId,
        /// The account.
        account: String,
        /// Behind this one: [`UserCall::at`](crate::UserCall::at), `call_id`.
        after: Option<(UnixMillis, String)>,
        /// At most so many.
        limit: u32,
    }
}

/// Which room visits of an account.
#[derive(Debug, Clone)]
pub struct UserVisitFilter {
    /// The app.
    pub app: AppId,
    /// The account.
    pub account: String,
    /// Behind this one: [`UserVisit::entered_at`](crate::UserVisit::entered_at), `event_id`, `room_id`.
    pub after: Option<(UnixMillis, Uuid, String)>,
    /// At most so many.
    pub limit: u32,
}

filter! {
    /// Which sessions of rooms.
    #[derive(Debug, Clone, Default)]
    pub struct RoomFilter {
        /// Only this family: `room` is a conference
        "family" "Family" ConditionKind::OneOf(ROOM_FAMILIES) => family: Option<String>,
        /// Only this state
        "state" "State" ConditionKind::OneOf(ROOM_STATES) => state: Option<String>,
        /// Only this room id
        "room" "Room id" ConditionKind::Text => room_id: Option<String>,
        /// Only rooms of this owner
        "owner" "Owner" ConditionKind::Text => owner: Option<String>,
        /// Only this app (`SDKAppID`)
        "app" "App" ConditionKind::App => app: Option<AppId>,
        /// Only those that started at this time or later: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d
        "since" "From (UTC)" ConditionKind::Time => since: Option<UnixMillis>,
        /// Only those that started before this time
        "until" "Until (UTC)" ConditionKind::Time => until: Option<UnixMillis>,
    } and {
        /// Behind this one: `started_at`, `sdk_app_id`, `room_id`, `session`.
        after: Option<(UnixMillis, i64, String, i64)>,
        /// At most so many.
        limit: u32,
    }
}

filter! {
    /// Which visits or gifts of one session.
    #[derive(Debug, Clone, Default)]
    pub struct DetailFilter {
        /// Only this account; of gifts, as sender or receiver
        "user" "Account" ConditionKind::Text => account: Option<String>,
    }
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

/// The place of a visit or a gift in its list; see [`Visit::place`](crate::Visit::place).
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

filter! {
    /// Which anomalies.
    #[derive(Debug, Clone, Default)]
    pub struct AnomalyFilter {
        /// Only this kind
        "kind" "Kind" ConditionKind::OneOf(ANOMALY_KINDS) => kind: Option<String>,
        /// Only this call id, room id, task id, family, product or destination
        "subject" "Call, room, task, product or destination" ConditionKind::Text => subject: Option<String>,
        /// Only this app (`SDKAppID`)
        "app" "App" ConditionKind::App => app: Option<AppId>,
        /// Only resolved ones (true), or only open ones (false)
        "resolved" "State" ConditionKind::Flag(["resolved", "open"]) => resolved: Option<bool>,
        /// Only from this time on: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d
        "since" "From (UTC)" ConditionKind::Time => since: Option<UnixMillis>,
        /// Only before this time
        "until" "Until (UTC)" ConditionKind::Time => until: Option<UnixMillis>,
    } and {
        /// Behind this one: `happened_at`, `sdk_app_id`, `kind`, `subject`, `session`.
        after: Option<(UnixMillis, i64, String, String, i64)>,
        /// At most so many.
        limit: u32,
    }
}

filter! {
    /// Which recordings.
    #[derive(Debug, Clone, Default)]
    pub struct RecordingFilter {
        /// Only this state
        "state" "State" ConditionKind::OneOf(RECORDING_STATES) => state: Option<String>,
        /// Only with a file of this account
        "user" "Account" ConditionKind::Text => account: Option<String>,
        /// Only this call id
        "call" "Call id" ConditionKind::Text => call_id: Option<String>,
        /// Only this room id
        "room" "Room id" ConditionKind::Text => room_id: Option<String>,
        /// Only this app (`SDKAppID`)
        "app" "App" ConditionKind::App => app: Option<AppId>,
        /// Only those whose first event happened at this time or later: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d
        "since" "From (UTC)" ConditionKind::Time => since: Option<UnixMillis>,
        /// Only those whose first event happened before this time
        "until" "Until (UTC)" ConditionKind::Time => until: Option<UnixMillis>,
    } and {
        /// Behind this one: `started_at`, `event_id`.
        after: Option<(UnixMillis, Uuid)>,
        /// At most so many.
        limit: u32,
    }
}

filter! {
    /// Which cloud tasks of the RTC Engine.
    #[derive(Debug, Clone, Default)]
    pub struct RtcTaskFilter {
        /// Only this kind
        "kind" "Kind" ConditionKind::OneOf(RTC_TASK_KINDS) => kind: Option<String>,
        /// Only this state
        "state" "State" ConditionKind::OneOf(RTC_TASK_STATES) => state: Option<String>,
        /// Only this room id
        "room" "Room id" ConditionKind::Text => room_id: Option<String>,
        /// Only this app (`SDKAppID`)
        "app" "App" ConditionKind::App => app: Option<AppId>,
        /// Only those whose first event happened at this time or later: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d
        "since" "From (UTC)" ConditionKind::Time => since: Option<UnixMillis>,
        /// Only those whose first event happened before this time
        "until" "Until (UTC)" ConditionKind::Time => until: Option<UnixMillis>,
    } and {
        /// Behind this one: `first_at`, `event_id`.
        after: Option<(UnixMillis, Uuid)>,
        /// At most so many.
        limit: u32,
    }
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
