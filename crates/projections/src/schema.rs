//! The tables that projections write, in write order.

use crate::change::{
    BattleMark, CallChange, EventCount, Gift, MemberChange, MetadataMark, PresenceMark,
    RecordingMark, RoomChange, RtcTaskMark, RtcTaskState, SeatMark,
};
use crate::rtc_schema::{RTC_ROBOTS, RTC_ROOM_MARKS, RTC_SETTLE_QUEUE};
use crate::table::{Column, Kind, Row, Table};

use Kind::{Id, Json, Number, Slot, Text, Time, Truth};

/// Invariant: every writer locks rows in this order of tables, so that two writers cannot deadlock.
pub static TABLES: [&Table; 15] = [
    &CALLS,
    &CALL_MEMBERS,
    &ROOM_CHANGES,
    &ROOM_MARKS,
    &SEAT_MARKS,
    &GIFTS,
    &BATTLE_MARKS,
    &METADATA_MARKS,
    &RECORDING_MARKS,
    &RTC_TASK_MARKS,
    &RTC_ROOM_MARKS,
    &RTC_ROBOTS,
    &NEW_EVENT_COUNTS,
    &SETTLE_QUEUE,
    &RTC_SETTLE_QUEUE,
];

static CALLS: Table = Table {
    name: "merged_calls",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("call_id", Text).may_name(),
        Column::greatest("media", Text),
        Column::greatest("call_type", Text),
        Column::greatest("caller", Text).may_name(),
        Column::greatest("chat_group_id", Text).may_name(),
        Column::greatest("room_id", Text).may_name(),
        Column::greatest("result", Text),
        Column::least("start_event_at", Time),
        Column::least("start_record_at", Time),
        Column::least("accept_event_at", Time),
        Column::least("accept_record_at", Time),
        Column::greatest("end_event_at", Time),
        Column::greatest("end_record_at", Time),
        Column::least("first_at", Time),
        Column::greatest("last_at", Time),
    ],
};

impl CallChange {
    pub(crate) fn row(&self) -> Row<'_> {
        vec![
            self.app.into(),
            (&self.call_id).into(),
            self.media.as_ref().into(),
            self.call_type.as_ref().into(),
            self.caller.as_ref().into(),
            self.chat_group_id.as_ref().into(),
            self.room_id.as_ref().into(),
            self.result.as_ref().into(),
            self.start_event_at.into(),
            self.start_record_at.into(),
            self.accept_event_at.into(),
            self.accept_record_at.into(),
            self.end_event_at.into(),
            self.end_record_at.into(),
            self.first_at.into(),
            self.last_at.into(),
        ]
    }
}

static CALL_MEMBERS: Table = Table {
    name: "merged_call_members",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("call_id", Text).may_name(),
        Column::key("account", Text).may_name(),
        Column::greatest("is_caller", Truth),
        Column::least("invited_at", Time),
        Column::least("joined_at", Time),
        Column::greatest("last_joined_at", Time),
        Column::greatest("last_left_at", Time),
        Column::last("last_action_at", Time),
        Column::last("last_action_rank", Number),
        Column::last("last_action_id", Id),
        Column::last("last_action", Text),
        Column::least("first_at", Time),
        Column::greatest("last_at", Time),
        Column::greatest("call_ended_at", Time),
        Column::greatest("call_result", Text),
    ],
};

impl MemberChange {
    pub(crate) fn row(&self) -> Row<'_> {
        let last = self.last_action.as_ref();
        vec![
            self.app.into(),
            (&self.call_id).into(),
            (&self.account).into(),
            self.is_caller.into(),
            self.invited_at.into(),
            self.joined_at.into(),
            self.last_joined_at.into(),
            self.last_left_at.into(),
            last.map(|last| last.at).into(),
            last.map(|last| last.rank).into(),
            last.map(|last| last.event_id).into(),
            last.map(|last| &last.action).into(),
            self.first_at.into(),
            self.last_at.into(),
            self.call_ended_at.into(),
            self.call_result.as_ref().into(),
        ]
    }
}

static ROOM_CHANGES: Table = Table {
    name: "room_changes",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("room_id", Text).may_name(),
        Column::key("at", Time),
        Column::key("event_id", Id),
        Column::key("ordinal", Number),
        Column::fact("family", Text),
        Column::fact("kind", Text),
        Column::fact("by_account", Text).may_name(),
        Column::fact("account", Text).may_name(),
        Column::fact("name", Text).may_name(),
        Column::fact("owner", Text).may_name(),
        Column::fact("room_type", Text),
        Column::fact("created_at", Time),
        Column::fact("max_members", Number),
        Column::fact("max_seats", Number),
        Column::fact("cause", Text),
        Column::fact("properties", Json).may_name(),
        Column::fact("statistic", Json),
    ],
};

impl RoomChange {
    pub(crate) fn row(&self) -> Row<'_> {
        vec![
            self.app.into(),
            (&self.room_id).into(),
            self.at.into(),
            self.event_id.into(),
            self.ordinal.into(),
            self.family.as_str().into(),
            self.kind.as_str().into(),
            self.by_account.as_ref().into(),
            self.account.as_ref().into(),
            self.name.as_ref().into(),
            self.owner.as_ref().into(),
            self.room_type.as_ref().into(),
            self.created_at.into(),
            self.max_members.into(),
            self.max_seats.into(),
            self.cause.as_ref().into(),
            self.properties.as_ref().into(),
            self.statistic.as_ref().into(),
        ]
    }
}

static ROOM_MARKS: Table = Table {
    name: "room_marks",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("room_id", Text).may_name(),
        Column::key("account", Text).may_name(),
        Column::key("at", Time),
        Column::key("event_id", Id),
        Column::fact("family", Text),
        Column::fact("enters", Truth),
        Column::fact("cause", Text),
        Column::fact("by_account", Text).may_name(),
        Column::fact("member_count", Number),
    ],
};

impl PresenceMark {
    pub(crate) fn row(&self) -> Row<'_> {
        vec![
            self.app.into(),
            (&self.room_id).into(),
            (&self.account).into(),
            self.at.into(),
            self.event_id.into(),
            self.family.as_str().into(),
            self.enters.into(),
            self.cause.as_ref().into(),
            self.by_account.as_ref().into(),
            self.member_count.into(),
        ]
    }
}

static SEAT_MARKS: Table = Table {
    name: "seat_marks",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("room_id", Text).may_name(),
        Column::key("seat", Number),
        Column::key("at", Time),
        Column::key("event_id", Id),
        Column::fact("account", Text).may_name(),
        Column::fact("is_locked", Truth),
        Column::fact("is_video_disabled", Truth),
        Column::fact("is_audio_disabled", Truth),
        Column::fact("by_account", Text).may_name(),
    ],
};

impl SeatMark {
    pub(crate) fn row(&self) -> Row<'_> {
        vec![
            self.app.into(),
            (&self.room_id).into(),
            self.seat.into(),
            self.at.into(),
            self.event_id.into(),
            self.account.as_ref().into(),
            self.is_locked.into(),
            self.is_video_disabled.into(),
            self.is_audio_disabled.into(),
            self.by_account.as_ref().into(),
        ]
    }
}

static GIFTS: Table = Table {
    name: "gifts",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("room_id", Text).may_name(),
        Column::key("at", Time),
        Column::key("event_id", Id),
        Column::fact("sender", Text).may_name(),
        Column::fact("receivers", Json).may_name(),
        Column::fact("gift_id", Text).may_name(),
        Column::fact("count", Number),
        Column::fact("coins", Number),
    ],
};

impl Gift {
    pub(crate) fn row(&self) -> Row<'_> {
        vec![
            self.app.into(),
            (&self.room_id).into(),
            self.at.into(),
            self.event_id.into(),
            self.sender.as_ref().into(),
            self.receivers.as_ref().into(),
            self.gift_id.as_ref().into(),
            self.count.into(),
            self.coins.into(),
        ]
    }
}

static BATTLE_MARKS: Table = Table {
    name: "battle_marks",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("battle_id", Text).may_name(),
        Column::key("at", Time),
        Column::key("event_id", Id),
        Column::key("room_id", Text).may_name(),
        Column::fact("stage", Text),
        Column::fact("is_proposer", Truth),
        Column::fact("owner", Text).may_name(),
        Column::fact("score", Number),
        Column::fact("duration_ms", Number),
        Column::fact("created_at", Time),
        Column::fact("started_at", Time),
        Column::fact("ended_at", Time),
        Column::fact("ending", Text),
    ],
};

impl BattleMark {
    pub(crate) fn row(&self) -> Row<'_> {
        vec![
            self.app.into(),
            (&self.battle_id).into(),
            self.at.into(),
            self.event_id.into(),
            (&self.room_id).into(),
            self.stage.into(),
            self.is_proposer.into(),
            self.owner.as_ref().into(),
            self.score.into(),
            self.duration_ms.into(),
            self.created_at.into(),
            self.started_at.into(),
            self.ended_at.into(),
            self.ending.as_ref().into(),
        ]
    }
}

static METADATA_MARKS: Table = Table {
    name: "metadata_marks",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("room_id", Text).may_name(),
        Column::key("key", Text).may_name(),
        Column::key("at", Time),
        Column::key("event_id", Id),
        Column::fact("value", Text).may_name(),
        Column::fact("by_account", Text).may_name(),
        Column::fact("cut", Truth),
    ],
};

impl MetadataMark {
    pub(crate) fn row(&self) -> Row<'_> {
        vec![
            self.app.into(),
            (&self.room_id).into(),
            (&self.key).into(),
            self.at.into(),
            self.event_id.into(),
            self.value.as_ref().into(),
            self.by_account.as_ref().into(),
            self.cut.into(),
        ]
    }
}

static RECORDING_MARKS: Table = Table {
    name: "recording_marks",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("task_id", Text).may_name(),
        Column::key("at", Time),
        Column::key("event_id", Id),
        Column::fact("call_id", Text).may_name(),
        Column::fact("room_id", Text).may_name(),
        Column::fact("recorder", Text).may_name(),
        Column::fact("event_group", Number),
        Column::fact("event_type", Number),
        Column::fact("status", Number),
        Column::fact("state", Text),
        Column::fact("files", Json).may_name(),
        Column::fact("message", Text).may_name(),
        Column::fact("cut", Truth),
        Column::fact("reporter", Text),
        Column::fact("end_reason", Text),
        Column::fact("leave_code", Number),
    ],
};

impl RecordingMark {
    pub(crate) fn row(&self) -> Row<'_> {
        vec![
            self.app.into(),
            (&self.task_id).into(),
            self.at.into(),
            self.event_id.into(),
            self.call_id.as_ref().into(),
            self.room_id.as_ref().into(),
            self.recorder.as_ref().into(),
            self.event_group.into(),
            self.event_type.into(),
            self.status.into(),
            self.state.into(),
            self.files.as_ref().into(),
            self.message.as_ref().into(),
            self.cut.into(),
            self.reporter.into(),
            self.end_reason.into(),
            self.leave_code.into(),
        ]
    }
}

static RTC_TASK_MARKS: Table = Table {
    name: "rtc_task_marks",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("task_id", Text).may_name(),
        Column::key("at", Time),
        Column::key("event_id", Id),
        Column::fact("kind", Text),
        Column::fact("event_type", Number),
        Column::fact("room_id", Text).may_name(),
        Column::fact("room_id_kind", Text),
        Column::fact("robot", Text).may_name(),
        Column::fact("url", Text).may_name(),
        Column::fact("state", Text),
        Column::fact("state_rank", Number),
        Column::fact("end_reason", Text),
        Column::fact("leave_code", Number),
        Column::fact("error_code", Text).may_name(),
        Column::fact("error_message", Text).may_name(),
        Column::fact("counted", Text),
    ],
};

impl RtcTaskMark {
    pub(crate) fn row(&self) -> Row<'_> {
        vec![
            self.app.into(),
            (&self.task_id).into(),
            self.at.into(),
            self.event_id.into(),
            self.kind.into(),
            self.event_type.into(),
            self.room_id.as_ref().into(),
            self.room_id_kind.into(),
            self.robot.as_ref().into(),
            self.url.as_ref().into(),
            self.state.map(RtcTaskState::as_str).into(),
            self.state.map(RtcTaskState::rank).into(),
            self.end_reason.into(),
            self.leave_code.into(),
            self.error_code.as_ref().into(),
            self.error_message.as_ref().into(),
            self.counted.into(),
        ]
    }
}

static NEW_EVENT_COUNTS: Table = Table {
    name: "new_event_counts",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("at", Time),
        Column::key("command", Text),
        Column::key("result", Text),
        Column::greatest("family", Text),
        Column::sum("events"),
        Column::sum("lag_ms"),
        Column::greatest("lag_ms_max", Number),
    ],
};

impl EventCount {
    pub(crate) fn row(&self) -> Row<'_> {
        vec![
            self.app.into(),
            self.at.into(),
            (&self.command).into(),
            (&self.result).into(),
            self.family.into(),
            self.events.into(),
            self.lag_ms.into(),
            self.lag_ms_max.into(),
        ]
    }
}

static SETTLE_QUEUE: Table = Table {
    name: "settle_queue",
    columns: &[
        Column::key("sdk_app_id", Number),
        Column::key("room_id", Text).may_name(),
        Column::key("day", Number),
        Column::key("slot", Slot),
    ],
};
