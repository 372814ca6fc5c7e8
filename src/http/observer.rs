//! Counts the requests of the public listener, and tells its connections which of them brought one of the vendor's.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Extensions;

use crate::http::listener::slot::ConnectionSlot;
use crate::telemetry::Metrics;
use protocol::{AppId, Event};
use receiver::{Observer, RequestOutcome};

/// What a receiver tells of its requests, counted in the server's metrics.
pub struct RequestObserver(Arc<Metrics>);

impl RequestObserver {
    /// Counts in these metrics.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self(metrics)
    }
}

impl Observer for RequestObserver {
    fn request_begins(&self) {
        self.0.request();
    }

    fn request_verified(&self, extensions: &Extensions) {
        ConnectionSlot::mark_verified(extensions);
    }

    fn event_decoded(&self, event: &Event) {
        self.0.event(event);
    }

    fn signature_reused(&self, _app: AppId) {
        self.0.sign_reused.increment(1);
    }

    fn sink_panicked(&self, _app: AppId) {
        self.0.last_resort_lost.increment(1);
    }

    fn request_ends(&self, outcome: RequestOutcome, took: Duration) {
        self.0.outcome(outcome);
        self.0.answer_seconds.record(took.as_secs_f64());
    }
}
