//! The queue and its lanes before a store that misbehaves, on a clock that stands still while nothing waits for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, sleep_until};
use trtc_callbacks::callback::{AppId, Apps, Event, Query};
use trtc_callbacks::clock::{Clock, UnixMillis};
use trtc_callbacks::ingest::{Ingest, Outcome, Sink};
use trtc_callbacks::settings::{Settings, Sources};
use trtc_callbacks::store::{
    Anomaly, AnomalyFilter, Battle, Call, CallFilter, Count, CountFilter, DetailPage, Details,
    Entry, EventFilter, EventPage, Found, GiftRow, Inserted, Live, Member, ReadModels, Recording,
    Room, RoomChangeRow, RoomFilter, RoomKey, Stay, Store, StoreError, StoredEvent, Subject,
    UserCall, UserCallFilter, UserVisit, UserVisitFilter, VisitPage,
};
use trtc_callbacks::telemetry::Metrics;
use uuid::Uuid;

use crate::support::{APP, NOW};

/// A store that takes `commit` for each batch, and answers nobody from `stall.0` to `stall.1`.
#[derive(Debug)]
struct Slow {
    commit: Duration,
    stall: (Instant, Instant),
    rows: Mutex<HashSet<Uuid>>,
}

#[async_trait]
impl Store for Slow {
    async fn insert(&self, entries: &[Entry<'_>]) -> Result<Vec<Inserted>, StoreError> {
        if (self.stall.0..self.stall.1).contains(&Instant::now()) {
            sleep_until(self.stall.1).await;
        }
        sleep(self.commit).await;
        let mut rows = self.rows.lock().unwrap();
        let insert = |entry: &Entry<'_>| {
            if rows.insert(entry.event.id) { Inserted::New } else { Inserted::Duplicate }
        };
        Ok(entries.iter().map(insert).collect())
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn upkeep(&self, _now: UnixMillis) -> Result<(), StoreError> {
        Ok(())
    }

    async fn delete_expired(&self, _: UnixMillis, _: u32) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn park(&self, _: &Event, _: &str, _: UnixMillis) -> Result<(), StoreError> {
        Ok(())
    }

    async fn events(&self, _filter: &EventFilter) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(Vec::new())
    }

    async fn contains(&self, id: Uuid) -> Result<bool, StoreError> {
        Ok(self.rows.lock().unwrap().contains(&id))
    }

    async fn close(&self) {}
}

/// Nobody reads it.
#[async_trait]
impl ReadModels for Slow {
    async fn calls(&self, _: &CallFilter) -> Result<Vec<Call>, StoreError> {
        unreachable!()
    }

    async fn call(&self, _: AppId, _: &str) -> Result<Option<Call>, StoreError> {
        unreachable!()
    }

    async fn call_members(&self, _: AppId, _: &str) -> Result<Details<Member>, StoreError> {
        unreachable!()
    }

    async fn user_calls(&self, _: &UserCallFilter) -> Result<Vec<UserCall>, StoreError> {
        unreachable!()
    }

    async fn rooms(&self, _: &RoomFilter) -> Result<Vec<Room>, StoreError> {
        unreachable!()
    }

    async fn room(&self, _: &RoomKey) -> Result<Option<Room>, StoreError> {
        unreachable!()
    }

    async fn lives(&self, _: &[RoomKey]) -> Result<Vec<Live>, StoreError> {
        unreachable!()
    }

    async fn visits(&self, _: &Room, _: &DetailPage) -> Result<VisitPage, StoreError> {
        unreachable!()
    }

    async fn seats(&self, _: &Room) -> Result<Details<Stay>, StoreError> {
        unreachable!()
    }

    async fn room_changes(&self, _: &Room) -> Result<Details<RoomChangeRow>, StoreError> {
        unreachable!()
    }

    async fn gifts(&self, _: &Room, _: &DetailPage) -> Result<Vec<GiftRow>, StoreError> {
        unreachable!()
    }

    async fn battles(&self, _: &Room) -> Result<Details<Battle>, StoreError> {
        unreachable!()
    }

    async fn recordings(&self, _: &Subject) -> Result<Details<Recording>, StoreError> {
        unreachable!()
    }

    async fn anomalies(&self, _: &AnomalyFilter) -> Result<Vec<Anomaly>, StoreError> {
        unreachable!()
    }

    async fn open_anomalies(&self, _: Option<AppId>) -> Result<i64, StoreError> {
        unreachable!()
    }

    async fn counts(&self, _: &CountFilter) -> Result<Vec<Count>, StoreError> {
        unreachable!()
    }

    async fn event(&self, _: Uuid) -> Result<Option<StoredEvent>, StoreError> {
        unreachable!()
    }

    async fn user_visits(&self, _: &UserVisitFilter) -> Result<Vec<UserVisit>, StoreError> {
        unreachable!()
    }

    async fn event_page(&self, _: &EventFilter) -> Result<EventPage, StoreError> {
        unreachable!()
    }

    async fn find(&self, _: &str) -> Result<Vec<Found>, StoreError> {
        unreachable!()
    }
}

fn event(number: u64) -> Event {
    let apps = Apps::new().with(AppId::parse(APP).unwrap(), Vec::new());
    let query = Query::parse(&format!("SdkAppid={APP}"));
    let body = format!(r#"{{"CallbackCommand":"Test.Event","Number":{number}}}"#);
    Event::decode(&apps.verify(query, NOW).unwrap(), body.as_bytes(), NOW)
}

/// Submits an event every 10 ms for `seconds`; returns for each when it was submitted, how long its answer took and
/// what it was, and the ids that were stored.
async fn submit_steadily(
    lanes: &str,
    commit: Duration,
    seconds: u64,
    stall: (f64, f64),
) -> (Vec<(f64, Duration, Outcome, Uuid)>, HashSet<Uuid>) {
    let env = [("TRTC_INGEST__LANES".to_owned(), lanes.to_owned())].into();
    let settings = Settings::load(&Sources { env, ..Sources::default() }).unwrap();
    let begun = Instant::now();
    let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
    let slow = Arc::new(Slow { commit, stall: (at(stall.0), at(stall.1)), rows: Mutex::default() });
    let store: Arc<dyn Store> = slow.clone();
    let metrics = Arc::new(Metrics::new());
    let clock = Clock::manual(NOW);
    let ingest = Arc::new(Ingest::start(&settings.ingest, &store, &clock, &metrics).await);
    let mut answers = tokio::task::JoinSet::new();
    for number in 0..seconds * 100 {
        sleep_until(begun + Duration::from_millis(number * 10)).await;
        let ingest = ingest.clone();
        answers.spawn(async move {
            let (event, submitted) = (event(number), Instant::now());
            let id = event.id;
            let outcome = ingest.submit(event).await;
            (submitted.duration_since(begun).as_secs_f64(), submitted.elapsed(), outcome, id)
        });
    }
    let answers = answers.join_all().await;
    ingest.close().await;
    let rows = slow.rows.lock().unwrap().clone();
    (answers, rows)
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stood_still_is_used_again_at_once() {
    for lanes in ["1", "2"] {
        let commit = Duration::from_millis(300);
        let (answers, rows) = submit_steadily(lanes, commit, 6, (1.0, 2.5)).await;
        for (submitted, took, outcome, id) in &answers {
            // The whole deadline, and a moment for the error log.
            assert!(*took <= Duration::from_millis(1060), "answered after {took:?}");
            if !(0.5..3.0).contains(submitted) {
                assert_eq!(*outcome, Outcome::New, "lanes {lanes}, submitted at {submitted}");
            }
            assert!(*outcome == Outcome::NotStored || rows.contains(id));
        }
        let late = answers.iter().filter(|(_, _, outcome, _)| *outcome == Outcome::NotStored);
        assert!(late.count() > 0, "the stall was not felt");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_never_there_costs_no_answer_more_than_the_deadline() {
    let (answers, rows) = submit_steadily("2", Duration::ZERO, 2, (0.0, 1000.0)).await;
    for (_, took, outcome, _) in &answers {
        assert_eq!(*outcome, Outcome::NotStored);
        assert!(*took <= Duration::from_millis(1060), "answered after {took:?}");
    }
    assert!(rows.is_empty());
}
