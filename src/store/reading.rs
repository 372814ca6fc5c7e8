//! What the read models say: rows as readers get them, and which rows of a list.
//!
//! Every list is read in pages: newest first, behind the place of the last row of the page before, so that a page costs
//! the same however far down it is.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::StoreError;
use super::models::{
    Anomaly, Battle, Call, Count, Found, GiftRow, Live, Member, Recording, Room, RoomChangeRow,
    Stay, UserCall, Visit,
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

    /// Visits within one life, the latest first. An end by rule is given where the life has ended.
    async fn visits(&self, room: &Room, page: &DetailPage) -> Result<Vec<Visit>, StoreError>;

    /// Who sat where within one life, by time. At most [`DETAILS_MAX`].
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

    /// How many events there were in each span of time.
    async fn counts(&self, filter: &CountFilter) -> Result<Vec<Count>, StoreError>;

    /// What an id names, in whichever table: a call, a room, an account or an event. At most 20.
    async fn find(&self, text: &str) -> Result<Vec<Found>, StoreError>;
}

/// How many rows a list without pages has at most.
pub const DETAILS_MAX: u32 = 1000;

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

/// Whose recordings.
#[derive(Debug, Clone)]
pub enum Subject {
    /// Of a call.
    Call(AppId, String),
    /// Of one life of a room.
    Room(Box<Room>),
}

/// Which calls. Absent conditions let all through.
#[derive(Debug, Clone, Default)]
pub struct CallFilter {
    /// Of this app.
    pub app: Option<AppId>,
    /// In this state.
    pub state: Option<String>,
    /// With this result.
    pub result: Option<String>,
    /// `audio` or `video`.
    pub media: Option<String>,
    /// In which this account takes part.
    pub account: Option<String>,
    /// In this RTC room.
    pub room_id: Option<String>,
    /// First named at this time or later.
    pub since: Option<UnixMillis>,
    /// First named before this time.
    pub until: Option<UnixMillis>,
    /// Behind this one: `first_at`, `sdk_app_id`, `call_id`.
    pub after: Option<(UnixMillis, i64, String)>,
    /// At most so many.
    pub limit: u32,
}

/// Which calls of an account.
#[derive(Debug, Clone)]
pub struct UserCallFilter {
    /// The app.
    pub app: AppId,
    /// The account.
    pub account: String,
    /// `incoming` or `outgoing`.
    pub direction: Option<String>,
    /// As [`UserCall::outcome`].
    pub outcome: Option<String>,
    /// Behind this one: [`UserCall::at`], `call_id`.
    pub after: Option<(UnixMillis, String)>,
    /// At most so many.
    pub limit: u32,
}

/// Which lives of rooms.
#[derive(Debug, Clone, Default)]
pub struct RoomFilter {
    /// Of this app.
    pub app: Option<AppId>,
    /// `room` or `live`.
    pub family: Option<String>,
    /// In this state.
    pub state: Option<String>,
    /// Of this room id.
    pub room_id: Option<String>,
    /// Owned by this account.
    pub owner: Option<String>,
    /// Started at this time or later.
    pub since: Option<UnixMillis>,
    /// Started before this time.
    pub until: Option<UnixMillis>,
    /// Behind this one: `started_at`, `sdk_app_id`, `room_id`, `life`.
    pub after: Option<(UnixMillis, i64, String, i64)>,
    /// At most so many.
    pub limit: u32,
}

/// A page of the details of one life.
#[derive(Debug, Clone, Default)]
pub struct DetailPage {
    /// Of this account (visits), or from or to it (gifts).
    pub account: Option<String>,
    /// Behind this one: its time and event.
    pub after: Option<(UnixMillis, Uuid)>,
    /// At most so many.
    pub limit: u32,
}

/// Which anomalies.
#[derive(Debug, Clone, Default)]
pub struct AnomalyFilter {
    /// Of this app.
    pub app: Option<AppId>,
    /// Of this kind.
    pub kind: Option<String>,
    /// About this call id or room id.
    pub subject: Option<String>,
    /// Only those that are still so, or only those that are not.
    pub resolved: Option<bool>,
    /// That happened at this time or later.
    pub since: Option<UnixMillis>,
    /// That happened before this time.
    pub until: Option<UnixMillis>,
    /// Behind this one: `happened_at`, `sdk_app_id`, `kind`, `subject`, `life`.
    pub after: Option<(UnixMillis, i64, String, String, i64)>,
    /// At most so many.
    pub limit: u32,
}

/// Which counts.
#[derive(Debug, Clone)]
pub struct CountFilter {
    /// Of this app.
    pub app: Option<AppId>,
    /// From this time on.
    pub since: UnixMillis,
    /// Before this time.
    pub until: UnixMillis,
    /// How long each span is.
    pub step: Step,
    /// What is counted apart.
    pub by: CountBy,
}

/// The length of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// 60 s. Kept for two days.
    Minute,
    /// An hour.
    Hour,
    /// A day, by UTC.
    Day,
}

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CountBy {
    /// Families.
    Family,
    /// Commands.
    Command,
    /// How calls ended; other events are left out.
    Result,
}
