//! Says to the service manager how this server is: ready, what becomes of events, alive, stopping.

use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::http::Stop;
use crate::ingest::{Health, Ingest};
use crate::sockets::ServiceManager;
use crate::telemetry::OnChange;

/// How often the state is looked at. It is said where it has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is said to the service manager.
pub(crate) struct Notices {
    manager: ServiceManager,
    /// Where the server listens.
    serves: String,
}

impl Notices {
    pub(crate) fn new(manager: ServiceManager, serves: String) -> Self {
        Self { manager, serves }
    }

    /// Says that the server opens what it needs.
    pub(crate) async fn starting(&self) {
        self.say("STATUS=opening spool and store").await;
    }

    /// Says that the server is ready and then, where that changes, what becomes of events. Never returns.
    pub(crate) async fn report(&self, ingest: &Ingest) {
        let status = || format!("STATUS={}; {}", self.serves, events_go(&ingest.health()));
        let (mut said, mut looks) = (OnChange::default(), interval(LOOK_EVERY));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = status();
        said.is_new(&now);
        self.say(&format!("READY=1\n{now}")).await;
        loop {
            looks.tick().await;
            let now = status();
            if said.is_new(&now) {
                self.say(&now).await;
            }
        }
    }

    /// Says that the server stops, at its stop.
    pub(crate) async fn stopping(&self, stop: &Stop) {
        tokio::select! {
            () = stop.asked.cancelled() => {}
            () = stop.handed_over.cancelled() => {}
        }
        self.say("STOPPING=1\nSTATUS=finishing requests and storing their events").await;
    }

    /// Runs the server while the watchdog is fed.
    pub(crate) async fn watched<T>(&self, server: impl Future<Output = T>) -> T {
        tokio::select! {
            done = server => done,
            never = self.feed_watchdog() => match never {},
        }
    }

    /// Feeds the watchdog of the service manager, where it has one, twice in its time. Never returns.
    ///
    /// It watches the runtime: a message is sent only after the timers, the thread that accepts connections (on which this
    /// runs) and a worker that takes a new task have made progress. Store and spool it does not watch: a restart brings no
    /// database back, and would cost the requests in flight.
    async fn feed_watchdog(&self) -> Infallible {
        let Some(patience) = self.manager.watchdog() else { return std::future::pending().await };
        info!(
            patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
            "the service manager restarts this server should its runtime stand still for longer"
        );
        let workers = TaskTracker::new();
        let mut feeds = interval((patience / 2).max(Duration::from_millis(1)));
        feeds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            feeds.tick().await;
            if workers.spawn(async {}).await.is_ok() {
                self.say("WATCHDOG=1").await;
            }
        }
    }

    async fn say(&self, state: &str) {
        if let Err(error) = self.manager.say(state).await {
            warn!(%error, state, "the service manager cannot be told");
        }
    }
}

/// What becomes of events, in one line.
fn events_go(health: &Health) -> String {
    let target = health.target;
    let waiting = health.spool.map_or(0, |spool| spool.events);
    let mut text = match (&health.spool, &health.spool_trouble) {
        _ if !health.store_away => format!("events go to the {target}"),
        (Some(_), None) => format!("the {target} does not take events, they go to the spool"),
        _ => format!("the {target} does not take events, and the spool neither: see the log"),
    };
    if waiting > 0 {
        let _ = write!(text, "; in the spool: {waiting}");
    }
    text
}
