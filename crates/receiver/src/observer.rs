//! What a receiver tells of its work.

use std::time::Duration;

use axum::http::Extensions;
use protocol::{AppId, Event};

use crate::request_outcome::RequestOutcome;

/// Is told what happens to each request, such as to count it. Each method does nothing unless it is overridden, and is
/// called while the request is served: it must not block.
pub trait Observer: Send + Sync {
    /// A request's head has arrived. [`Observer::request_ends`] follows, exactly once.
    fn request_begins(&self) {}

    /// Source address, app and signature of a request are right; its body is read next. The request's extensions show
    /// what your server put there about its connection.
    fn request_verified(&self, _extensions: &Extensions) {}

    /// An event was decoded, and goes to the sink next.
    fn event_decoded(&self, _event: &Event) {}

    /// A new event of this app came under a signature that was first seen a while ago: possibly a replay.
    fn signature_reused(&self, _app: AppId) {}

    /// The sink panicked with an event of this app, which may be lost.
    fn sink_panicked(&self, _app: AppId) {}

    /// A request has its outcome, this long after its head had arrived. Also when its client has disconnected.
    fn request_ends(&self, _outcome: RequestOutcome, _took: Duration) {}
}

/// The observer of a receiver that was given none.
pub(crate) struct NoObserver;

impl Observer for NoObserver {}
