//! Rows of the read models, as the API returns them.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use projections::session::statistics::worth;
use protocol::UnixMillis;

/// JSON text of a column.
pub type JsonText = Box<RawValue>;

/// A call.
#[derive(Debug, Clone, Serialize, ToSchema)]
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
    /// From its start to its acceptance, or to its end where it never connected, in s; null while it rings, and where
    /// no event says when it began or ended.
    pub ring_seconds: Option<i64>,
    /// From acceptance to end, in s; 0 where it never connected, null until it has ended.
    pub talk_seconds: Option<i64>,
    /// Accounts that were called, by the time they are first named; at most 10. Empty where no event names one.
    pub callees: Vec<String>,
    /// Number of accounts that events name in it, with the one that called.
    pub participants: i64,
    /// Account that hung up first; null where no event says.
    pub hung_up_by: Option<String>,
    /// Its end was inferred: no end event came.
    pub inferred: bool,
    /// The earliest time any event names for it.
    pub first_at: UnixMillis,
    /// The latest time any event names for it.
    pub last_at: UnixMillis,
}

/// An account in a call.
#[derive(Debug, Clone, Serialize, ToSchema)]
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
    /// It was in the call and has no leave event: its leave was inferred from the end of the call.
    pub inferred: bool,
    /// The earliest time any event names for it.
    pub first_at: UnixMillis,
    /// The latest time any event names for it.
    pub last_at: UnixMillis,
}

/// A call as seen by one of its members, for lists of recent calls.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserCall {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// `outgoing` where the account called, else `incoming`.
    pub direction: String,
    /// The outcome for the account: `answered` where it hung up after talking, else as [`Member::ending`]; `None`
    /// while the call goes on.
    pub outcome: Option<String>,
    /// The other members, at most 10.
    pub peers: Vec<String>,
    /// When the account is first named. The list is ordered by it.
    pub at: UnixMillis,
}

/// One session of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
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
    /// open, ended, or overdue: no destroy event came, and no other event for long.
    pub state: String,
    /// When it was created; where that is not known, the time of its first event.
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
    /// When it ended; inferred where no destroy event came.
    pub ended_at: Option<UnixMillis>,
    /// Facts of this room id belong to this session from this time on.
    pub from_at: UnixMillis,
    /// Facts of this room id belong to this session before this time; null while it is the last.
    pub until_at: Option<UnixMillis>,
    /// Its latest event.
    pub last_at: UnixMillis,
    /// Its end was inferred: no destroy event came.
    pub inferred: bool,
    /// Number of members inside now; 0 once it has ended.
    pub members: i64,
    /// Largest number of members inside at once.
    pub members_peak: i64,
    /// Number of distinct accounts that were inside.
    pub visitors: i64,
    /// Number of enters.
    pub entries: i64,
    /// Number of members inside at its end without a leave event.
    pub leaves_missing: i64,
    /// Number of leave events without an enter event before them.
    pub enters_missing: i64,
    /// Maximum number of members.
    pub max_members: Option<i64>,
    /// Number of seats.
    pub max_seats: Option<i64>,
    /// The room's other properties.
    #[serde(serialize_with = "json::optional")]
    #[schema(value_type = Option<Object>)]
    pub properties: Option<String>,
    /// Number of members over time: a list of [ms since 1970, members], at most 240.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = Vec<Vec<i64>>)]
    pub occupancy: String,
    /// Names of data that was truncated to its bound: properties, visitors or sessions; null where nothing was.
    #[serde(serialize_with = "json::optional")]
    #[schema(value_type = Option<Vec<String>>)]
    pub cut: Option<String>,
}

/// Columns that only live sessions have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Live {
    /// The app.
    pub sdk_app_id: i64,
    /// The room.
    pub room_id: String,
    /// Key of the session.
    pub session: i64,
    /// Viewers, by the destroy event's statistic, as are the other totals; repeated visits count each time.
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
    /// Their value in coins: the count of each event, times the value of a single gift.
    pub gift_coins: i64,
    /// `total_gift_coins` less `gift_coins`: the coins that the vendor's statistic has and the events lack; null
    /// without a statistic.
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
    /// Number of battles it took part in.
    pub battles: i64,
    /// Administrators at its end.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = Vec<String>)]
    pub admins: String,
    /// Metadata at its end.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = Object)]
    pub metadata: String,
    /// Names of data that was truncated to its bound: metadata, admins or `gift_senders`; null where nothing was.
    #[serde(serialize_with = "json::optional")]
    #[schema(value_type = Option<Vec<String>>)]
    pub cut: Option<String>,
}

/// An account in a list of top senders or receivers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TopAccount {
    /// The account.
    pub account: String,
    /// Number of gifts.
    pub gifts: i64,
    /// Number of coins.
    pub coins: i64,
}

/// A visit: an account's stay in a room.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Visit {
    /// The account.
    pub account: String,
    /// When the account entered; null where no enter event came before the leave.
    pub entered_at: Option<UnixMillis>,
    /// How it entered.
    pub entered_cause: Option<String>,
    /// When it left; null while it is inside.
    pub left_at: Option<UnixMillis>,
    /// Why it left.
    pub left_cause: Option<String>,
    /// Account that removed it, where an event says.
    pub left_by: Option<String>,
    /// Its end was inferred: the account entered again without a leave event.
    pub inferred: bool,
    /// The enter event; without one, the leave event.
    pub event_id: Uuid,
}

/// An account's stay on a seat.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Stay {
    /// The seat's number.
    pub seat: i64,
    /// The account.
    pub account: String,
    /// When it was taken.
    pub taken_at: UnixMillis,
    /// When it was left; null while it is not.
    pub left_at: Option<UnixMillis>,
    /// Whether its end was inferred from the end of the session.
    pub inferred: bool,
}

/// A change of a room.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RoomChangeRow {
    /// When it happened.
    pub at: UnixMillis,
    /// The event that says so.
    pub event_id: Uuid,
    /// create, update, owner, `admin_add`, `admin_delete` or destroy.
    pub kind: String,
    /// The operator.
    pub by_account: Option<String>,
    /// The administrator that was added or removed.
    pub account: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The owner.
    pub owner: Option<String>,
    /// Of a destroy: user or system, or as sent.
    pub cause: Option<String>,
    /// The room's other properties, as the event says.
    #[serde(serialize_with = "json::optional")]
    #[schema(value_type = Option<Object>)]
    pub properties: Option<String>,
}

/// A gift of a live session.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GiftRow {
    /// When it happened.
    pub at: UnixMillis,
    /// The event.
    pub event_id: Uuid,
    /// The sender.
    pub sender: Option<String>,
    /// The receivers: a list of accounts.
    #[serde(serialize_with = "json::optional")]
    #[schema(value_type = Option<Vec<String>>)]
    pub receivers: Option<String>,
    /// The app's id of the gift.
    pub gift_id: Option<String>,
    /// Count.
    pub count: Option<i64>,
    /// Value of a single one, in coins.
    pub coins: Option<i64>,
}

impl GiftRow {
    /// Value of all of them, in coins; `None` where the event has no value.
    #[must_use]
    pub fn worth(&self) -> Option<i64> {
        self.coins.map(|coins| worth(self.count, Some(coins)).1)
    }
}

/// A visit of an account to a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UserVisit {
    /// The app.
    pub sdk_app_id: i64,
    /// The room.
    pub room_id: String,
    /// Key of the session, as in `room_sessions.session`; null until the room is settled.
    pub session: Option<i64>,
    /// room (conference) or live.
    pub family: String,
    /// The room's name, where known.
    pub name: Option<String>,
    /// When the account entered.
    pub entered_at: UnixMillis,
    /// When it left; null while it is inside. With `inferred`, the end of the session or its next enter.
    pub left_at: Option<UnixMillis>,
    /// Why it left, where an event says.
    pub left_cause: Option<String>,
    /// Whether its end was inferred: no leave event came.
    pub inferred: bool,
    /// The enter event.
    pub event_id: Uuid,
}

/// A live session with the columns of both tables.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LiveRoom {
    /// The room.
    #[serde(flatten)]
    pub room: Room,
    /// Columns that only live sessions have; null until the room is settled.
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
    /// Planned length, in ms.
    pub duration_ms: Option<i64>,
    /// How it ended.
    pub ending: Option<String>,
    /// The rooms that took part.
    pub rooms: Vec<BattleRoom>,
    /// The room with the greatest score; `None` until the battle has ended, and for a tie.
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

/// An anomaly: something missing or unexpected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Anomaly {
    /// The app; 0 for `forwarding_failing`, which is of none.
    pub sdk_app_id: i64,
    /// `call_without_end`, `call_without_start`, `room_without_destroy`, `room_without_create`, `leaves_missing`,
    /// `enters_missing`, `rtc_room_without_create`, `rtc_room_without_dismiss`, `rtc_exits_missing`, `rtc_stops_missing`,
    /// `rtc_dismiss_unattached`, `recording_without_end`, `recording_file_left`, `rtc_task_without_end`, `silence`,
    /// `registration_drift` or `forwarding_failing`.
    pub kind: String,
    /// Call id, room id or task id; `all` for a silence; `call`, `room` or `live`, the product, for a registration drift;
    /// the destination for `forwarding_failing`.
    pub subject: String,
    /// For a room, the key of the session; for a silence, drift or failing destination, its start in ms since 1970; else 0.
    pub session: i64,
    /// When it happened.
    pub happened_at: UnixMillis,
    /// When it was found.
    pub found_at: UnixMillis,
    /// When it was resolved; null while it is open.
    pub resolved_at: Option<UnixMillis>,
    /// Description.
    pub detail: String,
}

/// Number of events within one span of time.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Count {
    /// Start of the span.
    pub at: UnixMillis,
    /// The family, command or result, by the requested grouping. Unknown commands are counted together by family, as
    /// `group.*`, or as `unknown`; unknown results as `other`.
    pub group_name: String,
    /// Number of events.
    pub events: i64,
    /// Sum of the delays from event time to arrival, in ms: divided by `events` it is the mean.
    #[serde(rename = "lag_ms_sum")]
    pub lag_ms: i64,
    /// The longest delay, in ms.
    pub lag_ms_max: i64,
}

/// An object found by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[expect(missing_docs, reason = "the keys of the tables")]
pub enum SearchHit {
    Call { sdk_app_id: i64, call_id: String },
    Room { sdk_app_id: i64, room_id: String, session: i64 },
    RtcRoom { sdk_app_id: i64, room_id: String, room_id_kind: String, session: i64 },
    Account { sdk_app_id: i64, account: String },
    Event { id: Uuid },
}

/// Serializes columns of JSON text as JSON.
pub(crate) mod json {
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
