//! The whole server: wires the parts, runs them, and stops them in order.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::http::{self, Limits, Ops, Receiver};
use crate::ingest::Ingest;
use crate::retention;
use crate::settings::{Settings, SettingsError};
use crate::store::{self, Store, StoreError};
use crate::telemetry::Metrics;

/// How often what the store needs now and then is done.
const UPKEEP_EVERY: Duration = Duration::from_hours(1);
/// How long it may take.
const UPKEEP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often metrics that nobody reads are folded together.
const METRICS_EVERY: Duration = Duration::from_secs(5);
/// How long the store may take to come up with us.
const STORE_WAIT: Duration = Duration::from_secs(30);

/// Where the server listens: bound before it runs, so that a caller knows the ports.
#[derive(Debug)]
pub struct Listeners {
    /// For the vendor.
    pub public: TcpListener,
    /// For the operators.
    pub ops: TcpListener,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings do not do.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The store cannot be used.
    #[error("open the store {url}: {reason}")]
    Store {
        /// Which one, without its password.
        url: String,
        /// What is wrong with it.
        reason: StoreError,
    },
}

/// Runs the server until `stop` is cancelled, and returns when every event it took is stored or accounted for.
///
/// # Errors
/// When it cannot start.
pub async fn run(
    settings: Settings,
    listeners: Listeners,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let apps = settings.apps_to_serve()?;
    let metrics = Arc::new(Metrics::new());
    let opened = Arc::new(OnceLock::new());
    let ops = Ops::new(opened.clone(), metrics.handle(), settings.ops.token.clone(), stop.clone());
    let server = &settings.server;
    let limits = Limits {
        connections_max: server.connections_max,
        header_timeout: Duration::from_millis(server.header_timeout_ms),
        header_bytes_max: server.header_bytes_max,
        drain: Duration::from_millis(server.drain_ms),
        shutdown_timeout: Duration::from_millis(server.shutdown_timeout_ms),
    };
    let ops_stop = CancellationToken::new();
    let ops_limits = Limits {
        connections_max: 100,
        drain: Duration::ZERO,
        shutdown_timeout: Duration::from_secs(1),
        ..limits.clone()
    };
    // Operators may look from the start to the end, so this listener is served first and stopped last.
    let ops_address = display_address(&listeners.ops);
    let ops = http::serve(
        listeners.ops,
        http::ops_router(ops),
        ops_limits,
        metrics::Gauge::noop(),
        ops_stop.clone(),
    );
    let work = async {
        let _end_of_ops = ops_stop.drop_guard();
        let store = tokio::select! {
            store = open_store(&settings, &clock) => store?,
            () = stop.cancelled() => return Ok(()),
        };
        // It was empty: nothing else fills it.
        let _ = opened.set(store.clone());
        let ingest = Arc::new(Ingest::start(&settings.ingest, &store, &clock, &metrics));
        let receiver = Receiver::new(apps.clone(), ingest.clone())
            .with_clock(clock.clone())
            .with_metrics(metrics.clone())
            .with_rejected(settings.answer.rejected)
            .with_body_limits(server.body_bytes_max, Duration::from_millis(server.body_timeout_ms));
        info!(
            version = env!("CARGO_PKG_VERSION"),
            listen = %display_address(&listeners.public),
            ops.listen = ops_address,
            store = store::display_url(&settings.store.url),
            apps = apps.ids().count(),
            "ready for callbacks"
        );
        let router = http::public_router(receiver, &server.callback_paths);
        let connections = metrics.connections.clone();
        tokio::select! {
            () = http::serve(listeners.public, router, limits, connections, stop.clone()) => {}
            () = keep_up(&settings, &store, &clock, &metrics) => {}
        }
        info!("taking no more callbacks, storing those that were taken");
        ingest.close().await;
        store.close().await;
        Ok(())
    };
    let (worked, ()) = tokio::join!(work, ops);
    if worked.is_ok() {
        info!("stopped");
    }
    worked
}

fn display_address(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
}

/// Opens the store, brings it up to this version, and waits some time for a database that starts together with us.
async fn open_store(settings: &Settings, clock: &Clock) -> Result<Arc<dyn Store>, StartError> {
    let url = store::display_url(&settings.store.url);
    let failed = |reason| StartError::Store { url: url.clone(), reason };
    let store = store::open(&settings.store_options()).await.map_err(failed)?;
    let give_up_at = Instant::now() + STORE_WAIT;
    loop {
        match store.migrate().await {
            Ok(()) => {
                make_partitions(&store, clock).await;
                return Ok(store);
            }
            Err(error) if error.is_unavailable() && Instant::now() < give_up_at => {
                warn!(%error, store = url, "waiting for the store");
                sleep_until((Instant::now() + Duration::from_secs(1)).min(give_up_at)).await;
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Where it fails, events go on into the partitions there are, the default one last.
async fn make_partitions(store: &Arc<dyn Store>, clock: &Clock) {
    let reason = match timeout(UPKEEP_TIMEOUT, store.upkeep(clock.now())).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the store did not answer in time".to_owned(),
    };
    error!(reason, "partitions were not made ahead; trying again within the hour");
}

/// What has to be done now and then. Never returns.
async fn keep_up(settings: &Settings, store: &Arc<dyn Store>, clock: &Clock, metrics: &Metrics) {
    let figures = async {
        let handle = metrics.handle();
        loop {
            sleep(METRICS_EVERY).await;
            handle.run_upkeep();
        }
    };
    let partitions = async {
        loop {
            sleep(UPKEEP_EVERY).await;
            make_partitions(store, clock).await;
        }
    };
    let retention = async {
        let Some(keep) = settings.retention.keep() else { return };
        loop {
            retention::run(store, keep, clock, metrics).await;
            sleep(UPKEEP_EVERY).await;
        }
    };
    tokio::join!(figures, partitions, retention);
}
