//! The queue and its lanes before a store that misbehaves, on a clock that stands still while nothing waits for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use protocol::UnixMillis;
use protocol::{AppId, Apps, Event, Query};
use receiver::{Outcome, Sink};
use tokio::time::{Instant, sleep, sleep_until};
use trtc_callbacks::clock::Clock;
use trtc_callbacks::ingest::Ingest;
use trtc_callbacks::settings::{IngestSettings, Settings, Sources};
use trtc_callbacks::store::{
    Anomaly, AnomalyFilter, Backlog, Battle, Call, CallFilter, Count, CountFilter, DerivedEvent,
    DestinationRow, DetailPage, Details, EventDeliveries, EventFilter, EventInsert, EventPage,
    ExceptionFilter, ExceptionView, FeedFigures, FeedLimit, FeedRead, FeedSpan, GiftRow, Inserted,
    Live, Member, Position, ReadModels, Recording, RecordingFilter, RecordingPage, RecordingStep,
    Room, RoomChangeRow, RoomFilter, RoomKey, RtcPublishInterval, RtcPublishIntervals,
    RtcRoomFilter, RtcRoomSession, RtcSessionKey, RtcStay, RtcStays, RtcTask, RtcTaskFilter,
    RtcTaskPage, RtcTaskStep, SearchHit, Spool, Stay, Store, StoreError, StoredEvent, Subject,
    UserCall, UserCallFilter, UserVisit, UserVisitFilter, VisitPage,
};
use trtc_callbacks::telemetry::Metrics;
use uuid::Uuid;

use crate::support::{APP, NOW, eventually};

/// A store that takes `commit` for each batch, and answers nobody from `stall.0` to `stall.1`.
#[derive(Debug)]
struct Slow {
    commit: Duration,
    stall: (Instant, Instant),
    rows: Mutex<HashSet<Uuid>>,
}

#[async_trait]
impl Store for Slow {
    async fn insert(&self, entries: &[EventInsert]) -> Result<Vec<Inserted>, StoreError> {
        if (self.stall.0..self.stall.1).contains(&Instant::now()) {
            sleep_until(self.stall.1).await;
        }
        sleep(self.commit).await;
        let mut rows = self.rows.lock().unwrap();
        let insert = |entry: &EventInsert| {
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

    async fn trim_feed(&self, _: UnixMillis, _: u32) -> Result<u64, StoreError> {
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

    async fn live_sessions(&self, _: &[RoomKey]) -> Result<Vec<Live>, StoreError> {
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

    async fn recording_page(&self, _: &RecordingFilter) -> Result<RecordingPage, StoreError> {
        unreachable!()
    }

    async fn recording(&self, _: AppId, _: &str) -> Result<Option<Recording>, StoreError> {
        unreachable!()
    }

    async fn recording_steps(
        &self,
        _: AppId,
        _: &str,
    ) -> Result<Details<RecordingStep>, StoreError> {
        unreachable!()
    }

    async fn rtc_task(&self, _: AppId, _: &str) -> Result<Option<RtcTask>, StoreError> {
        unreachable!()
    }

    async fn rtc_task_steps(&self, _: AppId, _: &str) -> Result<Details<RtcTaskStep>, StoreError> {
        unreachable!()
    }

    async fn dialogue(&self, _: AppId, _: &str) -> Result<Vec<StoredEvent>, StoreError> {
        unreachable!()
    }

    async fn rtc_tasks(&self, _: &RtcTaskFilter) -> Result<RtcTaskPage, StoreError> {
        unreachable!()
    }

    async fn rtc_room_sessions(
        &self,
        _: &RtcRoomFilter,
    ) -> Result<Vec<RtcRoomSession>, StoreError> {
        unreachable!()
    }

    async fn rtc_room_session(
        &self,
        _: &RtcSessionKey,
    ) -> Result<Option<RtcRoomSession>, StoreError> {
        unreachable!()
    }

    async fn rtc_stays(&self, _: &RtcStays) -> Result<Vec<RtcStay>, StoreError> {
        unreachable!()
    }

    async fn rtc_publish_intervals(
        &self,
        _: &RtcPublishIntervals,
    ) -> Result<Vec<RtcPublishInterval>, StoreError> {
        unreachable!()
    }

    async fn rtc_stays_of(&self, _: &[RtcSessionKey]) -> Result<Details<RtcStay>, StoreError> {
        unreachable!()
    }

    async fn rtc_published_by(
        &self,
        _: &RtcSessionKey,
        _: &[String],
    ) -> Result<Details<RtcPublishInterval>, StoreError> {
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

    async fn events_after(&self, _: Position, _: FeedLimit) -> Result<FeedRead, StoreError> {
        unreachable!()
    }

    async fn derived_event(&self, _: Uuid) -> Result<Option<DerivedEvent>, StoreError> {
        unreachable!()
    }

    async fn feed_span(&self) -> Result<FeedSpan, StoreError> {
        unreachable!()
    }

    async fn feed_figures(&self) -> Result<FeedFigures, StoreError> {
        unreachable!()
    }
    async fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError> {
        unreachable!()
    }
    async fn destination_backlogs(&self) -> Result<HashMap<String, Backlog>, StoreError> {
        unreachable!()
    }
    async fn delivery_exceptions(
        &self,
        _: &ExceptionFilter,
    ) -> Result<Vec<ExceptionView>, StoreError> {
        unreachable!()
    }
    async fn event_deliveries(&self, _: &StoredEvent) -> Result<EventDeliveries, StoreError> {
        unreachable!()
    }
    async fn find(&self, _: &str) -> Result<Vec<SearchHit>, StoreError> {
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
    let begun = Instant::now();
    let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
    let slow = Arc::new(Slow { commit, stall: (at(stall.0), at(stall.1)), rows: Mutex::default() });
    let ingest = Arc::new(start(&slow, None, &settings(lanes)).await);
    let mut answers = tokio::task::JoinSet::new();
    for number in 0..seconds * 100 {
        sleep_until(begun + Duration::from_millis(number * 10)).await;
        let ingest = ingest.clone();
        answers.spawn(async move {
            let (event, submitted) = (event(number), Instant::now());
            let id = event.id;
            let outcome = ingest.submit(event, submitted.into_std()).await;
            (submitted.duration_since(begun).as_secs_f64(), submitted.elapsed(), outcome, id)
        });
    }
    let answers = answers.join_all().await;
    ingest.close().await;
    let rows = slow.rows.lock().unwrap().clone();
    (answers, rows)
}

fn settings(lanes: &str) -> IngestSettings {
    let env = [("TRTC_INGEST__LANES".to_owned(), lanes.to_owned())].into();
    Settings::load(&Sources { env, ..Sources::default() }).unwrap().ingest
}

async fn start(slow: &Arc<Slow>, spool: Option<Spool>, settings: &IngestSettings) -> Ingest {
    let store: Arc<dyn Store> = slow.clone();
    let (clock, metrics) = (Clock::manual(NOW), Arc::new(Metrics::new()));
    let spool = spool.map(|spool| (spool, None));
    let ingest = Ingest::start_held(settings, &store, spool, &clock, &metrics).await;
    ingest.release();
    ingest
}

/// The whole budget, and a moment for the error log.
const LONGEST: Duration = Duration::from_millis(1960);

#[tokio::test(start_paused = true)]
async fn a_store_that_recovers_is_used_at_once() {
    for lanes in ["1", "2"] {
        let commit = Duration::from_millis(300);
        let (answers, rows) = submit_steadily(lanes, commit, 8, (1.0, 4.0)).await;
        for (submitted, took, outcome, id) in &answers {
            assert!(*took <= LONGEST, "answered after {took:?}");
            if !(0.5..4.5).contains(submitted) {
                assert_eq!(*outcome, Outcome::New, "lanes {lanes}, submitted at {submitted}");
            }
            assert!(*outcome == Outcome::NotStored || rows.contains(id));
        }
        let late = answers.iter().filter(|(_, _, outcome, _)| *outcome == Outcome::NotStored);
        assert!(late.count() > 0, "the stall was not felt");
    }
}

#[tokio::test(start_paused = true)]
async fn every_event_is_stored_over_a_stall_within_the_budget() {
    for lanes in ["1", "2"] {
        let commit = Duration::from_millis(10);
        let (answers, rows) = submit_steadily(lanes, commit, 4, (1.0, 2.8)).await;
        for (submitted, took, outcome, id) in &answers {
            assert_eq!(*outcome, Outcome::New, "lanes {lanes}, submitted at {submitted}");
            assert!(*took <= Duration::from_millis(1850) && rows.contains(id), "{took:?}");
        }
        let longest = answers.iter().map(|(_, took, _, _)| *took).max();
        assert!(longest > Some(Duration::from_millis(1700)), "the stall was not felt");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_store_every_answer_meets_the_deadline() {
    let (answers, rows) = submit_steadily("2", Duration::ZERO, 2, (0.0, 1000.0)).await;
    for (_, took, outcome, _) in &answers {
        assert_eq!(*outcome, Outcome::NotStored);
        assert!(*took <= LONGEST, "answered after {took:?}");
    }
    assert!(rows.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_time_to_receive_a_body_counts_toward_the_deadline() {
    let never = Instant::now() + Duration::from_hours(1);
    let slow =
        Slow { commit: Duration::ZERO, stall: (Instant::now(), never), rows: Mutex::default() };
    let ingest = start(&Arc::new(slow), None, &settings("2")).await;
    for (before, longest) in [(0, 1950), (1000, 950), (9000, 450)] {
        let begun = Instant::now();
        let arrived = begun.checked_sub(Duration::from_millis(before)).unwrap();
        assert_eq!(ingest.submit(event(before), arrived.into_std()).await, Outcome::NotStored);
        let took = begun.elapsed();
        let longest = Duration::from_millis(longest);
        assert!(took <= longest && took > longest / 2, "{took:?} with {before} ms before");
    }
}

/// In real time, since a file is written. What is durable first answers, and the other changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn spool_and_commit_race_and_the_first_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) =
        Spool::open(&folder.path().join("spool.db"), 1 << 20, Duration::ZERO, NOW).await.unwrap();
    let begun = Instant::now();
    // The first commit ends long after the spool is tried, and long before the budget does.
    let stall = (begun, begun + Duration::from_secs(3));
    let slow = Arc::new(Slow { commit: Duration::ZERO, stall, rows: Mutex::default() });
    let mut settings = settings("2");
    (settings.ack_deadline_ms, settings.answer_deadline_ms) = (100, 60_000);
    let ingest = start(&slow, Some(spool), &settings).await;
    let first = event(1);
    let id = first.id;
    assert_eq!(ingest.submit(first, begun.into_std()).await, Outcome::Spooled);
    // Its commit was not given up, nor thought ill of.
    assert!(!ingest.health().store_away && slow.rows.lock().unwrap().is_empty());
    sleep_until(stall.1).await;
    let drained = || async { ingest.health().spool.unwrap().events == 0 };
    eventually("the spool is empty", drained).await;
    assert!(slow.rows.lock().unwrap().contains(&id));
    assert_eq!(ingest.submit(event(2), std::time::Instant::now()).await, Outcome::New);
    ingest.close().await;
    assert_eq!(slow.rows.lock().unwrap().len(), 2);
}
