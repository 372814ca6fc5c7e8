//! Lists that are read in pages, whoever reads them: an answer, a page for people, an export.

use async_trait::async_trait;
use uuid::Uuid;

use crate::error::StoreError;
use crate::forwarding::view::{ExceptionFilter, ExceptionView};
use crate::model::event::StoredEvent;
use crate::model::read_models::{
    Anomaly, Call, Count, GiftRow, Live, LiveRoom, Room, UserCall, UserVisit, Visit,
};
use crate::model::recording::Recording;
use crate::model::rtc::task::RtcTask;
use crate::query::conditions::{Condition, ConditionValue, Filter};
use crate::query::events::{EventFilter, Order};
use crate::query::filters::{
    AnomalyFilter, CallFilter, CountFilter, DetailPage, DetailPlace, RecordingFilter, RoomFilter,
    RoomKey, RtcTaskFilter, UserCallFilter, UserVisitFilter,
};
use crate::query::limits::LIST_BYTES_MAX;
use crate::traits::Store;
use protocol::AppId;
use protocol::UnixMillis;

/// Rows, and behind which place to go on; `None` at the end of the list.
pub type Part<L> = (Vec<<L as List>::Row>, Option<<L as List>::Place>);

/// Behind which place to go on, and how many rows are wanted.
pub type Behind<L> = (Option<<L as List>::Place>, u32);

/// A list that is read in pages.
#[async_trait]
pub trait List: Send + Sync {
    /// A row.
    type Row: Send;
    /// The place of a row in the list.
    type Place: Send;

    /// At most so many rows behind that place. May be fewer, or none, though more come behind.
    ///
    /// # Errors
    ///
    /// What the store says.
    async fn part(&self, store: &dyn Store, page: Behind<Self>) -> Result<Part<Self>, StoreError>;
}

/// A part of a list of which one row more than `limit` was read where there are more.
pub(crate) fn cut<T, P>(
    mut rows: Vec<T>,
    limit: u32,
    place: fn(&T) -> P,
    bytes: fn(&T) -> usize,
) -> (Vec<T>, Option<P>) {
    // Where they come to so much, reading ended there.
    let is_full = rows.iter().map(bytes).sum::<usize>() >= LIST_BYTES_MAX;
    let more = is_full || rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let end = rows.last().filter(|_| more).map(place);
    (rows, end)
}

/// The latest first; its own order and limit do not matter.
#[async_trait]
impl List for EventFilter {
    type Row = StoredEvent;
    type Place = (UnixMillis, Uuid);

    async fn part(
        &self,
        store: &dyn Store,
        (after, limit): Behind<Self>,
    ) -> Result<Part<Self>, StoreError> {
        let filter = Self { order: Order::Newest { after }, limit, ..self.clone() };
        let page = store.event_page(&filter).await?;
        Ok((page.events, page.next))
    }
}

/// A list whose filter says itself behind which row, and how many.
macro_rules! list {
    ($filter:ty, $read:ident, $row:ty, $place:ty) => {
        #[async_trait]
        impl List for $filter {
            type Row = $row;
            type Place = $place;

            async fn part(
                &self,
                store: &dyn Store,
                (after, limit): Behind<Self>,
            ) -> Result<Part<Self>, StoreError> {
                let filter = Self { after, limit: limit.saturating_add(1), ..self.clone() };
                Ok(cut(store.$read(&filter).await?, limit, <$row>::place, <$row>::bytes))
            }
        }
    };
}
pub(crate) use list;

list!(CallFilter, calls, Call, (UnixMillis, i64, String));
list!(UserCallFilter, user_calls, UserCall, (UnixMillis, String));
list!(UserVisitFilter, user_visits, UserVisit, (UnixMillis, Uuid, String));
list!(RoomFilter, rooms, Room, (UnixMillis, i64, String, i64));
list!(AnomalyFilter, anomalies, Anomaly, (UnixMillis, i64, String, String, i64));
list!(ExceptionFilter, delivery_exceptions, ExceptionView, (Uuid,));

#[async_trait]
impl List for RtcTaskFilter {
    type Row = RtcTask;
    type Place = (UnixMillis, Uuid);

    async fn part(
        &self,
        store: &dyn Store,
        (after, limit): Behind<Self>,
    ) -> Result<Part<Self>, StoreError> {
        let filter = Self { after, limit: limit.saturating_add(1), ..self.clone() };
        let page = store.rtc_tasks(&filter).await?;
        let (tasks, end) = cut(page.tasks, limit, RtcTask::place, RtcTask::bytes);
        Ok((tasks, end.or(page.next)))
    }
}

#[async_trait]
impl List for RecordingFilter {
    type Row = Recording;
    type Place = (UnixMillis, Uuid);

    async fn part(
        &self,
        store: &dyn Store,
        (after, limit): Behind<Self>,
    ) -> Result<Part<Self>, StoreError> {
        let filter = Self { after, limit: limit.saturating_add(1), ..self.clone() };
        let page = store.recording_page(&filter).await?;
        let (recordings, end) = cut(page.recordings, limit, Recording::place, Recording::bytes);
        Ok((recordings, end.or(page.next)))
    }
}

/// All at once: they are bounded.
#[async_trait]
impl List for CountFilter {
    type Row = Count;
    type Place = ();

    async fn part(&self, store: &dyn Store, _: Behind<Self>) -> Result<Part<Self>, StoreError> {
        Ok((store.counts(self).await?, None))
    }
}

impl UserVisit {
    /// Where it stands in the list.
    #[must_use]
    pub fn place(&self) -> <UserVisitFilter as List>::Place {
        (self.entered_at, self.event_id, self.room_id.clone())
    }
}

/// Sessions of live rooms: the others are left out, whatever the filter says of families.
#[derive(Debug, Clone, Default)]
pub struct LiveSessions(pub RoomFilter);

/// Those of rooms but the family, which is the same in all.
impl Filter for LiveSessions {
    fn conditions() -> Vec<&'static Condition> {
        let mut conditions = RoomFilter::conditions();
        conditions.retain(|condition| condition.name != "family");
        conditions
    }

    fn set(&mut self, name: &str, value: ConditionValue) {
        self.0.set(name, value);
    }
}

#[async_trait]
impl List for LiveSessions {
    type Row = LiveRoom;
    type Place = <RoomFilter as List>::Place;

    async fn part(
        &self,
        store: &dyn Store,
        (after, limit): Behind<Self>,
    ) -> Result<Part<Self>, StoreError> {
        let filter = RoomFilter { family: Some("live".to_owned()), ..self.0.clone() };
        let (rooms, mut end) = filter.part(store, (after, limit)).await?;
        let mut rows: Vec<LiveRoom> = Vec::with_capacity(rooms.len());
        let mut bytes = 0;
        for part in rooms.chunks(SESSIONS_AT_ONCE) {
            if bytes >= LIST_BYTES_MAX {
                end = rows.last().map(|row| row.room.place());
                break;
            }
            let part = with_live_sessions(store, part).await?;
            bytes += part.iter().map(LiveRoom::bytes).sum::<usize>();
            rows.extend(part);
        }
        Ok((rows, end))
    }
}

/// How many sessions are read at once.
const SESSIONS_AT_ONCE: usize = 20;

async fn with_live_sessions(
    store: &dyn Store,
    rooms: &[Room],
) -> Result<Vec<LiveRoom>, StoreError> {
    let keys: Vec<RoomKey> = rooms.iter().filter_map(Room::key).collect();
    let mut sessions = store.live_sessions(&keys).await?;
    let with_live = |room: &Room| {
        let is_of_it = |live: &Live| {
            (live.sdk_app_id, &live.room_id, live.session)
                == (room.sdk_app_id, &room.room_id, room.session)
        };
        let live = sessions.iter().position(is_of_it).map(|place| sessions.swap_remove(place));
        LiveRoom { room: room.clone(), live }
    };
    Ok(rooms.iter().map(with_live).collect())
}

/// Visits within one session.
#[derive(Debug, Clone)]
pub struct Visits {
    /// The session.
    pub room: Room,
    /// Of this account.
    pub account: Option<String>,
}

#[async_trait]
impl List for Visits {
    type Row = Visit;
    type Place = DetailPlace;

    async fn part(
        &self,
        store: &dyn Store,
        (after, limit): Behind<Self>,
    ) -> Result<Part<Self>, StoreError> {
        let account = self.account.clone();
        let page = DetailPage { account, after, limit: limit.saturating_add(1) };
        let page = store.visits(&self.room, &page).await?;
        let (visits, end) = cut(page.visits, limit, Visit::place, Visit::bytes);
        Ok((visits, end.or(page.next)))
    }
}

/// Gifts within one session.
#[derive(Debug, Clone)]
pub struct Gifts {
    /// The session.
    pub room: Room,
    /// From or to this account.
    pub account: Option<String>,
}

#[async_trait]
impl List for Gifts {
    type Row = GiftRow;
    type Place = DetailPlace;

    async fn part(
        &self,
        store: &dyn Store,
        (after, limit): Behind<Self>,
    ) -> Result<Part<Self>, StoreError> {
        let account = self.account.clone();
        let page = DetailPage { account, after, limit: limit.saturating_add(1) };
        let gifts = store.gifts(&self.room, &page).await?;
        Ok(cut(gifts, limit, GiftRow::place, GiftRow::bytes))
    }
}

impl Call {
    /// Where it stands in the list.
    #[must_use]
    pub fn place(&self) -> <CallFilter as List>::Place {
        (self.first_at, self.sdk_app_id, self.call_id.clone())
    }
}

impl UserCall {
    /// Where it stands in the list.
    #[must_use]
    pub fn place(&self) -> <UserCallFilter as List>::Place {
        (self.at, self.call.call_id.clone())
    }
}

impl Room {
    /// Where it stands in the list.
    #[must_use]
    pub fn place(&self) -> <RoomFilter as List>::Place {
        (self.started_at, self.sdk_app_id, self.room_id.clone(), self.session)
    }

    /// Whether its end alone made the last ones leave: the vendor tells of no viewer's leave once a live room is destroyed,
    /// so none is missing.
    #[must_use]
    pub fn is_left_by_its_end(&self) -> bool {
        self.family == "live" && self.destroyed_at.is_some()
    }

    /// Which session it is; none has an app that is no id.
    #[must_use]
    pub fn key(&self) -> Option<RoomKey> {
        let app = AppId::parse(&self.sdk_app_id.to_string())?;
        Some(RoomKey { app, room_id: self.room_id.clone(), session: self.session })
    }
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

impl GiftRow {
    /// Where it stands in the list: the latest first.
    #[must_use]
    pub fn place(&self) -> DetailPlace {
        let (at, event_id) = (self.at, self.event_id);
        DetailPlace { at, event_id, account: String::new(), entered: true }
    }
}

impl RtcTask {
    /// Where it stands in the list.
    #[must_use]
    pub fn place(&self) -> <RtcTaskFilter as List>::Place {
        (self.first_at, self.event_id)
    }
}

impl Recording {
    /// Where it stands in the list.
    #[must_use]
    pub fn place(&self) -> <RecordingFilter as List>::Place {
        (self.started_at, self.event_id)
    }
}

impl Anomaly {
    /// Where it stands in the list.
    #[must_use]
    pub fn place(&self) -> <AnomalyFilter as List>::Place {
        let (kind, subject) = (self.kind.clone(), self.subject.clone());
        (self.happened_at, self.sdk_app_id, kind, subject, self.session)
    }
}
