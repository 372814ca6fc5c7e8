//! The settled rows of rooms of the RTC Engine: columns of the tables of the same names, which the migration explains.

use uuid::Uuid;

use crate::sessions::queue::RoomId;
use crate::sessions::write::Holds::{self, Id, Json, Plain, Time};
use crate::sessions::write::time;
use crate::sql::connection::Arg;
use crate::sql::from_row::{from_row, id};
use projections::rtc::mark::{EnterReason, ExitReason};
use projections::rtc::publish::{PublishEnd, RtcPublishInterval};
use projections::rtc::session::RtcSession;
use projections::rtc::stay::{RtcStay, StayFlag};
use protocol::UnixMillis;
use protocol::json::room_id::RoomIdKind;

/// How many columns the key of each table has: app, room, kind, and what tells the rows of a room apart.
pub(crate) const KEYS: usize = 4;

/// A row of a settled table.
pub(crate) trait SettledRow: PartialEq {
    /// The table.
    const TABLE: &'static str;
    /// Its columns, those of the key first.
    const COLUMNS: &'static [(&'static str, Holds)];

    /// The values of all columns.
    fn args(&self) -> Vec<Arg>;
}

/// A row of `rtc_room_sessions`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
#[expect(clippy::struct_excessive_bools, reason = "they are columns of a table")]
pub struct RtcSessionRow {
    pub sdk_app_id: i64,
    pub room_id: String,
    pub room_id_kind: String,
    pub session: i64,
    pub comm_id: Option<String>,
    pub started_at: UnixMillis,
    pub start_estimated: bool,
    pub created_at: Option<UnixMillis>,
    pub creator: Option<String>,
    pub ended_at: Option<UnixMillis>,
    pub end_inferred: bool,
    pub dismissed_at: Option<UnixMillis>,
    pub room_kind_guessed: bool,
    pub last_at: UnixMillis,
    pub overdue_at: Option<UnixMillis>,
    pub state: String,
    pub people: i64,
    pub people_inside: i64,
    pub robots: i64,
    pub occupied_from: Option<UnixMillis>,
    pub occupied_until: Option<UnixMillis>,
    pub is_cut: bool,
    pub is_repaired: bool,
}

from_row! {
    RtcSessionRow: sdk_app_id, room_id, room_id_kind, session, comm_id, started_at, start_estimated, created_at, creator, ended_at, end_inferred, dismissed_at, room_kind_guessed, last_at, overdue_at, state, people, people_inside, robots, occupied_from, occupied_until, is_cut, is_repaired;
}

impl SettledRow for RtcSessionRow {
    const TABLE: &'static str = "rtc_room_sessions";
    const COLUMNS: &'static [(&'static str, Holds)] = &[
        ("sdk_app_id", Plain),
        ("room_id", Plain),
        ("room_id_kind", Plain),
        ("session", Plain),
        ("comm_id", Plain),
        ("started_at", Time),
        ("start_estimated", Plain),
        ("created_at", Time),
        ("creator", Plain),
        ("ended_at", Time),
        ("end_inferred", Plain),
        ("dismissed_at", Time),
        ("room_kind_guessed", Plain),
        ("last_at", Time),
        ("overdue_at", Time),
        ("state", Plain),
        ("people", Plain),
        ("people_inside", Plain),
        ("robots", Plain),
        ("occupied_from", Time),
        ("occupied_until", Time),
        ("is_cut", Plain),
        ("is_repaired", Plain),
    ];

    fn args(&self) -> Vec<Arg> {
        vec![
            self.sdk_app_id.into(),
            self.room_id.as_str().into(),
            self.room_id_kind.as_str().into(),
            self.session.into(),
            self.comm_id.as_deref().into(),
            self.started_at.0.into(),
            self.start_estimated.into(),
            time(self.created_at),
            self.creator.as_deref().into(),
            time(self.ended_at),
            self.end_inferred.into(),
            time(self.dismissed_at),
            self.room_kind_guessed.into(),
            self.last_at.0.into(),
            time(self.overdue_at),
            self.state.as_str().into(),
            self.people.into(),
            self.people_inside.into(),
            self.robots.into(),
            time(self.occupied_from),
            time(self.occupied_until),
            self.is_cut.into(),
            self.is_repaired.into(),
        ]
    }
}

/// A row of `rtc_stays`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct RtcStayRow {
    pub sdk_app_id: i64,
    pub room_id: String,
    pub room_id_kind: String,
    pub stay_id: Uuid,
    pub session: i64,
    pub account: String,
    pub is_robot: bool,
    pub started_at: UnixMillis,
    pub earliest_start_at: UnixMillis,
    pub ended_at: Option<UnixMillis>,
    pub presumed_end_at: Option<UnixMillis>,
    pub enter_reason: Option<i64>,
    pub exit_reason: Option<i64>,
    pub terminal_type: Option<i64>,
    pub user_type: Option<i64>,
    pub unique_id: Option<i64>,
    pub roles: String,
    pub enters: i64,
    pub late_stops: i64,
    pub flags: String,
}

from_row! {
    RtcStayRow: sdk_app_id, room_id, room_id_kind, stay_id = id, session, account, is_robot, started_at, earliest_start_at, ended_at, presumed_end_at, enter_reason, exit_reason, terminal_type, user_type, unique_id, roles, enters, late_stops, flags;
}

impl SettledRow for RtcStayRow {
    const TABLE: &'static str = "rtc_stays";
    const COLUMNS: &'static [(&'static str, Holds)] = &[
        ("sdk_app_id", Plain),
        ("room_id", Plain),
        ("room_id_kind", Plain),
        ("stay_id", Id),
        ("session", Plain),
        ("account", Plain),
        ("is_robot", Plain),
        ("started_at", Time),
        ("earliest_start_at", Time),
        ("ended_at", Time),
        ("presumed_end_at", Time),
        ("enter_reason", Plain),
        ("exit_reason", Plain),
        ("terminal_type", Plain),
        ("user_type", Plain),
        ("unique_id", Plain),
        ("roles", Json),
        ("enters", Plain),
        ("late_stops", Plain),
        ("flags", Json),
    ];

    fn args(&self) -> Vec<Arg> {
        vec![
            self.sdk_app_id.into(),
            self.room_id.as_str().into(),
            self.room_id_kind.as_str().into(),
            self.stay_id.to_string().as_str().into(),
            self.session.into(),
            self.account.as_str().into(),
            self.is_robot.into(),
            self.started_at.0.into(),
            self.earliest_start_at.0.into(),
            time(self.ended_at),
            time(self.presumed_end_at),
            self.enter_reason.into(),
            self.exit_reason.into(),
            self.terminal_type.into(),
            self.user_type.into(),
            self.unique_id.into(),
            self.roles.as_str().into(),
            self.enters.into(),
            self.late_stops.into(),
            self.flags.as_str().into(),
        ]
    }
}

/// A row of `rtc_publish_intervals`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct RtcIntervalRow {
    pub sdk_app_id: i64,
    pub room_id: String,
    pub room_id_kind: String,
    pub interval_id: Uuid,
    pub session: i64,
    pub stay_id: Uuid,
    pub account: String,
    pub is_robot: bool,
    pub track: String,
    pub started_at: UnixMillis,
    pub ended_at: Option<UnixMillis>,
    pub ended_by: Option<String>,
    pub start_unknown: bool,
}

from_row! {
    RtcIntervalRow: sdk_app_id, room_id, room_id_kind, interval_id = id, session, stay_id = id, account, is_robot, track, started_at, ended_at, ended_by, start_unknown;
}

impl SettledRow for RtcIntervalRow {
    const TABLE: &'static str = "rtc_publish_intervals";
    const COLUMNS: &'static [(&'static str, Holds)] = &[
        ("sdk_app_id", Plain),
        ("room_id", Plain),
        ("room_id_kind", Plain),
        ("interval_id", Id),
        ("session", Plain),
        ("stay_id", Id),
        ("account", Plain),
        ("is_robot", Plain),
        ("track", Plain),
        ("started_at", Time),
        ("ended_at", Time),
        ("ended_by", Plain),
        ("start_unknown", Plain),
    ];

    fn args(&self) -> Vec<Arg> {
        vec![
            self.sdk_app_id.into(),
            self.room_id.as_str().into(),
            self.room_id_kind.as_str().into(),
            self.interval_id.to_string().as_str().into(),
            self.session.into(),
            self.stay_id.to_string().as_str().into(),
            self.account.as_str().into(),
            self.is_robot.into(),
            self.track.as_str().into(),
            self.started_at.0.into(),
            time(self.ended_at),
            self.ended_by.as_deref().into(),
            self.start_unknown.into(),
        ]
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl RtcSessionRow {
    /// The row of a session.
    #[must_use]
    pub fn of(room: &RoomId, kind: RoomIdKind, session: &RtcSession, is_cut: bool) -> Self {
        Self {
            sdk_app_id: room.app,
            room_id: room.room_id.clone(),
            room_id_kind: kind.as_str().to_owned(),
            session: session.session,
            comm_id: session.comm_id.clone(),
            started_at: session.start,
            start_estimated: session.start_estimated,
            created_at: session.created_at,
            creator: session.creator.clone(),
            ended_at: session.end,
            end_inferred: session.end_inferred,
            dismissed_at: session.dismissed_at,
            room_kind_guessed: session.room_kind_guessed,
            last_at: session.last_at,
            overdue_at: session.overdue_at(),
            state: if session.end.is_some() { "ended" } else { "open" }.to_owned(),
            people: count(session.people),
            people_inside: count(session.people_inside),
            robots: count(session.robots),
            occupied_from: session.occupied_from,
            occupied_until: session.occupied_until,
            is_cut,
            is_repaired: session.is_repaired,
        }
    }
}

impl RtcStayRow {
    /// The row of a stay.
    #[must_use]
    pub fn of(room: &RoomId, kind: RoomIdKind, session: i64, stay: &RtcStay) -> Self {
        let role = |role: &projections::rtc::stay::RoleInterval| {
            let until = role.until.map(|until| until.0);
            serde_json::json!({"role": role.role, "from": role.from.0, "until": until})
        };
        let roles: serde_json::Value = stay.roles.iter().map(role).collect();
        let flags: serde_json::Value =
            stay.flags.iter().map(|flag| StayFlag::as_str(*flag)).collect();
        Self {
            sdk_app_id: room.app,
            room_id: room.room_id.clone(),
            room_id_kind: kind.as_str().to_owned(),
            stay_id: stay.id,
            session,
            account: stay.user.clone(),
            is_robot: stay.is_robot,
            started_at: stay.start,
            earliest_start_at: stay.earliest_start,
            ended_at: stay.end,
            presumed_end_at: stay.presumed_end,
            enter_reason: stay.enter_reason.map(EnterReason::number),
            exit_reason: stay.exit_reason.map(ExitReason::number),
            terminal_type: stay.terminal_type,
            user_type: stay.user_type,
            unique_id: stay.unique_id,
            roles: roles.to_string(),
            enters: stay.enters.into(),
            late_stops: stay.late_stops.into(),
            flags: flags.to_string(),
        }
    }
}

impl RtcIntervalRow {
    /// The row of an interval.
    #[must_use]
    pub fn of(room: &RoomId, kind: RoomIdKind, session: i64, of: &RtcPublishInterval) -> Self {
        Self {
            sdk_app_id: room.app,
            room_id: room.room_id.clone(),
            room_id_kind: kind.as_str().to_owned(),
            interval_id: of.id,
            session,
            stay_id: of.stay,
            account: of.user.clone(),
            is_robot: of.is_robot,
            track: of.track.as_str().to_owned(),
            started_at: of.start,
            ended_at: of.end,
            ended_by: of.ended_by.map(PublishEnd::as_str).map(str::to_owned),
            start_unknown: of.start_unknown,
        }
    }
}
