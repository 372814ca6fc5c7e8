//! What an event changes in the read models: one value for each row, with the table's columns as fields.
//!
//! A fact is a row of its own. A merged row ([`CallChange`], [`MemberChange`]) is joined with what its table holds:
//! each field says how, and every way is commutative, associative and idempotent. So neither the order of events nor a
//! repeat matters.

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::callback::AppId;
use crate::clock::UnixMillis;
use crate::projections::table::{Row, Value};

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
    /// Added to `new_event_counts`.
    Count(EventCount),
}

impl Change {
    /// About how much memory it takes, in bytes.
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
            Self::Count(count) => (0, count.command.len() + count.result.len()),
        };
        size_of::<Self>() + boxed + texts
    }
}

/// JSON text, as it goes into a column.
pub type Json = Box<RawValue>;

/// What an event says of a call. Texts join to the greatest: events that disagree are a mistake of the vendor's, and
/// any rule does that has no memory.
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
    /// Who called. Greatest.
    pub caller: Option<String>,
    /// The chat group. Greatest.
    pub chat_group_id: Option<String>,
    /// The RTC room. Greatest.
    pub room_id: Option<String>,
    /// How it ended. Greatest.
    pub result: Option<String>,
    /// Time of the start event. Earliest.
    pub start_event_at: Option<UnixMillis>,
    /// Start by the record. Earliest.
    pub start_record_at: Option<UnixMillis>,
    /// When a callee was seen in it. Earliest.
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

/// What an event says of one account in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    /// The app.
    pub app: AppId,
    /// The call.
    pub call_id: String,
    /// The account.
    pub account: String,
    /// Whether it called. Greatest.
    pub is_caller: bool,
    /// When it was rung. Earliest.
    pub invited_at: Option<UnixMillis>,
    /// When it was in the call. Earliest.
    pub joined_at: Option<UnixMillis>,
    /// When it came in. Latest.
    pub last_joined_at: Option<UnixMillis>,
    /// When it left, declined or was lost. Latest.
    pub last_left_at: Option<UnixMillis>,
    /// What was done last. The one with the greatest time, rank and id.
    pub last_action: Option<LastAction>,
    /// The earliest time named. Earliest.
    pub first_at: UnixMillis,
    /// The latest time named. Latest.
    pub last_at: UnixMillis,
    /// When the call ended. Latest.
    pub call_ended_at: Option<UnixMillis>,
    /// How it ended. Greatest.
    pub call_result: Option<String>,
}

/// What was done last by a member, or to it. The order of the fields decides which is last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastAction {
    /// The event's time.
    pub at: UnixMillis,
    /// Of one time: 2 for what brings an account into the call, 1 for what takes it out, 0 for the rest.
    pub rank: i64,
    /// The event.
    pub event_id: Uuid,
    /// `accept`, `reject`, `not_answer`, `hangup`, `join`, `offline`, `invite`, `cancel_invite`, or as sent.
    pub action: String,
}

/// What was done to a room itself.
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
    /// Its place among the changes of one event.
    pub ordinal: i32,
    /// Conference or live.
    pub family: RoomFamily,
    /// What was done.
    pub kind: RoomChangeKind,
    /// Who did it.
    pub by_account: Option<String>,
    /// To whom: the administrator.
    pub account: Option<String>,
    /// The room's name.
    pub name: Option<String>,
    /// Its owner, the new one where it changed.
    pub owner: Option<String>,
    /// `meeting` or `live`, or as sent.
    pub room_type: Option<String>,
    /// Its create time as the event says, in whole seconds.
    pub created_at: Option<UnixMillis>,
    /// How many may be inside.
    pub max_members: Option<i64>,
    /// How many seats there are.
    pub max_seats: Option<i64>,
    /// Of a destroy: `user`, `system`, or as sent.
    pub cause: Option<String>,
    /// The other properties: an object.
    pub properties: Option<Json>,
    /// The statistic of a live room's destroy: an object.
    pub statistic: Option<Json>,
}

/// The family a room belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomFamily {
    /// A conference.
    Room,
    /// A live room.
    Live,
}

impl RoomFamily {
    /// As its column has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Live => "live",
        }
    }
}

/// What was done to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoomChangeKind {
    /// It was created.
    Create,
    /// Its properties changed.
    Update,
    /// It has another owner.
    Owner,
    /// It has one administrator more.
    AdminAdd,
    /// It has one administrator fewer.
    AdminDelete,
    /// It was destroyed.
    Destroy,
}

impl RoomChangeKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Create, Self::Update, Self::Owner, Self::AdminAdd, Self::AdminDelete, Self::Destroy];

    /// As its column has it.
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

/// Somebody came into a room, or left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceMark {
    /// The app.
    pub app: AppId,
    /// The room.
    pub room_id: String,
    /// Who.
    pub account: String,
    /// The event's time.
    pub at: UnixMillis,
    /// The event.
    pub event_id: Uuid,
    /// Conference or live.
    pub family: RoomFamily,
    /// Came in, or left.
    pub enters: bool,
    /// `enter`, `leave`, `kicked`, `expired`, `heartbeat_interrupt`, `heartbeat_recover`, or as sent.
    pub cause: Option<String>,
    /// Who acted.
    pub by_account: Option<String>,
    /// How many were inside, as the vendor counts.
    pub member_count: Option<i64>,
}

/// How a seat was after an event.
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
    /// Who sat there; `None` where nobody did.
    pub account: Option<String>,
    /// Nobody could take it.
    pub is_locked: Option<bool>,
    /// No video from there.
    pub is_video_disabled: Option<bool>,
    /// No audio from there.
    pub is_audio_disabled: Option<bool>,
    /// Who acted; absent in live rooms.
    pub by_account: Option<String>,
}

/// A gift the vendor asked about.
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
    /// Who gave.
    pub sender: Option<String>,
    /// To whom: a list of accounts.
    pub receivers: Option<Json>,
    /// What.
    pub gift_id: Option<String>,
    /// How many.
    pub count: Option<i64>,
    /// What one of them is worth, in coins.
    pub coins: Option<i64>,
}

/// What an event says of one room in a battle.
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
    /// How long the battle is to last, in ms.
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
    /// Its name.
    pub key: String,
    /// The event's time.
    pub at: UnixMillis,
    /// The event.
    pub event_id: Uuid,
    /// Its value; `None` where it was deleted.
    pub value: Option<String>,
    /// `Some(true)` where the value is only the beginning of what was set.
    pub cut: Option<bool>,
    /// Who did it.
    pub by_account: Option<String>,
}

/// What an event says of a recording task.
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
    /// As sent; what it means depends on the event type.
    pub status: Option<i64>,
    /// `started`, `recording`, `stopped`, `uploading`, `finished` or `failed`; `None` where the event changes none.
    pub state: Option<&'static str>,
    /// The files it names: a list of objects `{name, url, file_id, user, track, from, to}`.
    pub files: Option<Json>,
    /// `Some(true)` where it names more.
    pub cut: Option<bool>,
    /// What went wrong, in the vendor's words.
    pub message: Option<String>,
}

/// One more event of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCount {
    /// The app.
    pub app: AppId,
    /// The minute of the event's time.
    pub at: UnixMillis,
    /// The command's canonical name.
    pub command: String,
    /// How a call ended, of those commands that say; else empty.
    pub result: String,
    /// The command's family.
    pub family: &'static str,
    /// How many.
    pub events: i64,
    /// From the events' times until they arrived, summed, in ms. None is below 0.
    pub lag_ms: i64,
    /// The longest of those, in ms.
    pub lag_ms_max: i64,
}
