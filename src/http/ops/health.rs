//! Liveness, readiness and metrics of the server.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::listener::slot::ConnectionSlot;
use crate::http::ops::auth::{peer, too_many_guesses};
use crate::http::ops::state::Ops;
use crate::http::ops::store_handle::StoreHandle;
use crate::ingest::Health;
use crate::telemetry::process_figures;

/// Liveness: the process answers. Public, without further data.
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// Readiness: whether events are kept, by the store or by the spool. Public, without data of events.
pub(crate) async fn readyz(State(ops): State<Arc<Ops>>, request: Request) -> (StatusCode, String) {
    let not_ready = |text: &str| (StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    if ops.stop.is_cancelled() {
        return not_ready("stopping\n");
    }
    let Some(StoreHandle { store, ingest, receives }) = ops.store_handle.get() else {
        return not_ready("starting\n");
    };
    let health = ingest.health();
    let to_store = health.target == "store";
    let store_trouble = match store {
        None => None,
        Some(_) if to_store && health.store_away => Some("not available"),
        Some(store) => {
            let is_reserved =
                ConnectionSlot::of(request.extensions()).is_some_and(ConnectionSlot::is_reserved);
            match ops.ping.known() {
                // On a reserved connection nothing may wait.
                Some(trouble) if is_reserved => trouble,
                _ => ops.ping.ask(store.ping()).await,
            }
        }
    };
    let stream_trouble = (!to_store && health.store_away).then_some("not available");
    let (ready, mut text) = if to_store {
        readiness("store", store_trouble, &health)
    } else if *receives {
        let (ready, mut text) = readiness("stream", stream_trouble, &health);
        // Events wait in the stream for it.
        if let Some(trouble) = store_trouble {
            let _ = writeln!(text, "store: {trouble}");
        }
        (ready, text)
    } else {
        writer_readiness(store_trouble, stream_trouble)
    };
    if ops.setup.lets_all_in() {
        text.push_str("addresses: the vendor's list is not known yet, all are let in\n");
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text)
}

/// Whether events are kept, and notes for operators.
fn readiness(target: &str, trouble: Option<&str>, health: &Health) -> (bool, String) {
    let spool_takes = health.spool.is_some() && health.spool_trouble.is_none();
    let ready = trouble.is_none() || spool_takes;
    let mut text = String::from(if ready { "ok\n" } else { "events are not kept\n" });
    if let Some(trouble) = trouble {
        let _ = writeln!(text, "{target}: {trouble}");
    }
    match (&health.spool, &health.spool_trouble) {
        (None, _) if trouble.is_some() => text.push_str("spool: none\n"),
        (_, Some(trouble)) => {
            let _ = writeln!(text, "spool: {trouble}");
        }
        (Some(size), _) if size.events > 0 => {
            let _ = writeln!(text, "spool: {} events wait for the {target}", size.events);
        }
        _ => {}
    }
    if health.quarantined_spool.is_some() {
        text.push_str("spool: a damaged file was quarantined, see the log\n");
    }
    (ready, text)
}

/// Whether a writer of scale-out mode stores events, and notes for operators. It takes no callbacks, so nothing is lost where it
/// does not.
fn writer_readiness(store: Option<&str>, stream: Option<&str>) -> (bool, String) {
    let ready = store.is_none() && stream.is_none();
    let mut text = String::from(if ready { "ok\n" } else { "events are not stored\n" });
    for (what, trouble) in [("store", store), ("stream", stream)] {
        if let Some(trouble) = trouble {
            let _ = writeln!(text, "{what}: {trouble}");
        }
    }
    (ready, text)
}

/// The middleware of routes that need the token itself.
pub(crate) async fn with_token(
    State(ops): State<Arc<Ops>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(grant) = ops.token_grant(request.headers()) {
        request.extensions_mut().insert(grant);
        return next.run(request).await;
    }
    if let Some(wait) = ops.guessed(request.headers(), peer(request.extensions())) {
        return too_many_guesses(wait);
    }
    let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
    (StatusCode::UNAUTHORIZED, challenge, "a bearer token is required\n").into_response()
}

/// All metrics in the format of Prometheus.
pub(crate) async fn metrics(State(ops): State<Arc<Ops>>) -> Response {
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    let text = ops.metrics.render() + &process_figures();
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
