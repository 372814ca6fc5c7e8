//! What the read models say: rows as readers get them, and which rows of a list.
//!
//! Every list is read in pages: newest first, behind the place of the last row of the page before, so that a page costs
//! the same however far down it is.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    AnomalyFilter, CallFilter, CountFilter, DetailPage, DetailPlace, EventFilter, EventPage,
    RoomFilter, StoreError, StoredEvent, UserCallFilter, VisitPage,
};
use crate::callback::AppId;
use crate::clock::UnixMillis;

/// Readers of the read models. They have connections of their own, so that none of them keeps a writer waiting.
#[async_trait]
pub trait ReadModels {
    /// Calls, the latest first.
    async fn calls(&self, filter: &CallFilter) -> Result<Vec<Call>, StoreError>;

    /// One call; `None` where no event named it.
    async fn call(&self, app: AppId, call_id: &str) -> Result<Option<Call>, StoreError>;

    /// The members of one call, by the time they are first named. At most [`DETAILS_MAX`].
    async fn call_members(&self, app: AppId, call_id: &str) -> Result<Vec<Member>, StoreError>;

    /// The calls an account took part in, the latest first.
    async fn user_calls(&self, filter: &UserCallFilter) -> Result<Vec<UserCall>, StoreError>;

    /// Lives of rooms, the latest first.
    async fn rooms(&self, filter: &RoomFilter) -> Result<Vec<Room>, StoreError>;

    /// One life of a room.
    async fn room(&self, key: &RoomKey) -> Result<Option<Room>, StoreError>;

    /// What only live rooms have, of these lives.
    async fn lives(&self, keys: &[RoomKey]) -> Result<Vec<Live>, StoreError>;

    /// Visits within one life, the latest first, and behind them those whose beginning no event tells. An end by rule is
    /// given where the life has ended. Answers soon: of marks that may end a visit without a beginning it looks through at
    /// most [`MARKS_SCANNED_MAX`], and says where to go on.
    async fn visits(&self, room: &Room, page: &DetailPage) -> Result<VisitPage, StoreError>;

    /// Who sat where within one life, by time. At most [`DETAILS_MAX`]. An end by rule is given as for visits.
    async fn seats(&self, room: &Room) -> Result<Vec<Stay>, StoreError>;

    /// What was done to the room within one life, by time. At most [`DETAILS_MAX`].
    async fn room_changes(&self, room: &Room) -> Result<Vec<RoomChangeRow>, StoreError>;

    /// Gifts within one life, the latest first.
    async fn gifts(&self, room: &Room, page: &DetailPage) -> Result<Vec<GiftRow>, StoreError>;

    /// Battles within one life, by time. At most [`DETAILS_MAX`].
    async fn battles(&self, room: &Room) -> Result<Vec<Battle>, StoreError>;

    /// Recording tasks of a call, or of one life of a room, by time. At most [`DETAILS_MAX`].
    async fn recordings(&self, subject: &Subject) -> Result<Vec<Recording>, StoreError>;

    /// Anomalies, the latest first.
    async fn anomalies(&self, filter: &AnomalyFilter) -> Result<Vec<Anomaly>, StoreError>;

    /// How many events there were in each span of time, the earliest first. At most [`COUNTS_MAX`].
    async fn counts(&self, filter: &CountFilter) -> Result<Vec<Count>, StoreError>;

    /// One event, by its id.
    async fn event(&self, id: Uuid) -> Result<Option<StoredEvent>, StoreError>;

    /// A page of a list of events that answers soon whatever is asked for: where a condition has no index it looks
    /// through at most [`EVENTS_SCANNED_MAX`] events and says where to go on.
    async fn event_page(&self, filter: &EventFilter) -> Result<EventPage, StoreError>;

    /// What an id names, in whichever table: a call, a room's latest life, an account that took part in a call or owned a
    /// room, or an event. At most [`FOUND_MAX`].
    async fn find(&self, text: &str) -> Result<Vec<Found>, StoreError>;
}

/// How many rows a list without pages has at most.
pub const DETAILS_MAX: u32 = 1000;

/// How many things one id names at most.
pub const FOUND_MAX: u32 = 20;

/// How many counts are given at most, the earliest first.
pub const COUNTS_MAX: u32 = 100_000;

/// How many events a page of events looks through at most.
pub const EVENTS_SCANNED_MAX: u32 = 20_000;

/// How many leaves a page of visits looks through at most for those without an enter.
pub const MARKS_SCANNED_MAX: u32 = 5000;

/// JSON text of a column.
pub type JsonText = Box<RawValue>;

/// A call.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct Call {
    pub sdk_app_id: i64,
    pub call_id: String,
    pub media: Option<String>,
    pub call_type: Option<String>,
    pub caller: Option<String>,
    pub chat_group_id: Option<String>,
    pub room_id: Option<String>,
    pub state: String,
    pub result: Option<String>,
    pub started_at: Option<UnixMillis>,
    pub accepted_at: Option<UnixMillis>,
    pub ended_at: Option<UnixMillis>,
    pub talk_seconds: Option<i64>,
    pub inferred: bool,
    pub first_at: UnixMillis,
    pub last_at: UnixMillis,
}

/// An account in a call.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct Member {
    pub account: String,
    pub is_caller: bool,
    pub state: String,
    pub ending: Option<String>,
    pub invited_at: Option<UnixMillis>,
    pub joined_at: Option<UnixMillis>,
    pub left_at: Option<UnixMillis>,
    pub inferred: bool,
    pub first_at: UnixMillis,
    pub last_at: UnixMillis,
}

/// A call as one of its members has it in a list of recent calls.
#[derive(Debug, Clone, Serialize)]
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

/// Which life of which room.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoomKey {
    /// The app.
    pub app: AppId,
    /// The room.
    pub room_id: String,
    /// The life, as in `rooms.life`. In ms since 1970.
    pub life: i64,
}

/// One life of a room.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct Room {
    pub sdk_app_id: i64,
    pub room_id: String,
    pub life: i64,
    pub family: String,
    pub name: Option<String>,
    pub owner: Option<String>,
    pub room_type: Option<String>,
    pub state: String,
    pub started_at: UnixMillis,
    pub created_at: Option<UnixMillis>,
    pub created_by: Option<String>,
    pub destroyed_at: Option<UnixMillis>,
    pub destroyed_by: Option<String>,
    pub destroy_cause: Option<String>,
    pub ended_at: Option<UnixMillis>,
    pub from_at: UnixMillis,
    pub until_at: Option<UnixMillis>,
    pub last_at: UnixMillis,
    pub inferred: bool,
    pub members: i64,
    pub members_peak: i64,
    pub visitors: i64,
    pub entries: i64,
    pub leaves_missing: i64,
    pub enters_missing: i64,
    pub max_members: Option<i64>,
    pub max_seats: Option<i64>,
    pub properties: Option<String>,
    pub occupancy: String,
}

/// What only live rooms have.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct Live {
    pub sdk_app_id: i64,
    pub room_id: String,
    pub life: i64,
    pub total_viewers: Option<i64>,
    pub total_gifts_sent: Option<i64>,
    pub total_gift_coins: Option<i64>,
    pub total_gift_senders: Option<i64>,
    pub total_likes: Option<i64>,
    pub gifts: i64,
    pub gift_coins: i64,
    pub gift_senders: i64,
    pub top_senders: String,
    pub top_receivers: String,
    pub battles: i64,
    pub admins: String,
    pub metadata: String,
}

/// Somebody's stay in a room.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[expect(missing_docs, reason = "the view's columns, which its migration explains")]
pub struct Visit {
    pub account: String,
    pub entered_at: Option<UnixMillis>,
    pub entered_cause: Option<String>,
    pub left_at: Option<UnixMillis>,
    pub left_cause: Option<String>,
    pub left_by: Option<String>,
    pub inferred: bool,
    /// The event that began it, or ended it where none began it.
    #[sqlx(try_from = "String")]
    pub event_id: Uuid,
}

impl Visit {
    /// Where it stands in the list: those with a beginning first, the latest first.
    #[must_use]
    pub fn place(&self) -> DetailPlace {
        DetailPlace {
            // One of the two is there.
            at: self.entered_at.or(self.left_at).unwrap_or_default(),
            event_id: self.event_id,
            account: self.account.clone(),
            entered: self.entered_at.is_some(),
        }
    }
}

/// Somebody's stay on a seat.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[expect(missing_docs, reason = "the view's columns, which its migration explains")]
pub struct Stay {
    pub seat: i64,
    pub account: String,
    pub taken_at: UnixMillis,
    pub left_at: Option<UnixMillis>,
    /// Whether it ended by rule, with the room.
    pub inferred: bool,
}

/// What was done to a room.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct RoomChangeRow {
    pub at: UnixMillis,
    #[sqlx(try_from = "String")]
    pub event_id: Uuid,
    pub kind: String,
    pub by_account: Option<String>,
    pub account: Option<String>,
    pub name: Option<String>,
    pub owner: Option<String>,
    pub cause: Option<String>,
    pub properties: Option<String>,
}

/// A gift.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct GiftRow {
    pub at: UnixMillis,
    #[sqlx(try_from = "String")]
    pub event_id: Uuid,
    pub sender: Option<String>,
    pub receivers: Option<String>,
    pub gift_id: Option<String>,
    pub count: Option<i64>,
    pub coins: Option<i64>,
}

impl GiftRow {
    /// Where it stands in the list: the latest first.
    #[must_use]
    pub fn place(&self) -> DetailPlace {
        let (at, event_id) = (self.at, self.event_id);
        DetailPlace { at, event_id, account: String::new(), entered: true }
    }
}

/// A battle between live rooms.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the view's columns, which its migration explains")]
pub struct Battle {
    pub battle_id: String,
    pub created_at: Option<UnixMillis>,
    pub started_at: Option<UnixMillis>,
    pub ended_at: Option<UnixMillis>,
    pub duration_ms: Option<i64>,
    pub ending: Option<String>,
    pub rooms: Vec<BattleRoom>,
    /// The room with the greatest score; `None` until it has ended, and where it is tied.
    pub winner: Option<String>,
}

/// A room in a battle.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the view's columns, which its migration explains")]
pub struct BattleRoom {
    pub room_id: String,
    pub is_proposer: bool,
    pub owner: Option<String>,
    pub score: Option<i64>,
}

/// A recording task.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the view's columns, which its migration explains")]
pub struct Recording {
    pub sdk_app_id: i64,
    pub task_id: String,
    pub call_id: Option<String>,
    pub room_id: Option<String>,
    pub state: Option<String>,
    pub message: Option<String>,
    pub started_at: UnixMillis,
    pub last_at: UnixMillis,
    /// The files, as `recording_marks.files` has them, each once.
    pub files: Vec<JsonText>,
}

/// What should not be.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct Anomaly {
    pub sdk_app_id: i64,
    pub kind: String,
    pub subject: String,
    pub life: i64,
    pub happened_at: UnixMillis,
    pub found_at: UnixMillis,
    pub resolved_at: Option<UnixMillis>,
    pub detail: String,
}

/// How many events there were in one span.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub struct Count {
    /// The span's beginning.
    pub at: UnixMillis,
    /// The family, command or result, as was asked for.
    pub group_name: String,
    /// How many.
    pub events: i64,
    /// From their times until they arrived, summed, in ms.
    pub lag_ms: i64,
    /// The longest of those, in ms.
    pub lag_ms_max: i64,
}

/// What an id names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[expect(missing_docs, reason = "the keys of the tables")]
pub enum Found {
    Call { sdk_app_id: i64, call_id: String },
    Room { sdk_app_id: i64, room_id: String, life: i64 },
    Account { sdk_app_id: i64, account: String },
    Event { id: Uuid },
}

/// Whose recordings.
#[derive(Debug, Clone)]
pub enum Subject {
    /// Of a call.
    Call(AppId, String),
    /// Of one life of a room.
    Room(Box<Room>),
}
