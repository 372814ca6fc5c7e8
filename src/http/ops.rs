//! The operations listener: is it alive, is it ready, what are its figures?

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// How long readiness waits for the store.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// What the operations listener works with.
pub(crate) struct Ops {
    /// Empty until the server has opened it.
    store: Arc<OnceLock<Arc<dyn Store>>>,
    metrics: PrometheusHandle,
    /// Empty where the listener is on loopback and asks for none.
    token: SecretString,
    /// Cancelled when the server is to stop.
    stop: CancellationToken,
}

impl Ops {
    pub(crate) fn new(
        store: Arc<OnceLock<Arc<dyn Store>>>,
        metrics: PrometheusHandle,
        token: SecretString,
        stop: CancellationToken,
    ) -> Self {
        Self { store, metrics, token, stop }
    }

    /// Compares in constant time, so that a guess learns nothing from how long it took.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let token = self.token.expose_secret().as_bytes();
        let sent = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
        let sent = sent.strip_prefix(b"Bearer ").unwrap_or(b"");
        token.is_empty() || bool::from(token.ct_eq(sent))
    }
}

/// The process runs and answers. Open to all who reach the listener: it says nothing else.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// The store answers. Open to all who reach the listener: it says nothing else.
pub(super) async fn readyz(State(ops): State<Arc<Ops>>) -> (StatusCode, &'static str) {
    if ops.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    let Some(store) = ops.store.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "store: not open yet\n");
    };
    match tokio::time::timeout(PING_TIMEOUT, store.ping()).await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n"),
        Ok(Err(error)) => {
            tracing::debug!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "store: not available\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "store: no answer within a second\n"),
    }
}

/// Every figure, for Prometheus.
pub(super) async fn metrics(State(ops): State<Arc<Ops>>, headers: HeaderMap) -> Response {
    if !ops.admits(&headers) {
        let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
        return (StatusCode::UNAUTHORIZED, challenge, "a bearer token is required\n")
            .into_response();
    }
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], ops.metrics.render()).into_response()
}
