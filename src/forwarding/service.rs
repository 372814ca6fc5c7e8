//! Forwarding as a part of the server.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::clock::Clock;
use crate::forwarding::database::Database;
use crate::forwarding::derived::Deriver;
use crate::forwarding::forwarder::Forwarder;
use crate::forwarding::sender::http::HttpSender;
#[cfg(feature = "nats")]
use crate::forwarding::sender::nats::NatsSender;
use crate::settings::{Settings, SettingsError};
use crate::store::{DerivedProgress, StoreOptions};
use crate::telemetry::{Metrics, OnChange};
use forward::destination::Destination;
use forward::destination::target::TargetKind;
use forward::http::Guard;
use forward::sender::Sender;
use forward::window::WINDOW_BYTES_MAX;
use protocol::diagnostic::Diagnostic;

/// How long to wait before a destination whose task panicked is begun again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How often backlogs are compared with their bound.
const BOUND_EVERY: Duration = Duration::from_secs(30);
/// The same where there is no destination.
const BOUND_FORGOTTEN_EVERY: Duration = Duration::from_hours(1);
/// How long to wait before a store that failed is asked again.
const OPEN_PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked where the feed ends, at most: under load batches end faster.
const END_EVERY: Duration = Duration::from_millis(10);
/// How often it is shown how far the job is that derives events.
const SHOW_DERIVED_EVERY: Duration = Duration::from_secs(5);
/// How long closing may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// The destinations of this server, ready to be forwarded to.
pub(crate) struct Forwarding {
    destinations: Vec<Arc<Destination>>,
    guard: Guard,
    options: StoreOptions,
    backlog_events_max: u64,
    interval: Duration,
    age_max: Option<Duration>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Forwarding {
    /// What the settings say of it.
    pub(crate) fn new(
        settings: &Settings,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, SettingsError> {
        let (destinations, guard) = settings.destinations()?;
        // Shown from the start, also while the store is away: an alert on an increase needs the value before it.
        for destination in &destinations {
            drop(metrics.destination(&destination.name));
        }
        Ok(Self {
            destinations: destinations.into_iter().map(Arc::new).collect(),
            guard,
            options: settings.store_options(),
            backlog_events_max: settings.forwarding.backlog_events_max,
            interval: settings.forwarding.number_interval(),
            age_max: settings.retention.backlog_age_max(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        })
    }

    /// The destinations.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.destinations.iter().map(|destination| &**destination)
    }

    /// Forwards from when the store is `ready` until it is stopped. `numbered`: is told when events have got positions.
    pub(crate) async fn run(
        self,
        ready: CancellationToken,
        numbered: Arc<Notify>,
        stop: CancellationToken,
    ) {
        tokio::select! {
            () = ready.cancelled() => {}
            () = stop.cancelled() => return,
        }
        if self.destinations.is_empty() {
            tokio::select! {
                () = self.bound_forgotten() => {}
                () = stop.cancelled() => {}
            }
            return;
        }
        let database = tokio::select! {
            database = self.open() => Arc::new(database),
            () = stop.cancelled() => return,
        };
        let (end, read_end) = watch::channel(0);
        let deriver = self.deriver(&database, &read_end, &stop);
        if let Some(deriver) = &deriver {
            // Before the destinations are known: what is stored after that is for them.
            tokio::select! {
                () = deriver.begin() => {}
                () = stop.cancelled() => return,
            }
        }
        let forwarders: Vec<Forwarder> = self.forwarders(&database, &read_end, &stop);
        info!(destinations = forwarders.len(), "stored events are forwarded");
        let preparing = join_all(forwarders.iter().map(|one| prepare(one.sender.clone())));
        let showing = show_derived(database.clone(), self.metrics.clone(), deriver.is_some());
        let all = join(join_all(forwarders.into_iter().map(supervise)), async {
            if let Some(deriver) = deriver {
                supervise_deriver(deriver).await;
            }
        });
        let watching = watch_end(database.clone(), numbered, self.interval, end);
        let bounding = bound(database.clone(), self.backlog_events_max);
        tokio::select! {
            _ = all => {}
            _ = preparing => {}
            () = watching => {}
            () = bounding => {}
            () = showing => {}
        }
        if timeout(CLOSE_MAX, database.close()).await.is_err() {
            warn!("the forwarder's connections did not close in time; they end with the process");
        }
    }

    /// Bounds the backlogs of destinations that are no longer configured, which would keep the whole feed. Never returns.
    async fn bound_forgotten(&self) {
        loop {
            sleep(BOUND_FORGOTTEN_EVERY).await;
            let database = self.open().await;
            // What fails is tried again in an hour; the store's other users say so.
            while let Ok(true) = database.skip_excess(self.backlog_events_max).await {}
            database.close().await;
        }
    }

    async fn open(&self) -> Database {
        loop {
            match Database::open(self.options.clone()).await {
                Ok(database) => return database,
                Err(Diagnostic { problem: reason, hint }) => {
                    warn!(reason, hint, "the forwarder cannot open the store; trying again");
                    sleep(OPEN_PAUSE).await;
                }
            }
        }
    }

    fn forwarders(
        &self,
        database: &Arc<Database>,
        end: &watch::Receiver<i64>,
        stop: &CancellationToken,
    ) -> Vec<Forwarder> {
        let holder: Arc<str> = Uuid::new_v4().to_string().into();
        let forwarder = |destination: &Arc<Destination>| {
            Some(Forwarder {
                destination: destination.clone(),
                sender: self.sender(destination)?,
                window_bytes: WINDOW_BYTES_MAX / self.destinations.len().max(1),
                database: database.clone(),
                end: end.clone(),
                clock: self.clock.clone(),
                metrics: Arc::new(self.metrics.destination(&destination.name)),
                holder: holder.clone(),
                stop: stop.clone(),
                age_max: self.age_max,
            })
        };
        self.destinations.iter().filter_map(forwarder).collect()
    }

    /// The job that derives events; `None` where no destination names any.
    fn deriver(
        &self,
        database: &Database,
        end: &watch::Receiver<i64>,
        stop: &CancellationToken,
    ) -> Option<Deriver> {
        let is_wanted = self.destinations.iter().any(|one| one.filter.names_derived());
        is_wanted.then(|| Deriver {
            options: self.options.clone(),
            store: database.reader(),
            end: end.clone(),
            clock: self.clock.clone(),
            holder: Uuid::new_v4().to_string().into(),
            stop: stop.clone(),
        })
    }

    /// The kind of a destination: each has a file of its own.
    fn sender(&self, destination: &Arc<Destination>) -> Option<Arc<dyn Sender>> {
        match destination.target.kind() {
            TargetKind::Http => {
                let (guard, clock) = (self.guard.clone(), self.clock.clone());
                Some(Arc::new(HttpSender::new(destination.clone(), guard, clock)))
            }
            // A wrong one was refused when the settings were checked.
            #[cfg(feature = "nats")]
            TargetKind::Nats => {
                let (guard, clock) = (self.guard.clone(), self.clock.clone());
                let sender = NatsSender::new(destination.clone(), guard, clock).ok()?;
                Some(Arc::new(sender))
            }
            // All were refused when the settings were checked.
            #[cfg(not(feature = "nats"))]
            TargetKind::Nats => None,
        }
    }
}

/// Lets a destination be looked at. Never returns.
async fn prepare(sender: Arc<dyn Sender>) -> std::convert::Infallible {
    sender.prepare().await;
    pending().await
}

/// Runs a destination as a task of its own, and begins it again where it panicked: the others go on.
async fn supervise(forwarder: Forwarder) {
    let tasks = TaskTracker::new();
    while let Err(error) = AbortOnDropHandle::new(tasks.spawn(forwarder.clone().run())).await {
        let destination = forwarder.destination.name.as_str();
        error!(%error, destination, "forwarding panicked; starting it again");
        sleep(RESTART_PAUSE).await;
    }
}

/// The same for the job that derives events.
async fn supervise_deriver(deriver: Deriver) {
    let tasks = TaskTracker::new();
    while let Err(error) = AbortOnDropHandle::new(tasks.spawn(deriver.clone().run())).await {
        error!(%error, "deriving events panicked; starting it again");
        sleep(RESTART_PAUSE).await;
    }
}

/// Shows for ever how far the job is that derives events, if it `is_wanted`. The job itself may stand still, here or on another server.
async fn show_derived(database: Arc<Database>, metrics: Arc<Metrics>, is_wanted: bool) {
    if !is_wanted {
        pending::<()>().await;
    }
    loop {
        // What fails is shown again when the store answers: its other users say so.
        if let Ok(progress) = database.derived_progress().await {
            let lag = |progress: &DerivedProgress| progress.lag_ms.max(0).unsigned_abs();
            let lag = Duration::from_millis(progress.as_ref().map_or(0, lag));
            let (events, pending) = progress.map_or((0, 0), |now| (now.events, now.pending));
            metrics.derived.progress(events, pending, lag);
        }
        sleep(SHOW_DERIVED_EVERY).await;
    }
}

/// Says for ever where the feed ends: at once where this server stored and numbered a batch, else after an interval.
async fn watch_end(
    database: Arc<Database>,
    numbered: Arc<Notify>,
    interval: Duration,
    end: watch::Sender<i64>,
) {
    let mut logged = OnChange::default();
    loop {
        let looked = Instant::now();
        match database.feed_end().await {
            Ok(position) => {
                if logged.clear() {
                    info!("the feed is read again");
                }
                end.send_if_modified(|end| std::mem::replace(end, position) != position);
                tokio::select! {
                    () = numbered.notified() => sleep_until(looked + END_EVERY).await,
                    () = sleep(interval) => {}
                }
            }
            Err(found) => {
                if logged.is_new(&found) {
                    let Diagnostic { problem: reason, hint } = found;
                    warn!(
                        reason,
                        hint, "new events cannot be read, so nothing is forwarded; trying again"
                    );
                }
                sleep(OPEN_PAUSE).await;
            }
        }
    }
}

/// Keeps backlogs within their bound, for ever.
async fn bound(database: Arc<Database>, events_max: u64) {
    loop {
        match database.skip_excess(events_max).await {
            Ok(true) => warn!(
                hint = "see `skipped_from` and `skipped_until` of the table `destinations`",
                "the oldest events of a backlog were skipped: it is longer than `forwarding.backlog_events_max`"
            ),
            // Where it fails, the other steps fail, too, and say so.
            Ok(false) | Err(_) => sleep(BOUND_EVERY).await,
        }
    }
}
