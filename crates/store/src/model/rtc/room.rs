//! Rooms of the RTC Engine, as the API returns them: sessions, stays and what was published.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::read_models::json;
use protocol::{AppId, UnixMillis};

/// Which session of which room of the RTC Engine. The room 123 and the room "123" are two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RtcSessionKey {
    /// The app.
    pub app: AppId,
    /// The room.
    pub room_id: String,
    /// numeric or string.
    pub room_id_kind: String,
    /// The session, as in `rtc_room_sessions.session`. In ms since 1970.
    pub session: i64,
}

/// One session of a room of the RTC Engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of its own")]
pub struct RtcRoomSession {
    /// The app.
    pub sdk_app_id: i64,
    /// The room.
    pub room_id: String,
    /// Whether the room is named by a number or a text: numeric or string.
    pub room_id_kind: String,
    /// Which session: the time of its create event, in ms since 1970; where none came, that of its first event.
    pub session: i64,
    /// The vendor's name of the session, `CommId`; null without a create event.
    pub comm_id: Option<String>,
    /// open or ended.
    pub state: String,
    /// When it was created; where that is not known, its first event.
    pub started_at: UnixMillis,
    /// Whether no create event came.
    pub start_estimated: bool,
    /// When it was created; null where no create event came.
    pub created_at: Option<UnixMillis>,
    /// Who entered first and so created it; may be a robot.
    pub creator: Option<String>,
    /// When it was dismissed; where no dismissal came, its last event. Null while it is open.
    pub ended_at: Option<UnixMillis>,
    /// Whether its end was inferred: no dismissal came.
    pub end_inferred: bool,
    /// When it was dismissed; null where no dismissal came.
    pub dismissed_at: Option<UnixMillis>,
    /// Whether its dismissal named a room of the other kind of id.
    pub room_kind_guessed: bool,
    /// Its latest event.
    pub last_at: UnixMillis,
    /// How many accounts were inside, robots aside, each counted once.
    pub people: i64,
    /// How many of them are inside now; 0 once it has ended.
    pub people_inside: i64,
    /// How many robots were inside, each counted once.
    pub robots: i64,
    /// When the first person entered.
    pub occupied_from: Option<UnixMillis>,
    /// When the last person left; null while one is inside.
    pub occupied_until: Option<UnixMillis>,
    /// From start to end, in ms; null while it is open.
    pub life_ms: Option<i64>,
    /// From the first person's enter to the last one's exit, in ms; null while one is inside.
    pub occupied_ms: Option<i64>,
    /// Whether the room has too many events: its latest ones are left out.
    pub is_cut: bool,
    /// Whether its create or dismissal is known from the vendor's REST API, not from an event.
    pub is_repaired: bool,
}

/// A stay of an account in a session of a room of the RTC Engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RtcStay {
    /// The app.
    pub sdk_app_id: i64,
    /// The room.
    pub room_id: String,
    /// Whether the room is named by a number or a text: numeric or string.
    pub room_id_kind: String,
    /// The session.
    pub session: i64,
    /// The event that opened it.
    pub stay_id: Uuid,
    /// The account.
    pub account: String,
    /// Whether it is a robot, which does a task of the cloud.
    pub is_robot: bool,
    /// When it began, or was first known.
    pub started_at: UnixMillis,
    /// When it began at the earliest; differs from `started_at` where no enter event came.
    pub earliest_start_at: UnixMillis,
    /// When it ended, as billed; null while it lasts.
    pub ended_at: Option<UnixMillis>,
    /// After a timeout: when the user was probably lost, about 90 s before `ended_at`.
    pub presumed_end_at: Option<UnixMillis>,
    /// From start to end, in ms; null while it lasts.
    pub duration_ms: Option<i64>,
    /// The vendor's number of why the account entered.
    pub enter_reason: Option<i64>,
    /// The same as a word: `own_decision`, `network_change`, `timeout_retry`, `cross_room_link` or other.
    pub enter_reason_word: Option<String>,
    /// The vendor's number of why it ended; null where no exit event came.
    pub exit_reason: Option<i64>,
    /// The same as a word: left, `timed_out`, removed, `link_cancelled`, `process_killed` or other.
    pub exit_reason_word: Option<String>,
    /// The vendor's number of the device.
    pub terminal_type: Option<i64>,
    /// The same as a word: windows, android, ios, linux or other.
    pub terminal_type_word: Option<String>,
    /// The vendor's number of the client.
    pub user_type: Option<i64>,
    /// The same as a word: webrtc, `mini_program`, `native_sdk` or other.
    pub user_type_word: Option<String>,
    /// Tells one entry from another; of old apps only.
    pub unique_id: Option<i64>,
    /// Roles over time: a list of {role, from, until}, role 20 anchor or 21 audience, times in ms since 1970.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = Vec<RtcRole>)]
    pub roles: String,
    /// How many enter events it has: the first, and those after reconnects.
    pub enters: i64,
    /// How many stop events came after its exit.
    pub late_stops: i64,
    /// What is particular about it: a list of `start_estimated`, `end_inferred`, replaced, reentry, `cross_room`,
    /// `order_unknown`, `exit_doubtful`, `role_missed`, coarse, repaired.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = Vec<String>)]
    pub flags: String,
}

/// The role of an account for a part of a stay.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RtcRole {
    /// 20 anchor, 21 audience.
    pub role: i64,
    /// Since when, in ms since 1970.
    pub from: i64,
    /// Until when, in ms since 1970; null while it lasts.
    pub until: Option<i64>,
}

/// A time for which an account published camera, microphone or screen. A muted microphone is published all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RtcPublishInterval {
    /// The app.
    pub sdk_app_id: i64,
    /// The room.
    pub room_id: String,
    /// Whether the room is named by a number or a text: numeric or string.
    pub room_id_kind: String,
    /// The session.
    pub session: i64,
    /// The event that opened it.
    pub interval_id: Uuid,
    /// The stay it is part of.
    pub stay_id: Uuid,
    /// The account.
    pub account: String,
    /// Whether it is a robot.
    pub is_robot: bool,
    /// camera, audio or screen.
    pub track: String,
    /// When it began; with `start_unknown` not before this.
    pub started_at: UnixMillis,
    /// When it ended; null while it goes on.
    pub ended_at: Option<UnixMillis>,
    /// From start to end, in ms; null while it goes on.
    pub duration_ms: Option<i64>,
    /// stop, exit, replaced, or a guess: audience, `other_screen`, `session_end`.
    pub ended_by: Option<String>,
    /// Whether no start event came.
    pub start_unknown: bool,
}

impl RtcRoomSession {
    /// Which session it is; none has an app that is no id.
    #[must_use]
    pub fn key(&self) -> Option<RtcSessionKey> {
        let app = AppId::parse(&self.sdk_app_id.to_string())?;
        let (room_id, room_id_kind) = (self.room_id.clone(), self.room_id_kind.clone());
        Some(RtcSessionKey { app, room_id, room_id_kind, session: self.session })
    }
}

impl RtcStay {
    /// Its flags; see [`flag_meaning`](crate::flag_meaning).
    #[must_use]
    pub fn flag_words(&self) -> Vec<String> {
        serde_json::from_str(&self.flags).unwrap_or_default()
    }
}
