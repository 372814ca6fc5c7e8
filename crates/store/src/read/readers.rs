//! The readers of the read models, of both stores: see [`ReadModels`].

use std::collections::HashMap;

use async_trait::async_trait;
use uuid::Uuid;

use crate::derived;
use crate::derived::model::DerivedEvent;
use crate::error::StoreError;
use crate::forwarding::model::{Backlog, DestinationRow};
use crate::forwarding::read as forwarding;
use crate::forwarding::view::{EventDeliveries, ExceptionFilter, ExceptionView, FeedFigures};
use crate::model::event::StoredEvent;
use crate::model::position::Position;
use crate::model::read_models::UserVisit;
use crate::model::read_models::{
    Anomaly, Battle, Call, Count, GiftRow, Live, Member, Room, RoomChangeRow, SearchHit, Stay,
    UserCall,
};
use crate::model::recording::{Recording, RecordingStep};
use crate::model::rtc::room::{RtcPublishInterval, RtcRoomSession, RtcSessionKey, RtcStay};
use crate::model::rtc::task::{RtcTask, RtcTaskStep};
use crate::query::events::EventFilter;
use crate::query::filters::{
    AnomalyFilter, CallFilter, CountFilter, DetailPage, RecordingFilter, RoomFilter, RtcTaskFilter,
    UserCallFilter, UserVisitFilter,
};
use crate::query::filters::{RoomKey, Subject};
use crate::query::page::Details;
use crate::query::page::{
    EventPage, FeedLimit, FeedRead, FeedSpan, RecordingPage, RtcTaskPage, VisitPage,
};
use crate::query::rtc_rooms::{RtcPublishIntervals, RtcRoomFilter, RtcStays};
use crate::read::{
    calls, events, feed, recordings, room_details, rooms, rtc, statistics, user_visits,
};
use crate::sql::builder::Reader;
use crate::traits::ReadModels;
use protocol::AppId;

#[async_trait]
impl<R: Reader> ReadModels for R {
    async fn calls(&self, filter: &CallFilter) -> Result<Vec<Call>, StoreError> {
        calls::calls(self, filter).await
    }

    async fn call(&self, app: AppId, call_id: &str) -> Result<Option<Call>, StoreError> {
        calls::call(self, app, call_id).await
    }

    async fn call_members(&self, app: AppId, call_id: &str) -> Result<Details<Member>, StoreError> {
        calls::members(self, app, call_id).await
    }

    async fn user_calls(&self, filter: &UserCallFilter) -> Result<Vec<UserCall>, StoreError> {
        calls::of_user(self, filter).await
    }

    async fn user_visits(&self, filter: &UserVisitFilter) -> Result<Vec<UserVisit>, StoreError> {
        user_visits::user_visits(self, filter).await
    }

    async fn rooms(&self, filter: &RoomFilter) -> Result<Vec<Room>, StoreError> {
        rooms::rooms(self, filter).await
    }

    async fn room(&self, key: &RoomKey) -> Result<Option<Room>, StoreError> {
        rooms::room(self, key).await
    }

    async fn live_sessions(&self, keys: &[RoomKey]) -> Result<Vec<Live>, StoreError> {
        rooms::live_sessions(self, keys).await
    }

    async fn visits(&self, room: &Room, page: &DetailPage) -> Result<VisitPage, StoreError> {
        rooms::visits(self, room, page).await
    }

    async fn seats(&self, room: &Room) -> Result<Details<Stay>, StoreError> {
        room_details::seats(self, room).await
    }

    async fn room_changes(&self, room: &Room) -> Result<Details<RoomChangeRow>, StoreError> {
        room_details::changes(self, room).await
    }

    async fn gifts(&self, room: &Room, page: &DetailPage) -> Result<Vec<GiftRow>, StoreError> {
        room_details::gifts(self, room, page).await
    }

    async fn battles(&self, room: &Room) -> Result<Details<Battle>, StoreError> {
        room_details::battles(self, room).await
    }

    async fn recordings(&self, subject: &Subject) -> Result<Details<Recording>, StoreError> {
        recordings::tasks::of_subject(self, subject).await
    }

    async fn recording_page(&self, filter: &RecordingFilter) -> Result<RecordingPage, StoreError> {
        recordings::list::page(self, filter).await
    }

    async fn recording(&self, app: AppId, task_id: &str) -> Result<Option<Recording>, StoreError> {
        recordings::tasks::one(self, app, task_id).await
    }

    async fn recording_steps(
        &self,
        app: AppId,
        task_id: &str,
    ) -> Result<Details<RecordingStep>, StoreError> {
        recordings::tasks::steps(self, app, task_id).await
    }

    async fn rtc_tasks(&self, filter: &RtcTaskFilter) -> Result<RtcTaskPage, StoreError> {
        rtc::tasks::rtc_tasks(self, filter).await
    }

    async fn rtc_room_sessions(
        &self,
        filter: &RtcRoomFilter,
    ) -> Result<Vec<RtcRoomSession>, StoreError> {
        rtc::rooms::sessions(self, filter).await
    }

    async fn rtc_room_session(
        &self,
        key: &RtcSessionKey,
    ) -> Result<Option<RtcRoomSession>, StoreError> {
        rtc::rooms::session(self, key).await
    }

    async fn rtc_stays(&self, stays: &RtcStays) -> Result<Vec<RtcStay>, StoreError> {
        rtc::rooms::stays(self, stays).await
    }

    async fn rtc_publish_intervals(
        &self,
        intervals: &RtcPublishIntervals,
    ) -> Result<Vec<RtcPublishInterval>, StoreError> {
        rtc::rooms::publish_intervals(self, intervals).await
    }

    async fn rtc_stays_of(
        &self,
        sessions: &[RtcSessionKey],
    ) -> Result<Details<RtcStay>, StoreError> {
        rtc::rooms::stays_of(self, sessions).await
    }

    async fn rtc_published_by(
        &self,
        session: &RtcSessionKey,
        accounts: &[String],
    ) -> Result<Details<RtcPublishInterval>, StoreError> {
        rtc::rooms::published_by(self, session, accounts).await
    }

    async fn rtc_task(&self, app: AppId, task_id: &str) -> Result<Option<RtcTask>, StoreError> {
        rtc::tasks::one(self, app, task_id).await
    }

    async fn rtc_task_steps(
        &self,
        app: AppId,
        task_id: &str,
    ) -> Result<Details<RtcTaskStep>, StoreError> {
        rtc::tasks::steps(self, app, task_id).await
    }

    async fn dialogue(&self, app: AppId, task_id: &str) -> Result<Vec<StoredEvent>, StoreError> {
        rtc::tasks::dialogue(self, app, task_id).await
    }

    async fn anomalies(&self, filter: &AnomalyFilter) -> Result<Vec<Anomaly>, StoreError> {
        statistics::anomalies(self, filter).await
    }

    async fn open_anomalies(&self, app: Option<AppId>) -> Result<i64, StoreError> {
        statistics::open_anomalies(self, app).await
    }

    async fn counts(&self, filter: &CountFilter) -> Result<Vec<Count>, StoreError> {
        statistics::counts(self, filter).await
    }

    async fn event(&self, id: Uuid) -> Result<Option<StoredEvent>, StoreError> {
        events::event(self, id).await
    }

    async fn event_page(&self, filter: &EventFilter) -> Result<EventPage, StoreError> {
        events::page(self, filter).await
    }

    async fn events_after(
        &self,
        after: Position,
        limit: FeedLimit,
    ) -> Result<FeedRead, StoreError> {
        feed::after(self, after, limit).await
    }

    async fn derived_event(&self, id: Uuid) -> Result<Option<DerivedEvent>, StoreError> {
        let found = derived::read::of_ids(self, std::iter::once(id)).await?.pop();
        found.map(|(_, event)| event).transpose()
    }

    async fn feed_span(&self) -> Result<FeedSpan, StoreError> {
        feed::span(self).await
    }

    async fn feed_figures(&self) -> Result<FeedFigures, StoreError> {
        forwarding::feed_figures(self).await
    }

    async fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError> {
        forwarding::destinations(self).await
    }

    async fn destination_backlogs(&self) -> Result<HashMap<String, Backlog>, StoreError> {
        forwarding::backlogs(self).await
    }

    async fn delivery_exceptions(
        &self,
        filter: &ExceptionFilter,
    ) -> Result<Vec<ExceptionView>, StoreError> {
        forwarding::exceptions(self, filter).await
    }

    async fn event_deliveries(&self, event: &StoredEvent) -> Result<EventDeliveries, StoreError> {
        forwarding::event_deliveries(self, event).await
    }

    async fn find(&self, text: &str) -> Result<Vec<SearchHit>, StoreError> {
        statistics::find(self, text).await
    }
}
