//! The rows that an event adds to the read models or merges into them: one type for each table, its columns as
//! fields.
//!
//! A fact is a row of its own. A merged row ([`CallChange`], [`MemberChange`]) is combined with the stored one: each
//! field names its merge, and every merge is commutative, associative and idempotent, so the result depends neither
//! on the order of events nor on repeats.

use uuid::Uuid;

pub use crate::rtc::mark::RtcMark;
pub use crate::rtc::robot::RtcRobot;
pub use crate::rtc_task_mark::{RtcTaskMark, RtcTaskState};
pub use crate::table::Json;
use crate::table::{Row, Value};
use protocol::AppId;
use protocol::UnixMillis;

/// One row that an event adds to a read model, or merges into it.
#[derive(Debug, Clone)]
pub enum Change {
    /// Merged into `calls`.
    Call(CallChange),
    /// Merged into `call_members`.
    Member(MemberChange),
    /// A row of `room_changes`.
    Room(Box<RoomChange>),
    /// A row of `room_marks`.
    Presence(PresenceMark),
    /// A row of `seat_marks`.
    Seat(SeatMark),
    /// A row of `gifts`.
    Gift(Gift),
    /// A row of `battle_marks`.
    Battle(BattleMark),
    /// A row of `metadata_marks`.
    Metadata(MetadataMark),
    /// A row of `recording_marks`.
    Recording(RecordingMark),
    /// A row of `rtc_task_marks`.
    RtcTask(RtcTaskMark),
    /// A row of `rtc_room_marks`.
    RtcRoom(Box<RtcMark>),
    /// Merged into `rtc_robots`.
    RtcRobot(RtcRobot),
    /// Added to `new_event_counts`.
    Count(EventCount),
}

impl Change {
    /// The memory it takes, approximately, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts = |row: Row<'_>| -> usize {
            let lengths = row.iter().map(|value| match value {
                Value::Text(text) => text.len(),
                _ => 0,
            });
            lengths.sum()
        };
        let (boxed, texts) = match self {
            Self::Room(change) => (size_of::<RoomChange>(), texts(change.row())),
            Self::Call(change) => (0, texts(change.row())),
            Self::Member(change) => (0, texts(change.row())),
            Self::Presence(mark) => (0, texts(mark.row())),
            Self::Seat(mark) => (0, texts(mark.row())),
            Self::Gift(gift) => (0, texts(gift.row())),
            Self::Battle(mark) => (0, texts(mark.row())),
            Self::Metadata(mark) => (0, texts(mark.row())),
            Self::Recording(mark) => (0, texts(mark.row())),
            Self::RtcTask(mark) => (0, texts(mark.row())),
            Self::RtcRoom(mark) => (size_of::<RtcMark>(), texts(mark.row())),
            Self::RtcRobot(robot) => (0, texts(robot.row())),
            Self::Count(count) => (0, count.command.len() + count.result.len()),
        };
        size_of::<Self>() + boxed + texts
    }
}

/// One event's data about a call. Texts merge to the greatest: events of one call should agree, and where they do
/// not, the rule must not depend on their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallChange {
    /// The app.
    pub app: AppId,
    /// The call.
    pub call_id: String,
    /// `audio` or `video`. Greatest.
    pub media: Option<String>,
    /// `single` or `multi`. Greatest.
    pub call_type: Option<String>,
    /// The calling account. Greatest.
    pub caller: Option<String>,
    /// The chat group. Greatest.
    pub chat_group_id: Option<String>,
    /// The RTC room. Greatest.
    pub room_id: Option<String>,
    /// The result of the call. Greatest.
    pub result: Option<String>,
    /// Time of the start event. Earliest.
    pub start_event_at: Option<UnixMillis>,
    /// Start by the record. Earliest.
    pub start_record_at: Option<UnixMillis>,
    /// When a callee was first in the call. Earliest.
    pub accept_event_at: Option<UnixMillis>,
    /// Acceptance by the record. Earliest.
    pub accept_record_at: Option<UnixMillis>,
    /// Time of the end event. Latest.
    pub end_event_at: Option<UnixMillis>,
    /// End by the record. Latest.
    pub end_record_at: Option<UnixMillis>,
    /// The earliest time named. Earliest.
    pub first_at: UnixMillis,
    /// The latest time named. Latest.
    pub last_at: UnixMillis,
}

/// One event's data about an account in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    /// The app.
    pub app: AppId,
    /// The call.
    pub call_id: String,
    /// The account.
    pub account: String,
    /// Whether it is the caller. Greatest.
    pub is_caller: bool,
    /// When it was invited. Earliest.
    pub invited_at: Option<UnixMillis>,
    /// When it joined. Earliest.
    pub joined_at: Option<UnixMillis>,
    /// When it last joined. Latest.
    pub last_joined_at: Option<UnixMillis>,
    /// When it left, declined or lost its connection. Latest.
    pub last_left_at: Option<UnixMillis>,
    /// The last action: the one with the greatest time, rank and id.
    pub last_action: Option<LastAction>,
    /// The earliest time named. Earliest.
    pub first_at: UnixMillis,
    /// The latest time named. Latest.
    pub last_at: UnixMillis,
    /// When the call ended. Latest.
    pub call_ended_at: Option<UnixMillis>,
    /// The result of the call. Greatest.
    pub call_result: Option<String>,
}

/// The last action of a member or on a member. The order of the fields decides which action is the last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastAction {
    /// The event's time.
    pub at: UnixMillis,
    /// Orders actions of one time: 2 for those that bring an account into the call, 1 for those that end its
    /// presence, 0 for the rest.
    pub rank: i64,
    /// The event.
    pub event_id: Uuid,
    /// `accept`, `reject`, `not_answer`, `hangup`, `join`, `offline`, `invite`, `cancel_invite`, or as sent.
    pub action: String,
}

/// A change of a room itself.
#[derive(Debug, Clone)]
pub struct RoomChange {
    /// The app.
    pub app: AppId,
    /// The room.
    pub room_id: String,
    /// The event's time.
    pub at: UnixMillis,
    /// The event.
    pub event_id: Uuid,
    /// Its position among the changes of one event.
    pub ordinal: i32,
    /// Conference or live.
    pub family: RoomFamily,
    /// The kind of the change.
    pub kind: RoomChangeKind,
    /// The operator.
    pub by_account: Option<String>,
    /// The administrator that was added or removed.
    pub account: Option<String>,
    /// The room's name.
    pub name: Option<String>,
    /// Its owner; after a change of owner, the new one.
    pub owner: Option<String>,
    /// `meeting` or `live`, or as sent.
    pub room_type: Option<String>,
    /// Its create time as the event has it, in whole seconds.
    pub created_at: Option<UnixMillis>,
    /// Maximum number of members.
    pub max_members: Option<i64>,
    /// Maximum number of seats.
    pub max_seats: Option<i64>,
    /// Of a destroy: `user`, `system`, or as sent.
    pub cause: Option<String>,
    /// The other properties: an object.
    pub properties: Option<Json>,
    /// The statistic of a live room's destroy: an object.
    pub statistic: Option<Json>,
}

/// The kind of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomFamily {
    /// A conference.
    Room,
    /// A live room.
    Live,
}

impl RoomFamily {
    /// The value of its column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Live => "live",
        }
    }
}

/// The kind of a room change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoomChangeKind {
    /// It was created.
    Create,
    /// Its properties changed.
    Update,
    /// The owner changed.
    Owner,
    /// An administrator was added.
    AdminAdd,
    /// An administrator was removed.
    AdminDelete,
    /// It was destroyed.
    Destroy,
}

impl RoomChangeKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Create, Self::Update, Self::Owner, Self::AdminAdd, Self::AdminDelete, Self::Destroy];

    /// The value of its column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Owner => "owner",
            Self::AdminAdd => "admin_add",
            Self::AdminDelete => "admin_delete",
            Self::Destroy => "destroy",
        }
    }
}

/// An account entered a room or left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceMark {
    /// The app.
    pub app: AppId,
    /// The room.
    pub room_id: String,
    /// The account.
    pub account: String,
    /// The event's time.
    pub at: UnixMillis,
    /// The event.
    pub event_id: Uuid,
    /// Conference or live.
    pub family: RoomFamily,
    /// Whether it entered; else it left.
    pub enters: bool,
    /// `enter`, `leave`, `kicked`, `expired`, `heartbeat_interrupt`, `heartbeat_recover`, or as sent.
    pub cause: Option<String>,
    /// The operator.
    pub by_account: Option<String>,
    /// The vendor's count of members afterwards.
    pub member_count: Option<i64>,
}

/// The state of a seat after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatMark {
    /// The app.
    pub app: AppId,
    /// The room.
    pub room_id: String,
    /// The seat's number.
    pub seat: i32,
    /// The event's time.
    pub at: UnixMillis,
    /// The event.
    pub event_id: Uuid,
    /// The account on the seat; `None` where it is free.
    pub account: Option<String>,
    /// Whether the seat is locked.
    pub is_locked: Option<bool>,
    /// Whether video from the seat is disabled.
    pub is_video_disabled: Option<bool>,
    /// Whether audio from the seat is disabled.
    pub is_audio_disabled: Option<bool>,
    /// The operator; absent in live rooms.
    pub by_account: Option<String>,
}

/// A gift that a before-callback announced.
#[derive(Debug, Clone)]
pub struct Gift {
    /// The app.
    pub app: AppId,
    /// The room.
    pub room_id: String,
    /// The event's time.
    pub at: UnixMillis,
    /// The event.
    pub event_id: Uuid,
    /// The sender.
    pub sender: Option<String>,
    /// The receivers: a list of accounts.
    pub receivers: Option<Json>,
    /// The app's id of the gift.
    pub gift_id: Option<String>,
    /// Count.
    pub count: Option<i64>,
    /// Value of a single one, in coins.
    pub coins: Option<i64>,
}

/// One event's data about one room of a battle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BattleMark {
    /// The app.
    pub app: AppId,
    /// The battle.
    pub battle_id: String,
    /// The event's time.
    pub at: UnixMillis,
    /// The event.
    pub event_id: Uuid,
    /// The room.
    pub room_id: String,
    /// `create`, `start` or `end`.
    pub stage: &'static str,
    /// Whether this room proposed it.
    pub is_proposer: bool,
    /// The room's owner.
    pub owner: Option<String>,
    /// The room's points.
    pub score: Option<i64>,
    /// Planned length, in ms.
    pub duration_ms: Option<i64>,
    /// When it was proposed, in whole seconds.
    pub created_at: Option<UnixMillis>,
    /// When it began, in whole seconds.
    pub started_at: Option<UnixMillis>,
    /// When it ended, in whole seconds.
    pub ended_at: Option<UnixMillis>,
    /// Of an end: `time_up`, `owners_left`, `nobody_joined`, or as sent.
    pub ending: Option<String>,
}

/// One entry of a live room's metadata, set or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataMark {
    /// The app.
    pub app: AppId,
    /// The room.
    pub room_id: String,
    /// The entry's key.
    pub key: String,
    /// The event's time.
    pub at: UnixMillis,
    /// The event.
    pub event_id: Uuid,
    /// Its value; `None` where it was deleted.
    pub value: Option<String>,
    /// `Some(true)` where the value is only the beginning of what was set.
    pub cut: Option<bool>,
    /// The operator.
    pub by_account: Option<String>,
}

/// One event's data about a recording task.
#[derive(Debug, Clone)]
pub struct RecordingMark {
    /// The app.
    pub app: AppId,
    /// The task.
    pub task_id: String,
    /// The event's time.
    pub at: UnixMillis,
    /// The event.
    pub event_id: Uuid,
    /// The recorded call.
    pub call_id: Option<String>,
    /// The recorded room.
    pub room_id: Option<String>,
    /// The recorder's own account.
    pub recorder: Option<String>,
    /// 3 for cloud recording, 8 for web page recording.
    pub event_group: Option<i64>,
    /// 301 to 312, or 801 to 804.
    pub event_type: Option<i64>,
    /// Result code as sent; its meaning depends on the event type. Of 305 also where it is sent as `LeaveCode`.
    pub status: Option<i64>,
    /// `started`, `recording`, `stopped`, `uploading`, `finished` or `failed`; `None` where the event does not change
    /// the state.
    pub state: Option<&'static str>,
    /// The files it names: a list of objects `{name, url, file_id, user, track, media, from, to}`.
    pub files: Option<Json>,
    /// `Some(true)` where files beyond the bound were left out.
    pub cut: Option<bool>,
    /// The vendor's error text.
    pub message: Option<String>,
    /// Whose event it is: `call`, `live` or `rtc`.
    pub reporter: &'static str,
    /// Why recording ended, in a word.
    pub end_reason: Option<&'static str>,
    /// The same as sent: `LeaveCode` of 302.
    pub leave_code: Option<i64>,
}

/// The contribution of an event to `new_event_counts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCount {
    /// The app.
    pub app: AppId,
    /// The minute of the event's time.
    pub at: UnixMillis,
    /// The command's canonical name.
    pub command: String,
    /// The result of the call for commands that have one; else empty.
    pub result: String,
    /// The command's family.
    pub family: &'static str,
    /// Number of events.
    pub events: i64,
    /// Sum of the delays from event time to arrival, in ms. Negative delays count as 0.
    pub lag_ms: i64,
    /// The longest delay, in ms.
    pub lag_ms_max: i64,
}
