//! A destination for events: it answers each after a while, counts them, and knows how long they took to come. It runs in this
//! process, whose CPU time is nobody's.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use trtc_callbacks::clock::Clock;

/// What deliveries are signed with.
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

pub(crate) struct Receiver {
    url: String,
    state: Arc<State>,
    /// It ends with this value.
    runtime: Option<tokio::runtime::Runtime>,
}

struct State {
    pause: Duration,
    is_away: AtomicBool,
    taken: AtomicU64,
    /// From being received by the server to being taken here, in ms.
    delays: Mutex<Vec<i64>>,
}

impl Receiver {
    /// One that waits before each answer.
    pub(crate) fn start(pause: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}/", listener.local_addr()?);
        let state = State {
            pause,
            is_away: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            delays: Mutex::default(),
        };
        let state = Arc::new(state);
        let shared = state.clone();
        let router = Router::new().fallback(move |body: Bytes| {
            let state = shared.clone();
            async move { state.take(&body).await }
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("start a runtime")?;
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router).await
        });
        Ok(Self { url, state, runtime: Some(runtime) })
    }

    /// This as a table of settings.
    pub(crate) fn table(&self, name: &str, in_flight: u32) -> String {
        table(name, &self.url, in_flight)
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.state.is_away.store(is_away, Ordering::Relaxed);
    }

    pub(crate) fn taken(&self) -> u64 {
        self.state.taken.load(Ordering::Relaxed)
    }

    /// Forgets the delays up to now.
    pub(crate) fn forget(&self) {
        self.delays().clear();
    }

    /// The delay below which so many of 100 are, in ms.
    pub(crate) fn delay_ms(&self, of_hundred: usize) -> f64 {
        let mut delays = self.delays().clone();
        delays.sort_unstable();
        let nth = delays.len().saturating_sub(1) * of_hundred / 100;
        let ms = delays.get(nth).copied().unwrap_or(0);
        f64::from(i32::try_from(ms).unwrap_or(i32::MAX))
    }

    fn delays(&self) -> std::sync::MutexGuard<'_, Vec<i64>> {
        self.state.delays.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // A runtime may not wait for its end where another one runs.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A destination as a table of settings.
pub(crate) fn table(name: &str, url: &str, in_flight: u32) -> String {
    format!(
        "[[forward]]\nname = '{name}'\nurl = '{url}'\nsecrets = ['{SECRET}']\nin_flight_max = {in_flight}\n"
    )
}

impl State {
    async fn take(&self, body: &Bytes) -> StatusCode {
        if self.is_away.load(Ordering::Relaxed) {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let now = Clock::system().now().0;
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        let Some(received_at) = received_at(body) else { return StatusCode::BAD_REQUEST };
        self.taken.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut delays) = self.delays.lock() {
            delays.push(now - received_at);
        }
        StatusCode::OK
    }
}

/// When the server received it, in ms.
fn received_at(body: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("\"received_at\":\"")?;
    let at: jiff::Timestamp = rest.split_once('"')?.0.parse().ok()?;
    Some(at.as_millisecond())
}
