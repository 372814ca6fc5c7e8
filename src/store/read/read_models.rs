//! What the read models say: rows as readers get them, and which rows of a list.
//!
//! Every list is read in pages: newest first, behind the place of the last row of the page before, so that a page costs
//! the same however far down it is.

use async_trait::async_trait;
use uuid::Uuid;

use crate::callback::AppId;
use crate::store::model::event::StoredEvent;
use crate::store::model::read_models::{
    Anomaly, Battle, Call, Count, Found, GiftRow, Live, Member, Recording, Room, RoomChangeRow,
    Stay, UserCall,
};
use crate::store::query::filters::{
    AnomalyFilter, CallFilter, CountFilter, DetailPage, RoomFilter, UserCallFilter, UserVisitFilter,
};
use crate::store::query::list::UserVisit;
use crate::store::{EventFilter, EventPage, StoreError, VisitPage};

/// Readers of the read models. They have connections of their own, so that none of them keeps a writer waiting.
#[async_trait]
pub trait ReadModels {
    /// Calls, the latest first.
    async fn calls(&self, filter: &CallFilter) -> Result<Vec<Call>, StoreError>;

    /// One call; `None` where no event named it.
    async fn call(&self, app: AppId, call_id: &str) -> Result<Option<Call>, StoreError>;

    /// The members of one call, by the time they are first named. At most [`DETAILS_MAX`].
    async fn call_members(&self, app: AppId, call_id: &str) -> Result<Details<Member>, StoreError>;

    /// The calls an account took part in, the latest first.
    async fn user_calls(&self, filter: &UserCallFilter) -> Result<Vec<UserCall>, StoreError>;

    /// The rooms an account came into, the latest visit first; an end by rule is given as for visits. One of which only
    /// the leave is known stands among those of its room alone.
    async fn user_visits(&self, filter: &UserVisitFilter) -> Result<Vec<UserVisit>, StoreError>;

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
    async fn seats(&self, room: &Room) -> Result<Details<Stay>, StoreError>;

    /// What was done to the room within one life, by time. At most [`DETAILS_MAX`].
    async fn room_changes(&self, room: &Room) -> Result<Details<RoomChangeRow>, StoreError>;

    /// Gifts within one life, the latest first.
    async fn gifts(&self, room: &Room, page: &DetailPage) -> Result<Vec<GiftRow>, StoreError>;

    /// Battles within one life, by time. At most [`DETAILS_MAX`].
    async fn battles(&self, room: &Room) -> Result<Details<Battle>, StoreError>;

    /// Recording tasks of a call, or of one life of a room, by time. At most [`DETAILS_MAX`].
    async fn recordings(&self, subject: &Subject) -> Result<Details<Recording>, StoreError>;

    /// Anomalies, the latest first.
    async fn anomalies(&self, filter: &AnomalyFilter) -> Result<Vec<Anomaly>, StoreError>;

    /// How many anomalies are still so, of one app or of all. Counts up to [`OPEN_COUNTED_MAX`].
    async fn open_anomalies(&self, app: Option<AppId>) -> Result<i64, StoreError>;

    /// How many events there were in each span of time, the earliest first. At most [`COUNTS_MAX`].
    async fn counts(&self, filter: &CountFilter) -> Result<Vec<Count>, StoreError>;

    /// One event, by its id.
    async fn event(&self, id: Uuid) -> Result<Option<StoredEvent>, StoreError>;

    /// A page of a list of events that answers soon and takes little memory whatever is asked for: where a condition has
    /// no index it looks through at most [`EVENTS_SCANNED_MAX`] events, it ends where the bodies come to
    /// [`PAGE_BYTES_MAX`], and it says where to go on.
    async fn event_page(&self, filter: &EventFilter) -> Result<EventPage, StoreError>;

    /// What an id names, in whichever table: a call, a room's latest life, an account that took part in a call or owned a
    /// room, or an event. At most [`FOUND_MAX`].
    async fn find(&self, text: &str) -> Result<Vec<Found>, StoreError>;
}

/// How many rows a list without pages has at most.
pub const DETAILS_MAX: u32 = 1000;

/// A list without pages ends behind the row with which its rows come to so much. In bytes.
pub const DETAIL_BYTES_MAX: usize = 2 << 20;

/// A page of a list of rows of read models ends behind the one with which they come to so much. In bytes.
pub const LIST_BYTES_MAX: usize = 2 << 20;

/// A list without pages: the beginning of it.
#[derive(Debug, Clone)]
pub struct Details<T> {
    /// The rows, in the list's order.
    pub rows: Vec<T>,
    /// Whether there are more, which the events tell of.
    pub is_cut: bool,
}

/// How many things one id names at most.
pub const FOUND_MAX: u32 = 20;

/// How many open anomalies are counted at most. Where there are so many, there may be more.
pub const OPEN_COUNTED_MAX: i64 = 10_000;

/// How many counts are given at most, the earliest first.
pub const COUNTS_MAX: u32 = 100_000;

/// How many events a page of events looks through at most.
pub const EVENTS_SCANNED_MAX: u32 = 20_000;

/// A page of events ends behind the one with which their bodies come to so much. In bytes.
pub const PAGE_BYTES_MAX: usize = 8 << 20;

/// How many leaves a page of visits looks through at most for those without an enter.
pub const MARKS_SCANNED_MAX: u32 = 5000;

/// How long before its create a life of a room may begin. In ms.
pub const LIFE_EARLY_MS: i64 = crate::projections::session::boundaries::EARLY_MS;

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
