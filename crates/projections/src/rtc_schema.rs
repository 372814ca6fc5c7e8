//! The tables of the facts of the RTC Engine's rooms.

use crate::rtc::mark::{RtcMark, What};
use crate::rtc::robot::RtcRobot;
use crate::table::{Column, Kind, Row, Table};

use Kind::{Id, Number, Slot, Text, Time};

pub(crate) static RTC_ROOM_MARKS: Table = Table {
    name: "rtc_room_marks",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("room_id", Text).may_name(),
        Column::key("at", Time),
        Column::key("event_id", Id),
        Column::fact("room_id_kind", Text),
        Column::fact("kind", Text),
        Column::fact("track", Text),
        Column::fact("precision", Text),
        Column::fact("account", Text).may_name(),
        Column::fact("reason", Number),
        Column::fact("role", Number),
        Column::fact("terminal_type", Number),
        Column::fact("user_type", Number),
        Column::fact("unique_id", Number),
    ],
};

impl RtcMark {
    pub(crate) fn row(&self) -> Row<'_> {
        let track = match self.what {
            What::Start(track) | What::Stop(track) => Some(track.as_str()),
            _ => None,
        };
        vec![
            self.room.app.into(),
            (&self.room.id).into(),
            self.at.into(),
            self.event_id.into(),
            self.room.kind.as_str().into(),
            self.what.as_str().into(),
            track.into(),
            self.precision.as_str().into(),
            self.user.as_ref().into(),
            self.reason.into(),
            self.role.into(),
            self.terminal_type.into(),
            self.user_type.into(),
            self.unique_id.into(),
        ]
    }
}

pub(crate) static RTC_ROBOTS: Table = Table {
    name: "rtc_robots",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("account", Text).may_name(),
        Column::greatest("last_at", Time),
    ],
};

impl RtcRobot {
    pub(crate) fn row(&self) -> Row<'_> {
        vec![self.app.into(), (&self.account).into(), self.last_at.into()]
    }
}

pub(crate) static RTC_SETTLE_QUEUE: Table = Table {
    name: "rtc_settle_queue",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("room_id", Text).may_name(),
        Column::key("at", Number),
        Column::key("slot", Slot),
    ],
};
