//! The state that all handlers of the operations listener share.

use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::access::AccessTokens;
use crate::clock::Clock;
use crate::http::live_tail::tail::Tail;
use crate::http::ops::guess_limit::Guesses;
use crate::http::ops::read_limiter::ReadLimiter;
use crate::http::ops::session::Sessions;
use crate::http::ops::setup::Setup;
use crate::http::ops::store_handle::StoreHandle;
use crate::http::ops::store_ping::Ping;
use crate::telemetry::Metrics;
use protocol::AppId;

/// Shared state of the operations listener.
pub(crate) struct Ops {
    /// Empty until the store is open.
    pub(crate) store_handle: Arc<OnceLock<StoreHandle>>,
    pub(crate) metrics: PrometheusHandle,
    /// Without any, none is required, on loopback.
    pub(crate) tokens: Arc<AccessTokens>,
    /// Sessions of browsers.
    pub(crate) sessions: Sessions,
    /// The rate limit of wrong tokens.
    pub(crate) guesses: Guesses,
    /// Pings the store.
    pub(super) ping: Ping,
    pub(crate) clock: Clock,
    /// Limited access to the store.
    pub(crate) reading: Arc<ReadLimiter>,
    /// The live tail.
    pub(crate) tail: Arc<Tail>,
    /// Cancelled when the server is to stop.
    pub(crate) stop: CancellationToken,
    /// The configured apps, in order, for the pages' choice of an app.
    pub(crate) apps: Vec<AppId>,
    /// The settings that pages show.
    pub(crate) setup: Setup,
}

impl Ops {
    pub(crate) fn new(
        store_handle: Arc<OnceLock<StoreHandle>>,
        metrics: &Metrics,
        tokens: Arc<AccessTokens>,
        clock: Clock,
        stop: CancellationToken,
        reading: ReadLimiter,
        setup: Setup,
    ) -> Self {
        let reading = Arc::new(reading);
        let tail = Arc::new(Tail::new(reading.clone(), stop.clone()));
        Self {
            store_handle,
            metrics: metrics.handle(),
            tokens,
            sessions: Sessions::default(),
            guesses: Guesses::new(metrics.ops_wrong_tokens.clone()),
            ping: Ping::default(),
            clock,
            reading,
            tail,
            stop,
            apps: setup.apps.iter().map(|app| app.id).collect(),
            setup,
        }
    }
}
