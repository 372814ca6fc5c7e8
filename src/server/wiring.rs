//! The parts of the server, as the settings want them.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::access::AccessTokens;
use crate::clock::Clock;
use crate::forwarding::Forwarding;
use crate::http::{
    self, Addresses, AppSetup, DestinationSetup, Limits, Ops, ReadLimiter, RequestObserver, Setup,
    Sources, StoreHandle, Tls, TlsError,
};
use crate::ingest::Ingest;
use crate::registration::{RegistrationStatus, VendorMonitor};
use crate::server::listeners::Listeners;
use crate::sessions::Settler;
use crate::settings::{AppSettings, ProxyProtocol, Settings, SettingsError};
use crate::telemetry::Metrics;
use forward::destination::Destination;
use forward::destination::target::TargetKind;
use protocol::{AppId, Apps};
use receiver::Receiver;

/// How many connections the operators may have.
const OPS_CONNECTIONS_MAX: usize = 100;
/// How many more while all of those are busy, for `/livez` and the like.
const OPS_RESERVED_MAX: usize = 16;

/// The state of the operations listener.
pub(crate) fn operations(
    settings: &Settings,
    tokens: &Arc<AccessTokens>,
    store_handle: &Arc<OnceLock<StoreHandle>>,
    metrics: &Metrics,
    clock: &Clock,
    stop: &CancellationToken,
    setup: Setup,
) -> Ops {
    let store = &settings.store;
    let read_timeout = Duration::from_millis(store.read_timeout_ms);
    let reading = ReadLimiter::new(store_handle.clone(), store.readers_max, read_timeout);
    Ops::new(
        store_handle.clone(),
        metrics,
        tokens.clone(),
        clock.clone(),
        stop.clone(),
        reading,
        setup,
    )
}

/// What the settings page shows.
pub(crate) fn setup(
    settings: &Settings,
    apps: &Apps,
    watch: &VendorMonitor,
    forwarding: &Forwarding,
) -> Setup {
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
        destinations: forwarding.destinations().map(destination).collect(),
        backlog_age_max: settings.retention.backlog_age_max(),
        sections: settings.summary(),
    }
}

/// A destination, without what may be secret.
fn destination(of: &Destination) -> DestinationSetup {
    DestinationSetup {
        name: of.name.clone(),
        kind: match of.target.kind() {
            TargetKind::Http => "http",
            TargetKind::Nats => "nats",
        },
        url: of.target.to_string(),
        filter: of.filter.clone(),
        definition_hash: of.definition_hash.clone(),
    }
}

/// The addresses of the server as pages show them, without a path that may be a secret.
pub(crate) fn addresses(settings: &Settings, listeners: &Listeners) -> Addresses {
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

/// Computes room sessions and live sessions, and finds gaps.
pub(crate) fn settler(
    settings: &Settings,
    apps: &Apps,
    book: Arc<RegistrationStatus>,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Settler {
    let apps = apps.ids().collect();
    let (options, gaps) = (settings.store_options(), settings.gaps.clone());
    let bounds = (gaps, settings.settle.clone());
    Settler::new(options, apps, bounds, book, clock.clone(), metrics.clone())
}

/// The receiver of callbacks.
pub(crate) fn receiver(
    settings: &Settings,
    apps: Apps,
    ingest: Arc<Ingest>,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Receiver {
    let (server, clock) = (&settings.server, clock.clone());
    Receiver::new(apps, ingest)
        .with_clock(move || clock.now())
        .with_observer(Arc::new(RequestObserver::new(metrics.clone())))
        .with_rejected(settings.answer.rejected)
        .with_when_not_stored(settings.answer.when_not_stored)
        .with_body_budget(settings.ingest.queue_bytes_max)
        .with_body_limits(server.body_bytes_max, Duration::from_millis(server.body_timeout_ms))
}

/// The limits of the public listener.
pub(crate) fn limits(settings: &Settings) -> Result<Limits, SettingsError> {
    let server = &settings.server;
    Ok(Limits {
        connections_max: http::connections_allowed(server.connections_max, reserved(settings)),
        reserved_max: 0,
        trusted_proxies: settings.trusted_proxies()?,
        proxy_protocol: server.proxy_protocol == ProxyProtocol::Required,
        header_timeout: Duration::from_millis(server.header_timeout_ms),
        header_bytes_max: server.header_bytes_max,
        idle_timeout: Duration::from_millis(server.idle_timeout_ms),
        write_timeout: Duration::from_millis(server.write_timeout_ms),
        drain: Duration::from_millis(server.drain_ms),
        shutdown_timeout: Duration::from_millis(server.shutdown_timeout_ms),
    })
}

/// The limits of the operations listener.
pub(crate) fn ops_limits(public: &Limits) -> Limits {
    Limits {
        connections_max: OPS_CONNECTIONS_MAX,
        reserved_max: OPS_RESERVED_MAX,
        proxy_protocol: false,
        drain: Duration::ZERO,
        shutdown_timeout: Duration::from_secs(1),
        ..public.clone()
    }
}

/// Absent where plain HTTP is spoken.
pub(crate) fn tls(
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
