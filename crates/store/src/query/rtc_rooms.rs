//! Which rows of the RTC Engine's rooms a reader wants, and behind which place.

use uuid::Uuid;

use crate::column_values::{RTC_ROOM_ID_KINDS, RTC_ROOM_STATES};
use crate::filter;
use crate::model::rtc::room::RtcSessionKey;
use crate::query::conditions::ConditionKind;
use protocol::{AppId, UnixMillis};

filter! {
    /// Which sessions of the RTC Engine's rooms.
    #[derive(Debug, Clone, Default)]
    pub struct RtcRoomFilter {
        /// Only this state
        "state" "State" ConditionKind::OneOf(RTC_ROOM_STATES) => state: Option<String>,
        /// Only this room id
        "room" "Room id" ConditionKind::Text => room_id: Option<String>,
        /// Only rooms that are named by a number, or by a text
        "kind" "Kind of id" ConditionKind::OneOf(RTC_ROOM_ID_KINDS) => room_id_kind: Option<String>,
        /// Only those in which this account stayed
        "user" "Account" ConditionKind::Text => account: Option<String>,
        /// Only this app (`SDKAppID`)
        "app" "App" ConditionKind::App => app: Option<AppId>,
        /// Only those that started at this time or later: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d
        "since" "From (UTC)" ConditionKind::Time => since: Option<UnixMillis>,
        /// Only those that started before this time
        "until" "Until (UTC)" ConditionKind::Time => until: Option<UnixMillis>,
    } and {
        /// Behind this one: `started_at`, `sdk_app_id`, `room_id`, `room_id_kind`, `session`.
        after: Option<RtcSessionPlace>,
        /// At most so many.
        limit: u32,
    }
}

/// The place of a session in its list.
pub type RtcSessionPlace = (UnixMillis, i64, String, String, i64);

/// Within what stays are listed.
#[derive(Debug, Clone)]
pub enum RtcStaysOf {
    /// One session, and there one account where it is given.
    Session(RtcSessionKey, Option<String>),
    /// All rooms of an app in which an account stayed.
    Account(AppId, String),
}

/// Which stays, the latest first.
#[derive(Debug, Clone)]
pub struct RtcStays {
    /// Within what.
    pub of: RtcStaysOf,
    /// Behind this one: `started_at`, `stay_id`.
    pub after: Option<(UnixMillis, Uuid)>,
    /// At most so many.
    pub limit: u32,
}

impl RtcStays {
    /// All of them.
    #[must_use]
    pub fn new(of: RtcStaysOf) -> Self {
        Self { of, after: None, limit: 0 }
    }
}

filter! {
    /// Which times of publishing of one session.
    #[derive(Debug, Clone, Default)]
    pub struct RtcPublishFilter {
        /// Only this account
        "user" "Account" ConditionKind::Text => account: Option<String>,
        /// Only this track
        "track" "Track" ConditionKind::OneOf(crate::column_values::RTC_TRACKS) => track: Option<String>,
    }
}

/// Which times of publishing of one session, the latest first.
#[derive(Debug, Clone)]
pub struct RtcPublishIntervals {
    /// The session.
    pub session: RtcSessionKey,
    /// Which of it.
    pub filter: RtcPublishFilter,
    /// Behind this one: `started_at`, `interval_id`.
    pub after: Option<(UnixMillis, Uuid)>,
    /// At most so many.
    pub limit: u32,
}

impl RtcPublishIntervals {
    /// All of them that the filter lets through.
    #[must_use]
    pub fn new(session: RtcSessionKey, filter: RtcPublishFilter) -> Self {
        Self { session, filter, after: None, limit: 0 }
    }
}
