//! What every store does: [`Store`] takes events, [`ReadModels`] answers readers.
//!
//! Every list is read in pages: newest first, behind the place of the last row of the page before, so that a page costs
//! the same however far down it is.

use std::fmt;

use async_trait::async_trait;
use uuid::Uuid;

use crate::callback::{AppId, Event};
use crate::clock::UnixMillis;
use crate::projections::Change;
use crate::store::error::StoreError;
use crate::store::model::event::StoredEvent;
use crate::store::model::read_models::{
    Anomaly, Battle, Call, Count, Found, GiftRow, Live, Member, Recording, Room, RoomChangeRow,
    Stay, UserCall, UserVisit,
};
use crate::store::query::events::EventFilter;
use crate::store::query::filters::{
    AnomalyFilter, CallFilter, CountFilter, DetailPage, RoomFilter, RoomKey, Subject,
    UserCallFilter, UserVisitFilter,
};
use crate::store::query::page::{Details, EventPage, VisitPage};

/// Where events are kept. All methods may be called from many tasks at once.
#[async_trait]
pub trait Store: ReadModels + Send + Sync + fmt::Debug {
    /// Brings the tables up to this version's. Does nothing where they are; replicas may call it together.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// What has to be done now and then for the store to go on taking events, such as making partitions ahead.
    async fn upkeep(&self, now: UnixMillis) -> Result<(), StoreError>;

    /// The names of partitions that hold nothing that happened at `before` or later. None where there are no
    /// partitions.
    async fn expired_partitions(&self, before: UnixMillis) -> Result<Vec<String>, StoreError> {
        let _ = before;
        Ok(Vec::new())
    }

    /// Drops one of [`Store::expired_partitions`], with all it holds. `false` when it is gone already, or another
    /// replica is at it. An error when others use the events just now: it does not wait for them, since writers would
    /// wait behind it.
    async fn drop_partition(&self, name: &str, before: UnixMillis) -> Result<bool, StoreError> {
        let _ = (name, before);
        Ok(false)
    }

    /// Deletes at most `rows_max` events of those outside of partitions that happened before `before`, as many parked
    /// ones that were parked before, and as many rows of each table of the read models that tell of nothing later.
    /// Returns how many; none when there is nothing more to delete.
    async fn delete_expired(&self, before: UnixMillis, rows_max: u32) -> Result<u64, StoreError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Stores all of `entries` or none, those that are new with their changes, and says of each whether it was. Give
    /// them ordered by the events' ids, so that two writers that hold the same events never wait for each other in a
    /// circle.
    async fn insert(&self, entries: &[Entry<'_>]) -> Result<Vec<Inserted>, StoreError>;

    /// Keeps an event as a dead letter that [`Store::insert`] refused, whole and with the reason.
    async fn park(&self, event: &Event, reason: &str, now: UnixMillis) -> Result<(), StoreError>;

    /// The stored events that `filter` lets through.
    async fn events(&self, filter: &EventFilter) -> Result<Vec<StoredEvent>, StoreError>;

    /// Whether the event with this id is stored.
    async fn contains(&self, id: Uuid) -> Result<bool, StoreError>;

    /// Finishes what is under way and closes every connection.
    async fn close(&self);
}

/// What became of one event that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is a row now.
    New,
    /// It already was one.
    Duplicate,
}

/// An event, and what it changes in the read models where it is new.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The event.
    pub event: &'a Event,
    /// What it changes. Empty: it is stored alone.
    pub changes: &'a [Change],
}

/// Readers of the read models. They have connections of their own, so that none of them keeps a writer waiting.
#[async_trait]
pub trait ReadModels {
    /// Calls, the latest first.
    async fn calls(&self, filter: &CallFilter) -> Result<Vec<Call>, StoreError>;

    /// One call; `None` where no event named it.
    async fn call(&self, app: AppId, call_id: &str) -> Result<Option<Call>, StoreError>;

    /// The members of one call, by the time they are first named. At most [`DETAILS_MAX`](crate::store::DETAILS_MAX).
    async fn call_members(&self, app: AppId, call_id: &str) -> Result<Details<Member>, StoreError>;

    /// The calls an account took part in, the latest first.
    async fn user_calls(&self, filter: &UserCallFilter) -> Result<Vec<UserCall>, StoreError>;

    /// The rooms an account came into, the latest visit first; an end by rule is given as for visits. One of which only
    /// the leave is known stands among those of its room alone.
    async fn user_visits(&self, filter: &UserVisitFilter) -> Result<Vec<UserVisit>, StoreError>;

    /// Sessions of rooms, the latest first.
    async fn rooms(&self, filter: &RoomFilter) -> Result<Vec<Room>, StoreError>;

    /// One session of a room.
    async fn room(&self, key: &RoomKey) -> Result<Option<Room>, StoreError>;

    /// What only live rooms have, of these sessions.
    async fn live_sessions(&self, keys: &[RoomKey]) -> Result<Vec<Live>, StoreError>;

    /// Visits within one session, the latest first, and behind them those whose beginning no event tells. An end by rule is
    /// given where the session has ended. Answers soon: of marks that may end a visit without a beginning it looks through at
    /// most [`MARKS_SCANNED_MAX`](crate::store::MARKS_SCANNED_MAX), and says where to go on.
    async fn visits(&self, room: &Room, page: &DetailPage) -> Result<VisitPage, StoreError>;

    /// Who sat where within one session, by time. At most [`DETAILS_MAX`](crate::store::DETAILS_MAX). An end by rule is given as for visits.
    async fn seats(&self, room: &Room) -> Result<Details<Stay>, StoreError>;

    /// What was done to the room within one session, by time. At most [`DETAILS_MAX`](crate::store::DETAILS_MAX).
    async fn room_changes(&self, room: &Room) -> Result<Details<RoomChangeRow>, StoreError>;

    /// Gifts within one session, the latest first.
    async fn gifts(&self, room: &Room, page: &DetailPage) -> Result<Vec<GiftRow>, StoreError>;

    /// Battles within one session, by time. At most [`DETAILS_MAX`](crate::store::DETAILS_MAX).
    async fn battles(&self, room: &Room) -> Result<Details<Battle>, StoreError>;

    /// Recording tasks of a call, or of one session of a room, by time. At most [`DETAILS_MAX`](crate::store::DETAILS_MAX).
    async fn recordings(&self, subject: &Subject) -> Result<Details<Recording>, StoreError>;

    /// Anomalies, the latest first.
    async fn anomalies(&self, filter: &AnomalyFilter) -> Result<Vec<Anomaly>, StoreError>;

    /// How many anomalies are still so, of one app or of all. Counts up to [`OPEN_COUNTED_MAX`](crate::store::OPEN_COUNTED_MAX).
    async fn open_anomalies(&self, app: Option<AppId>) -> Result<i64, StoreError>;

    /// How many events there were in each span of time, the earliest first. At most [`COUNTS_MAX`](crate::store::COUNTS_MAX).
    async fn counts(&self, filter: &CountFilter) -> Result<Vec<Count>, StoreError>;

    /// One event, by its id.
    async fn event(&self, id: Uuid) -> Result<Option<StoredEvent>, StoreError>;

    /// A page of a list of events that answers soon and takes little memory whatever is asked for: where a condition has
    /// no index it looks through at most [`EVENTS_SCANNED_MAX`](crate::store::EVENTS_SCANNED_MAX) events, it ends where the bodies come to
    /// [`PAGE_BYTES_MAX`](crate::store::PAGE_BYTES_MAX), and it says where to go on.
    async fn event_page(&self, filter: &EventFilter) -> Result<EventPage, StoreError>;

    /// What an id names, in whichever table: a call, a room's latest session, an account that took part in a call or owned a
    /// room, or an event. At most [`FOUND_MAX`](crate::store::FOUND_MAX).
    async fn find(&self, text: &str) -> Result<Vec<Found>, StoreError>;
}
