//! A receiver of forwarded events: it counts how often each came and how long it took, and is away, or slow, as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use trtc_callbacks::clock::Clock;

use crate::server::Place;

/// What deliveries are signed with.
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// How long events may take until all are there.
const PATIENCE: Duration = Duration::from_mins(1);

/// It listens until it is dropped.
pub(crate) struct Receiver {
    url: String,
    state: Arc<State>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct State {
    is_away: AtomicBool,
    pause_ms: AtomicU64,
    taken: Mutex<Taken>,
}

/// What it answered with 200.
#[derive(Default)]
struct Taken {
    /// How often each id came.
    ids: BTreeMap<String, u32>,
    /// The positions they came with.
    places: BTreeSet<(u64, String)>,
    /// From being received by the server to being taken here, for each that came for the first time, in ms.
    delays: Vec<u64>,
}

#[derive(Deserialize)]
struct Envelope {
    id: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    received_at: String,
    position: u64,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let state: Arc<State> = Arc::default();
        let shared = state.clone();
        let router = Router::new().fallback(move |body: Bytes| {
            let state = shared.clone();
            async move { state.take(&body).await }
        });
        let serving = async move { axum::serve(listener, router).await.unwrap() };
        let serving = AbortOnDropHandle::new(TaskTracker::new().spawn(serving));
        Self { url, state, _serving: serving }
    }

    /// The place with this as its only destination, `default`.
    pub(crate) fn of(&self, place: Place) -> Place {
        place.with("TRTC_FORWARD_URL", &self.url).with("TRTC_FORWARD_SECRET", SECRET)
    }

    /// This as a destination in a file of settings.
    pub(crate) fn table(&self, name: &str, more: &str) -> String {
        table(name, &self.url, more)
    }

    /// From now on it refuses everything, or takes it again.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.state.is_away.store(is_away, Ordering::Relaxed);
    }

    /// How long it waits before each answer.
    pub(crate) fn set_pause(&self, pause: Duration) {
        self.state.pause_ms.store(pause.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }

    /// How many events came, and how many came once more.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let taken = self.state.taken.lock().unwrap();
        let all: u64 = taken.ids.values().map(|times| u64::from(*times)).sum();
        let distinct = u64::try_from(taken.ids.len()).unwrap();
        (distinct, all - distinct)
    }

    /// Holds that each event came with one position, however often, and each position with one event.
    pub(crate) fn has_one_position_for_each(&self) {
        let taken = self.state.taken.lock().unwrap();
        assert_eq!(taken.places.len(), taken.ids.len(), "events came with several positions");
        let positions: BTreeSet<u64> = taken.places.iter().map(|(position, _)| *position).collect();
        assert_eq!(positions.len(), taken.places.len(), "positions came with several events");
    }

    /// Returns once each of these came.
    pub(crate) async fn has(&self, ids: &[String]) {
        let begun = Instant::now();
        loop {
            let missing: Vec<String> = {
                let taken = self.state.taken.lock().unwrap();
                ids.iter().filter(|id| !taken.ids.contains_key(*id)).cloned().collect()
            };
            if missing.is_empty() {
                return;
            }
            let (some, all) = (&missing[..missing.len().min(3)], ids.len());
            assert!(begun.elapsed() < PATIENCE, "{} of {all} never came: {some:?}", missing.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// From being received by the server to being taken here, in ms: the time below which 99 of 100 events are.
    pub(crate) fn p99_delay(&self) -> u64 {
        let mut delays = self.state.taken.lock().unwrap().delays.clone();
        delays.sort_unstable();
        delays[((delays.len() - 1) * 99).div_ceil(100)]
    }
}

/// A destination in a file of settings.
pub(crate) fn table(name: &str, url: &str, more: &str) -> String {
    format!("[[forward]]\nname = '{name}'\nurl = '{url}'\nsecrets = ['{SECRET}']\n{more}\n")
}

impl State {
    async fn take(&self, body: &Bytes) -> StatusCode {
        let pause = self.pause_ms.load(Ordering::Relaxed);
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        if self.is_away.load(Ordering::Relaxed) {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let Envelope { id, data } = serde_json::from_slice(body).unwrap();
        let now = Clock::system().now().0;
        let received_at: jiff::Timestamp = data.received_at.parse().unwrap();
        let delay = u64::try_from(now - received_at.as_millisecond()).unwrap_or(0);
        let mut taken = self.taken.lock().unwrap();
        taken.places.insert((data.position, id.clone()));
        let times = taken.ids.entry(id).or_default();
        *times += 1;
        if *times == 1 {
            taken.delays.push(delay);
        }
        StatusCode::OK
    }
}
