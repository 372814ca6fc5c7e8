//! The readers of the read models, of both stores: see [`ReadModels`].

use async_trait::async_trait;
use uuid::Uuid;

use super::statement::Reader;
use super::{
    Anomaly, AnomalyFilter, Battle, Call, CallFilter, Count, CountFilter, DetailPage, Details,
    EventFilter, EventPage, Found, GiftRow, Live, Member, ReadModels, Recording, Room,
    RoomChangeRow, RoomFilter, RoomKey, Stay, StoreError, StoredEvent, Subject, UserCall,
    UserCallFilter, UserVisit, UserVisitFilter, VisitPage, read_calls, read_details, read_events,
    read_recordings, read_rooms, read_statistics, read_user_visits,
};
use crate::callback::AppId;

#[async_trait]
impl<R: Reader> ReadModels for R {
    async fn calls(&self, filter: &CallFilter) -> Result<Vec<Call>, StoreError> {
        read_calls::calls(self, filter).await
    }

    async fn call(&self, app: AppId, call_id: &str) -> Result<Option<Call>, StoreError> {
        read_calls::call(self, app, call_id).await
    }

    async fn call_members(&self, app: AppId, call_id: &str) -> Result<Details<Member>, StoreError> {
        read_calls::members(self, app, call_id).await
    }

    async fn user_calls(&self, filter: &UserCallFilter) -> Result<Vec<UserCall>, StoreError> {
        read_calls::of_user(self, filter).await
    }

    async fn user_visits(&self, filter: &UserVisitFilter) -> Result<Vec<UserVisit>, StoreError> {
        read_user_visits::user_visits(self, filter).await
    }

    async fn rooms(&self, filter: &RoomFilter) -> Result<Vec<Room>, StoreError> {
        read_rooms::rooms(self, filter).await
    }

    async fn room(&self, key: &RoomKey) -> Result<Option<Room>, StoreError> {
        read_rooms::room(self, key).await
    }

    async fn lives(&self, keys: &[RoomKey]) -> Result<Vec<Live>, StoreError> {
        read_rooms::lives(self, keys).await
    }

    async fn visits(&self, room: &Room, page: &DetailPage) -> Result<VisitPage, StoreError> {
        read_rooms::visits(self, room, page).await
    }

    async fn seats(&self, room: &Room) -> Result<Details<Stay>, StoreError> {
        read_details::seats(self, room).await
    }

    async fn room_changes(&self, room: &Room) -> Result<Details<RoomChangeRow>, StoreError> {
        read_details::changes(self, room).await
    }

    async fn gifts(&self, room: &Room, page: &DetailPage) -> Result<Vec<GiftRow>, StoreError> {
        read_details::gifts(self, room, page).await
    }

    async fn battles(&self, room: &Room) -> Result<Details<Battle>, StoreError> {
        read_details::battles(self, room).await
    }

    async fn recordings(&self, subject: &Subject) -> Result<Details<Recording>, StoreError> {
        read_recordings::recordings(self, subject).await
    }

    async fn anomalies(&self, filter: &AnomalyFilter) -> Result<Vec<Anomaly>, StoreError> {
        read_statistics::anomalies(self, filter).await
    }

    async fn open_anomalies(&self, app: Option<AppId>) -> Result<i64, StoreError> {
        read_statistics::open_anomalies(self, app).await
    }

    async fn counts(&self, filter: &CountFilter) -> Result<Vec<Count>, StoreError> {
        read_statistics::counts(self, filter).await
    }

    async fn event(&self, id: Uuid) -> Result<Option<StoredEvent>, StoreError> {
        read_events::event(self, id).await
    }

    async fn event_page(&self, filter: &EventFilter) -> Result<EventPage, StoreError> {
        read_events::page(self, filter).await
    }

    async fn find(&self, text: &str) -> Result<Vec<Found>, StoreError> {
        read_statistics::find(self, text).await
    }
}
