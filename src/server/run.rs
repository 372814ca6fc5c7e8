//! Wires the parts, runs them, and stops them in order.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::forwarding::Forwarding;
use crate::http::{self, Limits, Ops, Setup, Stop, StoreHandle};
use crate::ingest::Ingest;
use crate::ingest::batch_writer::BatchWriter;
use crate::registration::VendorMonitor;
use crate::server::background::{Background, StoreJobs, run_writers};
use crate::server::error::StartError;
use crate::server::listeners::Listeners;
use crate::server::notices::Notices;
use crate::server::opened::{Opened, Tokens};
use crate::server::opening::open;
#[cfg(feature = "nats")]
use crate::server::scale_out;
use crate::server::wiring::{
    addresses, limits, operations, ops_limits, receiver, settler, setup, tls,
};
use crate::settings::{AppSettings, Settings};
use crate::sockets::{ServiceManager, Succession, Successors, TakenOver};
use crate::store::{self, Store};
use crate::telemetry::Metrics;
use protocol::{Apps, UnixMillis};

/// How long a stop waits for the store's connections to close.
const STORE_CLOSE_MAX: Duration = Duration::from_secs(2);

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
    let (turn, manager) = (Succession::default(), ServiceManager::default());
    run_in_turn(settings, listeners, turn, manager, clock, stop).await
}

/// The same for one that may have taken over from another, and hands over to the next: then it ends as if it were stopped,
/// but accepts nothing any more. It says to `manager` how it is.
///
/// # Errors
/// When it cannot start.
pub async fn run_in_turn(
    settings: Settings,
    listeners: Listeners,
    succession: Succession,
    manager: ServiceManager,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let apps = settings.apps_to_serve()?;
    let admission = settings.admission()?;
    let (metrics, store_handle) = (metrics_from_now(&clock), Arc::new(OnceLock::new()));
    let watch = Arc::new(VendorMonitor::new(&settings, &admission, &clock, &metrics));
    let addresses = addresses(&settings, &listeners);
    let forwarding = Forwarding::new(&settings, &clock, &metrics)?;
    let setup = Setup { addresses, ..setup(&settings, &apps, &watch, &forwarding) };
    let (access, tls) = (Arc::new(settings.access_tokens()?), tls(&settings, &clock, &metrics)?);
    let ops = operations(&settings, &access, &store_handle, &metrics, &clock, &stop, setup);
    let (numbered, stop_forwarding) = (Arc::new(Notify::new()), CancellationToken::new());
    let (limits, ops_stop) = (limits(&settings)?, CancellationToken::new());
    let [listen, ops_address] = [&listeners.public, &listeners.ops].map(display_address);
    let begin = token(succession.from.is_none());
    let successors = Successors::of(&listeners.public, &listeners.ops, succession.hand_over);
    let ops = serve_operators(listeners.ops, ops, ops_limits(&limits), &begin, ops_stop.clone());
    let notices = Notices::new(manager, serves(&settings, &listen, &ops_address));
    let work = async {
        let _end_of_ops = ops_stop.clone().drop_guard();
        notices.starting().await;
        let tokens = Tokens { store_ready: CancellationToken::new(), stop: stop.child_token() };
        let Opened { store, ingest, jobs, writers } = tokio::select! {
            opened = opened(&settings, &clock, &metrics, succession.from.is_some(), &tokens) => opened?,
            () = stop.cancelled() => return Ok(()),
        };
        watch.load().await;
        let receiver = receiver(&settings, apps.clone(), ingest.clone(), &clock, &metrics)
            .with_admission(admission);
        // It was empty: nothing else fills it.
        let _ = store_handle.set(handle(&settings, store.as_ref(), &ingest));
        say_ready(&settings, &listen, &ops_address, &apps);
        let submissions = receiver.submissions();
        let router = receiver::standalone_router(receiver, settings.served_paths());
        let (counted, until) = (Some(metrics.clone()), Stop::from(stop.clone()));
        begin.cancel();
        let handover = Handover::new(succession.from, successors, &until, &ops_stop);
        let background = Background {
            store: store.clone().map(|store| {
                let settler = settler(&settings, &apps, watch.book(), &clock, &metrics);
                StoreJobs::new(store, settler, (&numbered, settings.forwarding.number_interval()))
            }),
            clock: clock.clone(),
            metrics: metrics.clone(),
            tls: tls.clone(),
            access,
            keep: settings.retention.keep(),
            watch: watch.clone(),
            more: jobs,
        };
        let (is_ready, stop_writing) = (tokens.store_ready, tokens.stop);
        let forwarding = forwarding.run(is_ready.clone(), numbered, stop_forwarding.clone());
        let accepting = async {
            tokio::select! {
                () = http::serve(listeners.public, router, tls.clone(), limits, counted, until.clone()) => {}
                () = background.run(is_ready) => {}
                () = handover.run() => {}
                () = notices.report(&ingest) => {}
            }
            info!("no more callbacks are accepted; storing those that were");
            stop_forwarding.cancel();
            submissions.finished().await;
        };
        let writing = run_writers(writers, stop_writing, &stop_forwarding);
        // What they hold is large.
        let storing = async { tokio::join!(accepting, forwarding, writing) };
        tokio::join!(Box::pin(storing), notices.stopping(&until));
        close(&ingest, store.as_ref().map(|(store, _)| store)).await;
        Ok(())
    };
    // It is large, and a caller holds it.
    let (worked, ()) = notices.watched(Box::pin(async { tokio::join!(work, ops) })).await;
    worked.inspect(|()| info!("stopped"))
}

/// The figures of a server that starts now.
fn metrics_from_now(clock: &Clock) -> Arc<Metrics> {
    let metrics = Metrics::new();
    metrics.started(clock.now().since(UnixMillis(0)));
    Arc::new(metrics)
}

/// One that is cancelled already, where it is so already.
fn token(is_so: bool) -> CancellationToken {
    let token = CancellationToken::new();
    if is_so {
        token.cancel();
    }
    token
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

/// The handovers of the sockets: from the server before this one, and to the next.
struct Handover {
    from: Option<TakenOver>,
    successors: Successors,
    /// Until when callbacks are accepted.
    until: Stop,
    ops_stop: CancellationToken,
}

impl Handover {
    fn new(
        from: Option<TakenOver>,
        successors: Successors,
        until: &Stop,
        ops_stop: &CancellationToken,
    ) -> Self {
        Self { from, successors, until: until.clone(), ops_stop: ops_stop.clone() }
    }

    /// Tells the one before that this one takes callbacks, and stops when the next one does. Never returns.
    async fn run(self) {
        if let Some(before) = self.from {
            before.ready().await;
        }
        // Once it is to stop it has the sockets nowhere but where it listens: who comes later is refused, and does not wait.
        tokio::select! {
            () = self.successors.wait_for() => {
                self.until.handed_over.cancel();
                // Those who ask for health or figures are answered by the other one.
                self.ops_stop.cancel();
            }
            () = self.until.asked.cancelled() => {}
        }
        std::future::pending::<()>().await;
    }
}

/// What the operations listener reads and asks.
fn handle(
    settings: &Settings,
    store: Option<&(Arc<dyn Store>, Arc<BatchWriter>)>,
    ingest: &Arc<Ingest>,
) -> StoreHandle {
    let store = store.map(|(store, _)| store.clone());
    StoreHandle { store, ingest: ingest.clone(), receives: settings.receives() }
}

/// Opens what the settings want.
async fn opened(
    settings: &Settings,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    takes_over: bool,
    tokens: &Tokens,
) -> Result<Opened, StartError> {
    #[cfg(feature = "nats")]
    if let Some(stream) = settings.stream() {
        return scale_out::open(settings, stream, clock, metrics, takes_over, tokens).await;
    }
    open(settings, clock, metrics, takes_over, tokens).await
}

async fn close(ingest: &Ingest, store: Option<&Arc<dyn Store>>) {
    ingest.close().await;
    let Some(store) = store else { return };
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
        store = if settings.stores() {
            store::display_url(&settings.store.url)
        } else {
            "none".to_owned()
        },
        stream.role = settings.stream().map(|stream| stream.role.as_str()),
        apps = apps.ids().count(),
        "ready for callbacks"
    );
    if settings.receives() {
        warn_if_open(settings);
    }
}

/// Warns where anybody who reaches the listener can have events stored.
fn warn_if_open(settings: &Settings) {
    let (server, auth) = (&settings.server, &settings.auth);
    let Some(path) = server.guessable_path().filter(|_| !server.listen.ip().is_loopback()) else {
        return;
    };
    let is_open = |app: &&AppSettings| app.callback_tokens.is_empty() || app.rtc_keys.is_empty();
    let unsigned = settings.apps.iter().find(is_open);
    let by_address = auth.takes_vendors_list() || auth.given_addresses().next().is_some();
    if let Some(app) = unsigned.filter(|_| !by_address) {
        warn!(
            app = app.sdk_app_id,
            path,
            listen = %server.listen,
            hint = "set the vendor console's token (TRTC_CALLBACK_TOKEN) and RTC Engine key (TRTC_RTC_KEY), and one long random \
                    path (`server.callback_paths`); or let in known addresses only (`auth.source_addresses`)",
            "unsigned requests are taken at a path that is easy to guess: whoever reaches this address can have events stored"
        );
    }
}

/// Where it listens, as the service manager shows it.
fn serves(settings: &Settings, listen: &str, ops: &str) -> String {
    let scheme = if settings.server.tls_files().is_some() { "https" } else { "http" };
    let callbacks = format!("callbacks on {scheme}://{listen}");
    let work = if settings.receives() { &callbacks } else { "writer of the stream" };
    format!("{work}, operations on http://{ops}")
}

fn display_address(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
}
