//! Rows of the read models, as readers and the API give them.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::clock::UnixMillis;
use crate::projections::session::statistics::worth;
use crate::store::model::recording_file::RecordingFile;

/// JSON text of a column.
pub type JsonText = Box<RawValue>;

/// A call.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
pub struct Call {
    /// The app.
    pub sdk_app_id: i64,
    /// The call.
    pub call_id: String,
    /// audio or video, as the vendor says; null where no event said.
    pub media: Option<String>,
    /// single or multi; known when the call has ended.
    pub call_type: Option<String>,
    /// Account that called.
    pub caller: Option<String>,
    /// Chat group the call was started from; null where there was none.
    pub chat_group_id: Option<String>,
    /// RTC room the call ran in.
    pub room_id: Option<String>,
    /// ringing, active, ended, or overdue: no end came in time.
    pub state: String,
    /// cancel, reject, `not_answer`, `normal_end`, `call_busy`, interrupt, offline, or as sent; null until it has
    /// ended.
    pub result: Option<String>,
    /// When it was started; null where no event said.
    pub started_at: Option<UnixMillis>,
    /// When it was first accepted; null where it was not.
    pub accepted_at: Option<UnixMillis>,
    /// When it ended; of an overdue call, its last event.
    pub ended_at: Option<UnixMillis>,
    /// From acceptance to end, in s; 0 where it never connected, null until it has ended.
    pub talk_seconds: Option<i64>,
    /// Its end is a guess: no end event came.
    pub inferred: bool,
    /// The earliest time any event names for it.
    pub first_at: UnixMillis,
    /// The latest time any event names for it.
    pub last_at: UnixMillis,
}

/// An account in a call.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
pub struct Member {
    /// The account.
    pub account: String,
    /// Whether the account called.
    pub is_caller: bool,
    /// invited, joined or left.
    pub state: String,
    /// How it ended for the account: rejected, missed, cancelled, busy, dropped or `hung_up`; null until then.
    pub ending: Option<String>,
    /// When it was first rung.
    pub invited_at: Option<UnixMillis>,
    /// When it was first in the call; null where it never was.
    pub joined_at: Option<UnixMillis>,
    /// When it was no longer in the call.
    pub left_at: Option<UnixMillis>,
    /// It was in the call and no event says that it left: it left when the call ended.
    pub inferred: bool,
    /// The earliest time any event names for it.
    pub first_at: UnixMillis,
    /// The latest time any event names for it.
    pub last_at: UnixMillis,
}

/// A call as one of its members has it in a list of recent calls.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserCall {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// `outgoing` where the account called, else `incoming`.
    pub direction: String,
    /// How it ended for the account: `answered` where it hung up on somebody, else as [`Member::ending`]; `None` while
    /// it goes on.
    pub outcome: Option<String>,
    /// The others, at most 10.
    pub peers: Vec<String>,
    /// When the account is first named: the list's order.
    pub at: UnixMillis,
}

/// One session of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, sqlx::FromRow)]
pub struct Room {
    /// The app.
    pub sdk_app_id: i64,
    /// The room.
    pub room_id: String,
    /// Which session: the time of its create event, in ms since 1970; where none is known, the end of the session
    /// before, or 0.
    pub session: i64,
    /// room (conference) or live.
    pub family: String,
    /// Its name.
    pub name: Option<String>,
    /// Account that owns it.
    pub owner: Option<String>,
    /// Its type, as the vendor says.
    pub room_type: Option<String>,
    /// open, ended, or overdue: no destroy came, and nothing else for long.
    pub state: String,
    /// When it was created; where that is not known, its first event.
    pub started_at: UnixMillis,
    /// When it was created; null where no create event came.
    pub created_at: Option<UnixMillis>,
    /// Account that created it.
    pub created_by: Option<String>,
    /// When it was destroyed; null where no destroy event came.
    pub destroyed_at: Option<UnixMillis>,
    /// Account that destroyed it.
    pub destroyed_by: Option<String>,
    /// user or system, or as sent; live rooms only.
    pub destroy_cause: Option<String>,
    /// When it ended; where no destroy event came, by rule.
    pub ended_at: Option<UnixMillis>,
    /// Facts of this room id belong to this session from this time on.
    pub from_at: UnixMillis,
    /// Facts of this room id belong to this session before this time; null while it is the last.
    pub until_at: Option<UnixMillis>,
    /// Its latest event.
    pub last_at: UnixMillis,
    /// Its end is a guess: no destroy event came.
    pub inferred: bool,
    /// How many are inside now; 0 once it has ended.
    pub members: i64,
    /// The most that were inside at once.
    pub members_peak: i64,
    /// How many accounts were inside, each counted once.
    pub visitors: i64,
    /// How often somebody came in.
    pub entries: i64,
    /// How many were inside at its end without a leave event.
    pub leaves_missing: i64,
    /// How many leave events have no enter before them.
    pub enters_missing: i64,
    /// How many may be inside.
    pub max_members: Option<i64>,
    /// How many seats there are.
    pub max_seats: Option<i64>,
    /// The room's other properties.
    #[serde(serialize_with = "json::optional")]
    #[schema(value_type = Option<Object>)]
    pub properties: Option<String>,
    /// How many were inside over time: a list of [ms since 1970, members], at most 240.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = Vec<Vec<i64>>)]
    pub occupancy: String,
    /// What is not whole, since it was too much: properties, visitors or sessions; null where all is.
    #[serde(serialize_with = "json::optional")]
    #[schema(value_type = Option<Vec<String>>)]
    pub cut: Option<String>,
}

/// What only live rooms have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, sqlx::FromRow)]
pub struct Live {
    /// The app.
    pub sdk_app_id: i64,
    /// The room.
    pub room_id: String,
    /// Which session of the room.
    pub session: i64,
    /// Of the destroy event's statistic, as are the other totals; who came twice counts twice.
    pub total_viewers: Option<i64>,
    /// Gifts, by the destroy event's statistic.
    pub total_gifts_sent: Option<i64>,
    /// Coins, by the destroy event's statistic.
    pub total_gift_coins: Option<i64>,
    /// Accounts that gave, by the destroy event's statistic.
    pub total_gift_senders: Option<i64>,
    /// Likes, by the destroy event's statistic.
    pub total_likes: Option<i64>,
    /// Gifts in the events, by their count.
    pub gifts: i64,
    /// Their coins: of each event its count, times what one gift is worth.
    pub gift_coins: i64,
    /// `total_gift_coins` less `gift_coins`: how many more coins the vendor's statistic has than the events; null where
    /// there is no statistic.
    #[sqlx(default)]
    pub gift_coins_difference: Option<i64>,
    /// Accounts that gave, by the events.
    pub gift_senders: i64,
    /// At most 10 of {account, gifts, coins}, the most coins first.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = Vec<TopAccount>)]
    pub top_senders: String,
    /// At most 10 of {account, gifts, coins}, the most coins first.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = Vec<TopAccount>)]
    pub top_receivers: String,
    /// How many battles it took part in.
    pub battles: i64,
    /// Accounts that are administrators at its end.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = Vec<String>)]
    pub admins: String,
    /// Keys and values at its end.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = Object)]
    pub metadata: String,
    /// What is not whole, since it was too much: metadata, admins or `gift_senders`; null where all is.
    #[serde(serialize_with = "json::optional")]
    #[schema(value_type = Option<Vec<String>>)]
    pub cut: Option<String>,
}

/// Who gave or received the most.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TopAccount {
    /// The account.
    pub account: String,
    /// How many gifts.
    pub gifts: i64,
    /// How many coins.
    pub coins: i64,
}

/// Somebody's stay in a room.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
pub struct Visit {
    /// The account.
    pub account: String,
    /// Null where no enter event came before the leave.
    pub entered_at: Option<UnixMillis>,
    /// How it came in.
    pub entered_cause: Option<String>,
    /// When it was left; null while it is not.
    pub left_at: Option<UnixMillis>,
    /// Why it left.
    pub left_cause: Option<String>,
    /// Account that made it leave, where an event says.
    pub left_by: Option<String>,
    /// It ended by a guess: the account came in again without having left.
    pub inferred: bool,
    /// The event that began it, or ended it where none began it.
    #[sqlx(try_from = "String")]
    pub event_id: Uuid,
}

/// Somebody's stay on a seat.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
pub struct Stay {
    /// Which seat.
    pub seat: i64,
    /// The account.
    pub account: String,
    /// When it was taken.
    pub taken_at: UnixMillis,
    /// When it was left; null while it is not.
    pub left_at: Option<UnixMillis>,
    /// Whether it ended by rule, with the room.
    pub inferred: bool,
}

/// What was done to a room.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
pub struct RoomChangeRow {
    /// When it happened.
    pub at: UnixMillis,
    /// The event that says so.
    #[sqlx(try_from = "String")]
    pub event_id: Uuid,
    /// create, update, owner, `admin_add`, `admin_delete` or destroy.
    pub kind: String,
    /// Who did it.
    pub by_account: Option<String>,
    /// To whom it was done: the administrator.
    pub account: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Account that owns it.
    pub owner: Option<String>,
    /// Of a destroy: user or system, or as sent.
    pub cause: Option<String>,
    /// The room's other properties, as the event says.
    #[serde(serialize_with = "json::optional")]
    #[schema(value_type = Option<Object>)]
    pub properties: Option<String>,
}

/// A gift.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
pub struct GiftRow {
    /// When it happened.
    pub at: UnixMillis,
    /// The event that says so.
    #[sqlx(try_from = "String")]
    pub event_id: Uuid,
    /// Account that gave it.
    pub sender: Option<String>,
    /// Accounts, as a list.
    #[serde(serialize_with = "json::optional")]
    #[schema(value_type = Option<Vec<String>>)]
    pub receivers: Option<String>,
    /// Which gift, as the app names it.
    pub gift_id: Option<String>,
    /// How many of it.
    pub count: Option<i64>,
    /// What one of it is worth, in coins.
    pub coins: Option<i64>,
}

impl GiftRow {
    /// What it is worth in all, in coins; `None` where the event names no coins.
    #[must_use]
    pub fn worth(&self) -> Option<i64> {
        self.coins.map(|coins| worth(self.count, Some(coins)).1)
    }
}

/// A room an account came into, within one of its sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UserVisit {
    /// The app.
    pub sdk_app_id: i64,
    /// The room.
    pub room_id: String,
    /// Which session, as in `room_sessions.session`; null until it is known.
    pub session: Option<i64>,
    /// room (conference) or live.
    pub family: String,
    /// The room's name, where an event said.
    pub name: Option<String>,
    /// When the account came in.
    pub entered_at: UnixMillis,
    /// When it left; null while it is inside. With `inferred`, the end of the session, or when it came in again.
    pub left_at: Option<UnixMillis>,
    /// Why it left, where an event said.
    pub left_cause: Option<String>,
    /// Whether no event says that it left, and it follows by rule.
    pub inferred: bool,
    /// The event that says it came in.
    pub event_id: Uuid,
}

/// A live room, with what only those have.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LiveRoom {
    /// The room.
    #[serde(flatten)]
    pub room: Room,
    /// What only live rooms have; null until it is known.
    pub live: Option<Live>,
}

/// A battle between live rooms.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Battle {
    /// The battle.
    pub battle_id: String,
    /// When it was created.
    pub created_at: Option<UnixMillis>,
    /// When it began.
    pub started_at: Option<UnixMillis>,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
    /// How long it was to last, in ms.
    pub duration_ms: Option<i64>,
    /// How it ended.
    pub ending: Option<String>,
    /// The rooms that took part.
    pub rooms: Vec<BattleRoom>,
    /// The room with the greatest score; `None` until it has ended, and where it is tied.
    pub winner: Option<String>,
}

/// A room in a battle.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BattleRoom {
    /// The room.
    pub room_id: String,
    /// Whether this room proposed it.
    pub is_proposer: bool,
    /// Account that owns it.
    pub owner: Option<String>,
    /// Its score.
    pub score: Option<i64>,
}

/// A recording task.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Recording {
    /// The app.
    pub sdk_app_id: i64,
    /// The task.
    pub task_id: String,
    /// The call.
    pub call_id: Option<String>,
    /// The room.
    pub room_id: Option<String>,
    /// Its state.
    pub state: Option<String>,
    /// What went wrong, where something did.
    pub message: Option<String>,
    /// When it began.
    pub started_at: UnixMillis,
    /// The latest time any event names for it.
    pub last_at: UnixMillis,
    /// The files, each once: the first, of more than 1000 or 256 KiB.
    #[serde(serialize_with = "crate::store::model::recording_file::all")]
    #[schema(value_type = Vec<RecordingFile>)]
    pub files: Vec<JsonText>,
    /// Whether there are more files, or longer names: the events have them.
    pub files_cut: bool,
}

/// What should not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, sqlx::FromRow)]
pub struct Anomaly {
    /// The app.
    pub sdk_app_id: i64,
    /// `call_without_end`, `call_without_start`, `room_without_destroy`, `room_without_create`, `leaves_missing`,
    /// `enters_missing`, `silence` or `registration_drift`.
    pub kind: String,
    /// Call id or room id; `all` where no callback came; `call`, `room` or `live` where its registration drifted.
    pub subject: String,
    /// Of a room, which session; of a silence or a drift, when it began, in ms since 1970; else 0.
    pub session: i64,
    /// When it happened.
    pub happened_at: UnixMillis,
    /// When it was found.
    pub found_at: UnixMillis,
    /// When it was found that it is no longer so; null while it is.
    pub resolved_at: Option<UnixMillis>,
    /// In words.
    pub detail: String,
}

/// How many events there were in one span.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
pub struct Count {
    /// The span's beginning.
    pub at: UnixMillis,
    /// The family, command or result, as was asked for. Commands that are not known are counted together by their family,
    /// as `group.*`, or as `unknown`; results that are not, as `other`.
    pub group_name: String,
    /// How many.
    pub events: i64,
    /// From their times until they arrived, of all of them together, in ms: divided by `events` it is the mean.
    #[serde(rename = "lag_ms_sum")]
    pub lag_ms: i64,
    /// The longest of those, in ms.
    pub lag_ms_max: i64,
}

/// What an id names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[expect(missing_docs, reason = "the keys of the tables")]
pub enum Found {
    Call { sdk_app_id: i64, call_id: String },
    Room { sdk_app_id: i64, room_id: String, session: i64 },
    Account { sdk_app_id: i64, account: String },
    Event { id: Uuid },
}

/// Columns of JSON text, given as JSON.
mod json {
    use serde::{Serialize, Serializer};
    use serde_json::value::RawValue;

    pub(crate) fn text<S: Serializer>(text: &str, output: S) -> Result<S::Ok, S::Error> {
        let json: &RawValue = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
        json.serialize(output)
    }

    #[expect(clippy::ref_option, reason = "serde hands it over so")]
    pub(crate) fn optional<S: Serializer>(
        column: &Option<String>,
        output: S,
    ) -> Result<S::Ok, S::Error> {
        match column {
            Some(json) => text(json, output),
            None => output.serialize_none(),
        }
    }
}
