//! The whole server: wires the parts, runs them, and stops them in order.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{error, info, warn};

use crate::callback::{AppId, Apps};
use crate::clock::Clock;
use crate::guard::{Book, Watch};
use crate::http::{
    self, Addresses, AppSetup, Keeping, Limits, Ops, Reading, Receiver, Setup, Sources, Stop, Tls,
    TlsError,
};
use crate::ingest::Ingest;
use crate::retention;
use crate::settings::{AppSettings, Settings, SettingsError};
use crate::settler::Settler;
use crate::sockets::{Heirs, Succession, TakenOver};
use crate::store::{self, Spool, SpoolError, Store, StoreError};
use crate::telemetry::{Metrics, log_lines_dropped};

/// How often what the store needs now and then is done.
const UPKEEP_EVERY: Duration = Duration::from_hours(1);
/// How long to wait before it is begun again where it panicked.
const UPKEEP_PAUSE: Duration = Duration::from_secs(1);
/// How long it may take.
const UPKEEP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often metrics that nobody reads are folded together, and dropped lines of the log shown.
const METRICS_EVERY: Duration = Duration::from_secs(5);
/// How long a start waits for the store where events can go to the spool meanwhile, and where they cannot.
const STORE_WAIT: Duration = Duration::from_secs(1);
const STORE_WAIT_WITHOUT_SPOOL: Duration = Duration::from_secs(30);
/// How long a start waits for another server to be done with the spool: one that is just ending.
const SPOOL_WAIT: Duration = Duration::from_secs(1);
/// How long one try to bring the store's tables up to date may take where something else waits for it.
const MIGRATE_TIMEOUT: Duration = Duration::from_mins(10);
/// How long to wait before a store that is not ready is asked again.
const MIGRATE_PAUSE: Duration = Duration::from_secs(1);
/// How long a stop waits for the store's connections to close.
const STORE_CLOSE_MAX: Duration = Duration::from_secs(2);
/// How many connections the operators may have.
const OPS_CONNECTIONS_MAX: usize = 100;
/// How many more while all of those are busy, for `/livez` and the like.
const OPS_RESERVED_MAX: usize = 16;

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
    /// The certificate or its key does not do.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store cannot be used.
    #[error("open the store {url}: {reason}")]
    Store {
        /// Which one, without its password.
        url: String,
        /// What is wrong with it.
        reason: StoreError,
    },
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
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
    run_in_turn(settings, listeners, Succession::default(), clock, stop).await
}

/// The same for one that may have taken over from another, and hands over to the next: then it ends as if it were stopped,
/// but accepts nothing any more.
///
/// # Errors
/// When it cannot start.
pub async fn run_in_turn(
    settings: Settings,
    listeners: Listeners,
    succession: Succession,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let apps = settings.apps_to_serve()?;
    let admission = settings.admission()?;
    let metrics = Arc::new(Metrics::new());
    let keeping = Arc::new(OnceLock::new());
    let watch = Arc::new(Watch::new(&settings, &admission, &clock, &metrics));
    let addresses = addresses(&settings, &listeners);
    let setup = Setup { addresses, ..setup(&settings, &apps, &watch) };
    let ops = operations(&settings, &keeping, &metrics, &clock, &stop, setup);
    let tls = tls(&settings, &clock, &metrics)?;
    let limits = limits(&settings)?;
    let ops_stop = CancellationToken::new();
    let ops_address = display_address(&listeners.ops);
    let ops_begin = CancellationToken::new();
    if succession.from.is_none() {
        ops_begin.cancel();
    }
    let heirs = Heirs::of(&listeners.public, &listeners.ops, succession.hand_over);
    let ops =
        serve_operators(listeners.ops, ops, ops_limits(&limits), &ops_begin, ops_stop.clone());
    let work = async {
        let _end_of_ops = ops_stop.clone().drop_guard();
        let (store, ingest, ready) = tokio::select! {
            opened = open(&settings, &clock, &metrics) => opened?,
            () = stop.cancelled() => return Ok(()),
        };
        watch.load().await;
        let receiver = receiver(&settings, apps.clone(), ingest.clone())
            .with_admission(admission)
            .with_clock(clock.clone())
            .with_metrics(metrics.clone());
        // It was empty: nothing else fills it.
        let _ = keeping.set(Keeping { store: store.clone(), ingest: ingest.clone() });
        say_ready(&settings, &display_address(&listeners.public), &ops_address, &apps);
        warn_if_open(&settings);
        let submitted = receiver.tasks();
        let router = http::public_router(receiver, &settings.server.callback_paths);
        let counted = Some(metrics.clone());
        let until = Stop { asked: stop.clone(), ..Stop::default() };
        let handed_over = until.handed_over.clone();
        ops_begin.cancel();
        let turn = Turn { from: succession.from, heirs, handed_over, ops_stop: ops_stop.clone() };
        let upkeep = Upkeep {
            store: store.clone(),
            ingest: ingest.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            tls: tls.clone(),
            keep: settings.retention.keep(),
            settler: Arc::new(settler(&settings, &apps, watch.book(), &clock, &metrics)),
            watch: watch.clone(),
        };
        tokio::select! {
            () = http::serve(listeners.public, router, tls.clone(), limits, counted, until) => {}
            () = upkeep.for_ever(ready) => {}
            () = turn.take(stop.clone()) => {}
        }
        info!("taking no more callbacks, keeping those that were taken");
        submitted.close();
        submitted.wait().await;
        close(&ingest, &store).await;
        Ok(())
    };
    let (worked, ()) = tokio::join!(work, ops);
    if worked.is_ok() {
        info!("stopped");
    }
    worked
}

/// Operators may look from the start to the end, so their listener is served first and stopped last. Where another server
/// answers them meanwhile, it begins when that one ends.
async fn serve_operators(
    listener: TcpListener,
    ops: Ops,
    limits: Limits,
    begin: &CancellationToken,
    stop: CancellationToken,
) {
    tokio::select! {
        biased;
        () = begin.cancelled() => {}
        () = stop.cancelled() => return,
    }
    http::serve(listener, http::ops_router(ops), None, limits, None, stop).await;
}

/// The server's time between the one before it and the next on the same sockets.
struct Turn {
    from: Option<TakenOver>,
    heirs: Heirs,
    handed_over: CancellationToken,
    ops_stop: CancellationToken,
}

impl Turn {
    /// Tells the one before that this one takes callbacks, and stops when the next one does. Never returns.
    async fn take(self, stop: CancellationToken) {
        if let Some(before) = self.from {
            before.ready().await;
        }
        // Once it is to stop it has the sockets nowhere but where it listens: who comes later is refused, and does not wait.
        tokio::select! {
            () = self.heirs.wait_for() => {
                self.handed_over.cancel();
                // Those who ask for health or figures are answered by the other one.
                self.ops_stop.cancel();
            }
            () = stop.cancelled() => {}
        }
        std::future::pending::<()>().await;
    }
}

async fn close(ingest: &Ingest, store: &Arc<dyn Store>) {
    ingest.close().await;
    // A database that stands still answers no goodbye. All that was taken is kept by now.
    if timeout(STORE_CLOSE_MAX, store.close()).await.is_err() {
        warn!("the store did not close its connections in time; they end with the process");
    }
}

fn say_ready(settings: &Settings, listen: &str, ops: &str, apps: &Apps) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        listen,
        tls = settings.server.tls_files().is_some(),
        ops.listen = ops,
        store = store::display_url(&settings.store.url),
        apps = apps.ids().count(),
        "ready for callbacks"
    );
}

/// Says so where whoever reaches the listener can have events stored.
fn warn_if_open(settings: &Settings) {
    let (server, auth) = (&settings.server, &settings.auth);
    let Some(path) = server.guessable_path().filter(|_| !server.listen.ip().is_loopback()) else {
        return;
    };
    let unsigned = settings.apps.iter().find(|app| app.callback_tokens.is_empty());
    let by_address = auth.takes_vendors_list() || auth.given_addresses().next().is_some();
    if let Some(app) = unsigned.filter(|_| !by_address) {
        warn!(
            app = app.sdk_app_id,
            path,
            listen = %server.listen,
            hint = "set the token of the vendor's console (TRTC_CALLBACK_TOKEN) and one long random path \
                    (`server.callback_paths`); or let in known addresses only (`auth.source_addresses`)",
            "unsigned requests are taken at a path that is easy to guess: whoever reaches this address can have events stored"
        );
    }
}

/// What the operators ask, as the settings want it.
fn operations(
    settings: &Settings,
    keeping: &Arc<OnceLock<Keeping>>,
    metrics: &Metrics,
    clock: &Clock,
    stop: &CancellationToken,
    setup: Setup,
) -> Ops {
    let (store, token) = (&settings.store, settings.ops.token.clone());
    let read_timeout = Duration::from_millis(store.read_timeout_ms);
    let reading = Reading::new(keeping.clone(), store.readers_max, read_timeout);
    Ops::new(keeping.clone(), metrics, token, clock.clone(), stop.clone(), reading, setup)
}

/// What the settings page shows.
fn setup(settings: &Settings, apps: &Apps, watch: &Watch) -> Setup {
    let auth = &settings.auth;
    let app = |(id, app): (AppId, &AppSettings)| AppSetup {
        id,
        tokens: app.callback_tokens.len(),
        has_key: app.has_key(),
    };
    let of = |id: &AppId| {
        let app = settings.apps.iter().find(|app| AppId::parse(&app.sdk_app_id) == Some(*id))?;
        Some((*id, app))
    };
    Setup {
        apps: apps.ids().filter_map(|id| of(&id)).map(app).collect(),
        book: watch.book(),
        sources: Sources {
            given: auth.given_addresses().map(str::to_owned).collect(),
            proxies: auth.trusted_proxies.clone(),
            vendor: watch.addresses(),
        },
        addresses: Addresses::default(),
        sections: settings.summary(),
    }
}

/// Where the server listens, as pages tell people. A path that may be a secret is none of it.
fn addresses(settings: &Settings, listeners: &Listeners) -> Addresses {
    let reached = |listener: &TcpListener| {
        let address = listener.local_addr().unwrap_or(settings.server.listen);
        let (port, host) = (address.port(), address.ip());
        let near = match host {
            host if !host.is_unspecified() => address.to_string(),
            IpAddr::V4(_) => format!("127.0.0.1:{port}"),
            IpAddr::V6(_) => format!("[::1]:{port}"),
        };
        (host.is_unspecified(), near, port)
    };
    let (everywhere, near, port) = reached(&listeners.public);
    let is_tls = settings.server.tls_files().is_some();
    let plain = settings.server.plain_paths().last();
    let host = if everywhere { format!("HOST:{port}") } else { near.clone() };
    let scheme = if is_tls { "https" } else { "http" };
    let path = plain.map_or("/… (the path that is configured)", String::as_str);
    let to = match settings.server.plain_paths().next() {
        Some(path) if !is_tls => format!(" --to http://{near}{path}"),
        _ => String::new(),
    };
    Addresses {
        callback: format!("{scheme}://{host}{path}"),
        to: if to == " --to http://127.0.0.1:8080/" { String::new() } else { to },
        ops: format!("http://{}", reached(&listeners.ops).1),
    }
}

/// What computes rooms and lives, and finds gaps.
fn settler(
    settings: &Settings,
    apps: &Apps,
    book: Arc<Book>,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Settler {
    let apps = apps.ids().collect();
    let (options, gaps) = (settings.store_options(), settings.gaps.clone());
    let bounds = (gaps, settings.settle.clone());
    Settler::new(options, apps, bounds, book, clock.clone(), metrics.clone())
}

/// What takes callbacks, as the settings want it.
fn receiver(settings: &Settings, apps: Apps, ingest: Arc<Ingest>) -> Receiver {
    let server = &settings.server;
    Receiver::new(apps, ingest)
        .with_rejected(settings.answer.rejected)
        .with_when_not_stored(settings.answer.when_not_stored)
        .with_room(settings.ingest.queue_bytes_max)
        .with_body_limits(server.body_bytes_max, Duration::from_millis(server.body_timeout_ms))
}

/// The public listener's.
fn limits(settings: &Settings) -> Result<Limits, SettingsError> {
    let server = &settings.server;
    Ok(Limits {
        connections_max: http::connections_allowed(server.connections_max, reserved(settings)),
        reserved_max: 0,
        trusted_proxies: settings.trusted_proxies()?,
        header_timeout: Duration::from_millis(server.header_timeout_ms),
        header_bytes_max: server.header_bytes_max,
        idle_timeout: Duration::from_millis(server.idle_timeout_ms),
        write_timeout: Duration::from_millis(server.write_timeout_ms),
        drain: Duration::from_millis(server.drain_ms),
        shutdown_timeout: Duration::from_millis(server.shutdown_timeout_ms),
    })
}

/// The operations listener's.
fn ops_limits(public: &Limits) -> Limits {
    Limits {
        connections_max: OPS_CONNECTIONS_MAX,
        reserved_max: OPS_RESERVED_MAX,
        drain: Duration::ZERO,
        shutdown_timeout: Duration::from_secs(1),
        ..public.clone()
    }
}

/// Absent where plain HTTP is spoken.
fn tls(
    settings: &Settings,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<Option<Tls>, TlsError> {
    let load =
        |(certificate, key): (&_, &_)| Tls::load(certificate, key, clock.clone(), metrics.clone());
    settings.server.tls_files().map(load).transpose()
}

/// How many file descriptors the server needs with these settings.
pub(crate) fn descriptors_needed(settings: &Settings) -> usize {
    http::descriptors_needed(settings.server.connections_max, reserved(settings))
}

/// How many file descriptors are not for callbacks: each connection of a store may hold some, as `SQLite`'s do.
fn reserved(settings: &Settings) -> usize {
    let stores = settings.store.readers_max.saturating_add(settings.ingest.lanes).saturating_add(2);
    let stores = usize::try_from(stores.saturating_mul(4)).unwrap_or(usize::MAX);
    stores.saturating_add(OPS_CONNECTIONS_MAX + OPS_RESERVED_MAX)
}

fn display_address(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
}

/// Opens the spool and the store, and says whether the store is ready. Where it is not there, events go to the spool until
/// it is; without one the start waits for it.
async fn open(
    settings: &Settings,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<(Arc<dyn Store>, Arc<Ingest>, bool), StartError> {
    let url = store::display_url(&settings.store.url);
    let failed = |reason| StartError::Store { url: url.clone(), reason };
    let store = store::open(&settings.store_options()).await.map_err(failed)?;
    let spool = match settings.spool.path.as_path() {
        path if path.as_os_str().is_empty() => None,
        path => Some(Spool::open(path, settings.spool.bytes_max, SPOOL_WAIT, clock.now()).await?),
    };
    let ready = if spool.is_some() {
        match timeout(STORE_WAIT, store.migrate()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) if !error.is_unavailable() => return Err(failed(error)),
            Ok(Err(_)) | Err(_) => false,
        }
    } else {
        wait_for(&store, &url).await.map_err(failed)?;
        true
    };
    let ingest = Ingest::start_held(&settings.ingest, &store, spool, clock, metrics).await;
    if ready {
        make_partitions(&store, clock).await;
        ingest.release();
    } else {
        warn!(store = url, "starting without the store; events go to the spool until it is there");
    }
    Ok((store, Arc::new(ingest), ready))
}

/// Waits some time for a database that starts together with us, and brings it up to this version.
async fn wait_for(store: &Arc<dyn Store>, url: &str) -> Result<(), StoreError> {
    let give_up_at = Instant::now() + STORE_WAIT_WITHOUT_SPOOL;
    loop {
        match store.migrate().await {
            Err(error) if error.is_unavailable() && Instant::now() < give_up_at => {
                let (reason, hint) = told(&error);
                warn!(reason, hint, store = url, "waiting for the store");
                sleep_until((Instant::now() + MIGRATE_PAUSE).min(give_up_at)).await;
            }
            done => return done,
        }
    }
}

/// Brings a store up to this version that was not there at the start.
async fn settle(store: &Arc<dyn Store>, ingest: &Ingest, clock: &Clock) {
    let mut said = None;
    loop {
        let trouble = match timeout(MIGRATE_TIMEOUT, store.migrate()).await {
            Ok(Ok(())) => break,
            Ok(Err(error)) => told(&error),
            Err(_) => ("it did not answer in time".to_owned(), None),
        };
        if said.as_ref() != Some(&trouble) {
            let (reason, hint) = &trouble;
            error!(reason, hint, "the store is not ready; events go to the spool until it is");
            said = Some(trouble);
        }
        sleep(MIGRATE_PAUSE).await;
    }
    make_partitions(store, clock).await;
    ingest.release();
    info!("the store is ready");
}

/// Where it fails, events go on into the partitions there are, the default one last.
async fn make_partitions(store: &Arc<dyn Store>, clock: &Clock) {
    let (reason, hint) = match timeout(UPKEEP_TIMEOUT, store.upkeep(clock.now())).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => told(&error),
        Err(_) => ("the store did not answer in time".to_owned(), None),
    };
    error!(reason, hint, "partitions were not made ahead; trying again within the hour");
}

/// What is wrong with a store, and what to do about it where that is known.
fn told(error: &StoreError) -> (String, Option<String>) {
    let text = error.to_string();
    match text.split_once("\nhint: ") {
        Some((reason, hint)) => (reason.to_owned(), Some(hint.to_owned())),
        None => (text, None),
    }
}

/// What has to be done now and then, beside the callbacks.
#[derive(Clone)]
struct Upkeep {
    store: Arc<dyn Store>,
    ingest: Arc<Ingest>,
    clock: Clock,
    metrics: Arc<Metrics>,
    tls: Option<Tls>,
    /// How long events are kept; for ever without it.
    keep: Option<Duration>,
    settler: Arc<Settler>,
    watch: Arc<Watch>,
}

impl Upkeep {
    /// Does it, first of all for a store that is not `ready`. Never returns; a mistake in it does not end the server.
    async fn for_ever(self, mut ready: bool) {
        let tasks = TaskTracker::new();
        loop {
            let upkeep = self.clone();
            let work = tasks.spawn(Box::pin(upkeep.run(ready)));
            if let Err(error) = AbortOnDropHandle::new(work).await {
                error!(%error, "the upkeep ended; it begins again");
            }
            ready = false;
            sleep(UPKEEP_PAUSE).await;
        }
    }

    async fn run(self, ready: bool) {
        let figures = async {
            let handle = self.metrics.handle();
            loop {
                sleep(METRICS_EVERY).await;
                handle.run_upkeep();
                self.metrics.log_lines_dropped.absolute(log_lines_dropped());
            }
        };
        let certificate = async {
            if let Some(tls) = &self.tls {
                tls.keep_up().await;
            }
        };
        let store = async {
            if !ready {
                settle(&self.store, &self.ingest, &self.clock).await;
            }
            tokio::join!(self.partitions(), self.retention(), self.settler.run());
        };
        tokio::join!(figures, certificate, store, self.watch.run());
    }

    async fn partitions(&self) {
        loop {
            sleep(UPKEEP_EVERY).await;
            make_partitions(&self.store, &self.clock).await;
        }
    }

    async fn retention(&self) {
        let Some(keep) = self.keep else { return };
        loop {
            retention::run(&self.store, keep, &self.clock, &self.metrics).await;
            sleep(UPKEEP_EVERY).await;
        }
    }
}
