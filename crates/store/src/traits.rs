//! The interface of a store: [`Store`] writes events, [`ReadModels`] answers readers.
//!
//! Every list is read in pages by keyset: newest first, after the last row of the previous page, so that each page
//! costs the same.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use crate::derived::model::DerivedEvent;
use crate::error::StoreError;
use crate::forwarding::model::{Backlog, DestinationRow};
use crate::forwarding::view::{EventDeliveries, ExceptionFilter, ExceptionView, FeedFigures};
use crate::model::event::StoredEvent;
use crate::model::position::Position;
use crate::model::read_models::{
    Anomaly, Battle, Call, Count, GiftRow, Live, Member, Room, RoomChangeRow, SearchHit, Stay,
    UserCall, UserVisit,
};
use crate::model::recording::{Recording, RecordingStep};
use crate::model::rtc::room::{RtcPublishInterval, RtcRoomSession, RtcSessionKey, RtcStay};
use crate::model::rtc::task::{RtcTask, RtcTaskStep};
use crate::query::events::EventFilter;
use crate::query::filters::{
    AnomalyFilter, CallFilter, CountFilter, DetailPage, RecordingFilter, RoomFilter, RoomKey,
    RtcTaskFilter, Subject, UserCallFilter, UserVisitFilter,
};
use crate::query::page::{
    Details, EventPage, FeedLimit, FeedRead, FeedSpan, RecordingPage, RtcTaskPage, VisitPage,
};
use crate::query::rtc_rooms::{RtcPublishIntervals, RtcRoomFilter, RtcStays};
use projections::Change;
use protocol::UnixMillis;
use protocol::{AppId, Event};

/// A store of events. All methods may be called concurrently.
#[async_trait]
pub trait Store: ReadModels + Send + Sync + fmt::Debug {
    /// Migrates the tables to this version. Idempotent; replicas may call it concurrently.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Regular maintenance that the store needs in order to accept events, such as creating partitions ahead.
    async fn upkeep(&self, now: UnixMillis) -> Result<(), StoreError>;

    /// The names of partitions without events at `before` or later. Empty where the store has no partitions.
    async fn expired_partitions(&self, before: UnixMillis) -> Result<Vec<String>, StoreError> {
        let _ = before;
        Ok(Vec::new())
    }

    /// Drops one of [`Store::expired_partitions`] with its rows. `false` when it is gone, or another replica is
    /// dropping it. An error when the events are in use: it does not wait, since writers would queue behind the lock.
    async fn drop_partition(&self, name: &str, before: UnixMillis) -> Result<bool, StoreError> {
        let _ = (name, before);
        Ok(false)
    }

    /// Deletes at most `rows_max` unpartitioned events from before `before`, as many dead letters kept before then,
    /// and as many expired rows of each table of the read models. Returns their number; 0 when none is left.
    async fn delete_expired(&self, before: UnixMillis, rows_max: u32) -> Result<u64, StoreError>;

    /// Gives positions to stored events that have none yet; returns how many, and `None` where events are stored with
    /// their positions. To be called every moment by each server, now and then `from_start`: that finds also those whose
    /// transaction took very long.
    async fn number_events(&self, from_start: bool) -> Result<Option<u64>, StoreError> {
        let _ = from_start;
        Ok(None)
    }

    /// Forgets at most so many of the oldest rows of positions: those given before `before`, but for those of the latest
    /// [`FEED_EVENTS_KEPT`](crate::FEED_EVENTS_KEPT) events. Returns their number; 0 when none is left.
    async fn trim_feed(&self, before: UnixMillis, rows_max: u32) -> Result<u64, StoreError>;

    /// Fails where the store does not answer, or is a standby.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Stores all of `entries` or none, new ones with their changes, and returns for each whether it was new. Entries
    /// must be ordered by event id, so that two writers with the same events cannot deadlock.
    async fn insert(&self, entries: &[EventInsert]) -> Result<Vec<Inserted>, StoreError>;

    /// Keeps an event that [`Store::insert`] refused as a dead letter, whole and with the reason.
    async fn park(&self, event: &Event, reason: &str, now: UnixMillis) -> Result<(), StoreError>;

    /// The stored events that match `filter`.
    async fn events(&self, filter: &EventFilter) -> Result<Vec<StoredEvent>, StoreError>;

    /// Whether the event with this id is stored.
    async fn contains(&self, id: Uuid) -> Result<bool, StoreError>;

    /// Finishes running operations and closes all connections.
    async fn close(&self);
}

/// The result of storing one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is a new row.
    New,
    /// It was a row already.
    Duplicate,
}

/// An event, and the changes of the read models that it makes when it is new.
#[derive(Debug, Clone)]
pub struct EventInsert {
    /// The event.
    pub event: Arc<Event>,
    /// The changes. When empty, only the event is stored.
    pub changes: Arc<[Change]>,
}

impl EventInsert {
    /// Copies of an event and its changes.
    #[must_use]
    pub fn copied(event: &Event, changes: &[Change]) -> Self {
        Self { event: Arc::new(event.clone()), changes: changes.into() }
    }
}

/// Queries of the read models. They use separate connections, so that they cannot delay writers.
#[async_trait]
pub trait ReadModels {
    /// Calls, the latest first.
    async fn calls(&self, filter: &CallFilter) -> Result<Vec<Call>, StoreError>;

    /// One call; `None` where no event names it.
    async fn call(&self, app: AppId, call_id: &str) -> Result<Option<Call>, StoreError>;

    /// The members of one call, by the time they are first named. At most [`DETAILS_MAX`](crate::DETAILS_MAX).
    async fn call_members(&self, app: AppId, call_id: &str) -> Result<Details<Member>, StoreError>;

    /// The calls an account took part in, the latest first.
    async fn user_calls(&self, filter: &UserCallFilter) -> Result<Vec<UserCall>, StoreError>;

    /// The room visits of an account, the latest first; inferred ends as for visits. A visit without an enter event
    /// is only listed with its room.
    async fn user_visits(&self, filter: &UserVisitFilter) -> Result<Vec<UserVisit>, StoreError>;

    /// Sessions of rooms, the latest first.
    async fn rooms(&self, filter: &RoomFilter) -> Result<Vec<Room>, StoreError>;

    /// One session of a room.
    async fn room(&self, key: &RoomKey) -> Result<Option<Room>, StoreError>;

    /// The live figures of these sessions.
    async fn live_sessions(&self, keys: &[RoomKey]) -> Result<Vec<Live>, StoreError>;

    /// Visits of one session, the latest first, and after them those without an enter event. Inferred ends are given
    /// once the session has ended. Bounded: of leaves without an enter at most
    /// [`MARKS_SCANNED_MAX`](crate::MARKS_SCANNED_MAX) are scanned for a page, which says where to continue.
    async fn visits(&self, room: &Room, page: &DetailPage) -> Result<VisitPage, StoreError>;

    /// Stays on the seats of one session, by time. At most [`DETAILS_MAX`](crate::DETAILS_MAX). Inferred ends
    /// as for visits.
    async fn seats(&self, room: &Room) -> Result<Details<Stay>, StoreError>;

    /// Changes of the room within one session, by time. At most [`DETAILS_MAX`](crate::DETAILS_MAX).
    async fn room_changes(&self, room: &Room) -> Result<Details<RoomChangeRow>, StoreError>;

    /// Gifts within one session, the latest first.
    async fn gifts(&self, room: &Room, page: &DetailPage) -> Result<Vec<GiftRow>, StoreError>;

    /// Battles within one session, by time. At most [`DETAILS_MAX`](crate::DETAILS_MAX).
    async fn battles(&self, room: &Room) -> Result<Details<Battle>, StoreError>;

    /// Recording tasks of a call or of one session of a room, by time. At most
    /// [`DETAILS_MAX`](crate::DETAILS_MAX).
    async fn recordings(&self, subject: &Subject) -> Result<Details<Recording>, StoreError>;

    /// Recordings by their first event, the latest first. Bounded: at most
    /// [`TASK_MARKS_SCANNED_MAX`](crate::TASK_MARKS_SCANNED_MAX) of their events are scanned for a page, which says where to
    /// continue.
    async fn recording_page(&self, filter: &RecordingFilter) -> Result<RecordingPage, StoreError>;

    /// One recording; `None` where no event names it.
    async fn recording(&self, app: AppId, task_id: &str) -> Result<Option<Recording>, StoreError>;

    /// What the events of a recording report, by time. At most [`DETAILS_MAX`](crate::DETAILS_MAX).
    async fn recording_steps(
        &self,
        app: AppId,
        task_id: &str,
    ) -> Result<Details<RecordingStep>, StoreError>;

    /// Cloud tasks of the RTC Engine by their first event, the latest first. Bounded: at most
    /// [`TASK_MARKS_SCANNED_MAX`](crate::TASK_MARKS_SCANNED_MAX) of their events are scanned for a page, which says where to
    /// continue.
    async fn rtc_tasks(&self, filter: &RtcTaskFilter) -> Result<RtcTaskPage, StoreError>;

    /// Sessions of the RTC Engine's rooms, the latest first.
    async fn rtc_room_sessions(
        &self,
        filter: &RtcRoomFilter,
    ) -> Result<Vec<RtcRoomSession>, StoreError>;

    /// One session of a room of the RTC Engine.
    async fn rtc_room_session(
        &self,
        key: &RtcSessionKey,
    ) -> Result<Option<RtcRoomSession>, StoreError>;

    /// Stays in the RTC Engine's rooms, the latest first.
    async fn rtc_stays(&self, stays: &RtcStays) -> Result<Vec<RtcStay>, StoreError>;

    /// Times of publishing in one session of a room of the RTC Engine, the latest first.
    async fn rtc_publish_intervals(
        &self,
        intervals: &RtcPublishIntervals,
    ) -> Result<Vec<RtcPublishInterval>, StoreError>;

    /// The stays of these sessions, robots last, then by time. At most [`DETAILS_MAX`](crate::DETAILS_MAX).
    async fn rtc_stays_of(
        &self,
        sessions: &[RtcSessionKey],
    ) -> Result<Details<RtcStay>, StoreError>;

    /// What these accounts published in one session, by time. At most [`DETAILS_MAX`](crate::DETAILS_MAX).
    async fn rtc_published_by(
        &self,
        session: &RtcSessionKey,
        accounts: &[String],
    ) -> Result<Details<RtcPublishInterval>, StoreError>;

    /// One cloud task; `None` where no event names it.
    async fn rtc_task(&self, app: AppId, task_id: &str) -> Result<Option<RtcTask>, StoreError>;

    /// What the events of a cloud task report of its state and of errors, by time. At most
    /// [`DETAILS_MAX`](crate::DETAILS_MAX).
    async fn rtc_task_steps(
        &self,
        app: AppId,
        task_id: &str,
    ) -> Result<Details<RtcTaskStep>, StoreError>;

    /// The events that hold what was said in a cloud task, by time: the latest
    /// [`DIALOGUE_LINES_MAX`](crate::DIALOGUE_LINES_MAX).
    async fn dialogue(&self, app: AppId, task_id: &str) -> Result<Vec<StoredEvent>, StoreError>;

    /// Anomalies, the latest first.
    async fn anomalies(&self, filter: &AnomalyFilter) -> Result<Vec<Anomaly>, StoreError>;

    /// Number of open anomalies, of one app or of all. Counted up to
    /// [`OPEN_COUNTED_MAX`](crate::OPEN_COUNTED_MAX).
    async fn open_anomalies(&self, app: Option<AppId>) -> Result<i64, StoreError>;

    /// Number of events in each span of time, the earliest first. At most [`COUNTS_MAX`](crate::COUNTS_MAX).
    async fn counts(&self, filter: &CountFilter) -> Result<Vec<Count>, StoreError>;

    /// One event, by its id.
    async fn event(&self, id: Uuid) -> Result<Option<StoredEvent>, StoreError>;

    /// A page of events, bounded in time and memory for any filter: without an index it scans at most
    /// [`EVENTS_SCANNED_MAX`](crate::EVENTS_SCANNED_MAX) events, it ends once bodies reach
    /// [`PAGE_BYTES_MAX`](crate::PAGE_BYTES_MAX), and it says where to continue.
    async fn event_page(&self, filter: &EventFilter) -> Result<EventPage, StoreError>;

    /// The events after a position, in the order of storing, and derived events between them. It misses none: an event that is
    /// stored late has a late position. Bounded as `limit` says.
    async fn events_after(&self, after: Position, limit: FeedLimit)
    -> Result<FeedRead, StoreError>;

    /// One derived event, by its id.
    async fn derived_event(&self, id: Uuid) -> Result<Option<DerivedEvent>, StoreError>;

    /// The positions of the feed.
    async fn feed_span(&self) -> Result<FeedSpan, StoreError>;

    /// How long the feed is.
    async fn feed_figures(&self) -> Result<FeedFigures, StoreError>;

    /// All destinations of forwarding, by name, those that are no longer configured too.
    async fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError>;

    /// How much waits for each destination, by its name.
    async fn destination_backlogs(&self) -> Result<HashMap<String, Backlog>, StoreError>;

    /// The exceptions of a destination, those of the latest events first.
    async fn delivery_exceptions(
        &self,
        filter: &ExceptionFilter,
    ) -> Result<Vec<ExceptionView>, StoreError>;

    /// Where an event is on its ways to destinations.
    async fn event_deliveries(&self, event: &StoredEvent) -> Result<EventDeliveries, StoreError>;

    /// Objects with this id: a call, a room's latest session, a room of the RTC Engine, which its `CommId` names, too, an
    /// account, or an event. At most [`FOUND_MAX`](crate::FOUND_MAX).
    async fn find(&self, text: &str) -> Result<Vec<SearchHit>, StoreError>;
}
