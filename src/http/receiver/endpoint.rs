//! The callback endpoint.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::IgnoredAny;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::clock::Clock;
use crate::http::listener::slot::ConnectionSlot;
use crate::http::receiver::body_budget::{ACQUIRE_TIMEOUT, BodyBudget};
use crate::http::receiver::content_encoding::{Encoding, Failure};
use crate::http::receiver::detach::Outliving;
use crate::http::receiver::rejection_log::{Rejections, Stray};
use crate::http::receiver::signature_reuse::Replays;
use crate::ingest::{self, Sink};
use crate::telemetry::{Metrics, Outcome};
use protocol::UnixMillis;
use protocol::response;
use protocol::response::{NotStored, Rejected};
use protocol::{Admission, AppId, Apps, Event, Query, Rejection, Verified};

/// The callback endpoint.
pub struct Receiver {
    apps: Apps,
    admission: Admission,
    replays: Replays,
    sink: Arc<dyn Sink>,
    clock: Clock,
    metrics: Arc<Metrics>,
    rejections: Rejections,
    rejected: Rejected,
    when_not_stored: NotStored,
    body_bytes_max: usize,
    body_timeout: Duration,
    budget: BodyBudget,
    tasks: TaskTracker,
}

/// Default of the memory for bodies, in bytes.
const BUDGET_BYTES: usize = 64 << 20;
/// `Retry-After` of an event that was not stored, in s.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl Receiver {
    /// Accepts callbacks of `apps` and passes their events to `sink`. Defaults: bodies of 256 KiB within 10 s.
    #[must_use]
    pub fn new(apps: Apps, sink: Arc<dyn Sink>) -> Self {
        Self {
            replays: Replays::new(apps.request_time_window()),
            apps,
            admission: Admission::default(),
            sink,
            clock: Clock::system(),
            metrics: Arc::default(),
            rejections: Rejections::default(),
            rejected: Rejected::Ok,
            when_not_stored: NotStored::Ok,
            body_bytes_max: 256 << 10,
            body_timeout: Duration::from_secs(10),
            budget: BodyBudget::new(BUDGET_BYTES),
            tasks: TaskTracker::new(),
        }
    }

    /// Sets the clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the metrics.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// Sets the answer to rejected requests.
    #[must_use]
    pub fn with_rejected(mut self, rejected: Rejected) -> Self {
        self.rejected = rejected;
        self
    }

    /// Sets the answer to requests whose event was not stored.
    #[must_use]
    pub fn with_when_not_stored(mut self, when_not_stored: NotStored) -> Self {
        self.when_not_stored = when_not_stored;
        self
    }

    /// Sets the memory budget of bodies, in bytes. Beyond it requests wait briefly (backpressure); then slow ones are
    /// dropped, and those without room are answered as not stored (load shedding). Unverified bodies are never kept
    /// in memory.
    #[must_use]
    pub fn with_room(mut self, bytes: usize) -> Self {
        self.budget = BodyBudget::new(bytes);
        self
    }

    /// Work that may outlive its request. Wait for it before closing the sink.
    #[must_use]
    pub fn tasks(&self) -> TaskTracker {
        self.tasks.clone()
    }

    /// Sets the source addresses from which requests are accepted; by default all. With a list, an app of your own
    /// must be served with axum's `into_make_service_with_connect_info::<SocketAddr>()`: a request without a known
    /// peer is rejected.
    #[must_use]
    pub fn with_admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// Sets the maximum size of a body, in bytes, and the time it may take to arrive.
    #[must_use]
    pub fn with_body_limits(mut self, bytes_max: usize, timeout: Duration) -> Self {
        self.body_bytes_max = bytes_max;
        self.body_timeout = timeout;
        self
    }

    /// Verifies, reads, decodes and submits one request, whose head had `arrived` then.
    async fn take(&self, request: Request<Body>, arrived: Instant) -> Outcome {
        // By its declared length. Without one, or with a wrong one, the limit applies while reading.
        if request.body().size_hint().lower() > self.body_bytes_max as u64 {
            return Outcome::BodyTooLarge;
        }
        let now = self.clock.now();
        let verified = match self.verify(&request, now) {
            Ok(verified) => {
                ConnectionSlot::mark_verified(request.extensions());
                verified
            }
            Err(rejection) => {
                self.warn_rejected(&request, rejection, now);
                // An unverified body is discarded, but must be within the limits to be answered like any other.
                let read = self.within_limits(discard(request.into_body(), self.body_bytes_max));
                return read
                    .await
                    .map_or_else(|outcome| outcome, |()| Outcome::Rejected(rejection));
            }
        };
        let encoding = Encoding::of(request.headers());
        let mut patience = ACQUIRE_TIMEOUT;
        let body = Limited::new(request.into_body(), self.body_bytes_max);
        let (body, permit) = match self.within_limits(self.budget.read(body, &mut patience)).await {
            Ok(Some(kept)) => kept,
            Ok(None) => return Outcome::Shed,
            Err(outcome) => return outcome,
        };
        let late = self.replays.is_late(&verified, now);
        let decoded = self.decode(&verified, encoding, body, (permit, patience), now);
        let (event, permit) = match decoded.await {
            Ok(decoded) => decoded,
            Err(outcome) => return outcome,
        };
        self.metrics.event(&event);
        if event.decode_panicked {
            // The panic itself is logged with its location.
            error!(
                event.id = %event.id,
                app.id = %event.app,
                "reading an event panicked, which is a mistake of this program; it is kept undecoded"
            );
        }
        let outcome = self.submit(event, arrived, permit).await;
        // The spool does not know stored events, so these may include the vendor's own retries.
        if late && matches!(outcome, Outcome::Stored | Outcome::Spooled) {
            self.metrics.sign_reused.increment(1);
            self.replays.warn(verified.app(), now);
        }
        outcome
    }

    /// The event of a body after decompression, and its memory permit. An undecompressible body is kept as it came.
    async fn decode(
        &self,
        verified: &Verified,
        encoding: Encoding,
        body: Bytes,
        (mut permit, mut patience): (OwnedSemaphorePermit, Duration),
        now: UnixMillis,
    ) -> Result<(Event, OwnedSemaphorePermit), Outcome> {
        // Also where a proxy decompressed the body and left the header in place.
        let is_plain = |body: &[u8]| serde_json::from_slice::<IgnoredAny>(body).is_ok();
        let compression = match encoding {
            Encoding::Plain => return Ok((Event::decode(verified, &body, now), permit)),
            _ if is_plain(&body) => return Ok((Event::decode(verified, &body, now), permit)),
            Encoding::Unknown(names) => {
                let reason = format!("content encoding `{names}`: not known here");
                return Ok((Event::unreadable(verified, &body, &reason, now), permit));
            }
            Encoding::Compressed(compression) => compression,
        };
        let memory = compression.memory(&body, self.body_bytes_max);
        permit.merge(self.budget.beside(memory, &mut patience).await.ok_or(Outcome::Shed)?);
        let (event, kept) = match compression.inflate(&body, self.body_bytes_max) {
            Ok(inflated) => (Event::decode(verified, &inflated, now), inflated.len()),
            Err(Failure::TooLarge) => return Err(Outcome::BodyTooLarge),
            Err(Failure::Broken(error)) => {
                let reason = format!("content encoding `{}`: {error}", compression.name());
                (Event::unreadable(verified, &body, &reason, now), body.len())
            }
        };
        BodyBudget::keep(&mut permit, kept);
        Ok((event, permit))
    }

    /// Submits an event with its memory permit. The submission continues when the client disconnects.
    async fn submit(
        &self,
        event: Event,
        arrived: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Outcome {
        let (id, app) = (event.id, event.app);
        let sink = self.sink.clone();
        let submitted = Outliving::new(&self.tasks, async move {
            let outcome = sink.submit(event, arrived).await;
            drop(permit);
            outcome
        });
        match submitted.await {
            Ok(ingest::Outcome::New) => Outcome::Stored,
            Ok(ingest::Outcome::Duplicate) => Outcome::Duplicate,
            Ok(ingest::Outcome::DeadLetter) => Outcome::DeadLetter,
            Ok(ingest::Outcome::Spooled) => Outcome::Spooled,
            Ok(ingest::Outcome::NotStored) => Outcome::NotStored,
            // The panic is logged by itself. Its message is left out here, as it may contain parts of the body.
            Err(_) => {
                self.metrics.last_resort_lost.increment(1);
                error!(event.id = %id, app.id = %app, "storing an event panicked, and the event may be lost");
                Outcome::NotStored
            }
        }
    }

    /// Checks source address, app and signature of the request.
    fn verify(&self, request: &Request<Body>, now: UnixMillis) -> Result<Verified, Rejection> {
        let forwarded = request.headers().get_all("x-forwarded-for").iter();
        self.admission
            .check(peer(request), forwarded.map(HeaderValue::as_bytes))
            .map_err(Rejection::AddressForeign)?;
        self.apps.verify(Query::parse(request.uri().query().unwrap_or("")), now)
    }

    fn warn_rejected(&self, request: &Request<Body>, rejection: Rejection, now: UnixMillis) {
        let header = request.headers().get("sdkappid");
        if let (Rejection::AppMissing, Some(app)) = (rejection, header) {
            let app = app.to_str().ok().and_then(AppId::parse);
            self.rejections.warn_rtc_engine(app.filter(|app| self.apps.holds(*app)), now);
            return;
        }
        let unreadable = || {
            let forwarded = request.headers().get_all("x-forwarded-for").iter();
            self.admission.unreadable(peer(request), forwarded.map(HeaderValue::as_bytes))
        };
        self.rejections.warn(rejection, now, unreadable);
    }

    /// Warns of a misdirected request for an app of ours: an event of the vendor is lost.
    fn warn_stray(&self, request: &Request<Body>, stray: Stray) {
        let query = Query::parse(request.uri().query().unwrap_or(""));
        let app = query.sdk_app_id.as_deref().and_then(|app| AppId::parse(app.trim()));
        if let Some(app) = app.filter(|app| self.apps.holds(*app)) {
            self.rejections.warn_stray(stray, app, self.clock.now());
        }
    }

    /// The result of reading a body, unless it was too large, too slow or broke off.
    async fn within_limits<T>(
        &self,
        read: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, Outcome> {
        match timeout(self.body_timeout, read).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Outcome::BodyTooLarge),
            Ok(Err(_)) => Err(Outcome::BodyBroken),
            Err(_) => Err(Outcome::BodyTooSlow),
        }
    }

    fn answer(&self, outcome: Outcome) -> Response {
        match outcome {
            Outcome::Rejected(_) if self.rejected == Rejected::Forbidden => {
                json(StatusCode::FORBIDDEN, response::FORBIDDEN)
            }
            // Rejected requests are answered like stored ones, keep-alive included: closing would reveal which apps
            // are ours. A request that is no callback reveals nothing by that, and needs a new connection each time.
            Outcome::NotFound => {
                closing(plain(StatusCode::NOT_FOUND, "there is no callback path here\n"))
            }
            Outcome::MethodNotAllowed => {
                let text = "this is a callback URL: the vendor sends POST requests to it\n";
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, text);
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
                closing(response)
            }
            Outcome::BodyTooLarge => {
                closing(plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is over the limit\n"))
            }
            Outcome::BodyTooSlow => {
                closing(plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n"))
            }
            Outcome::BodyBroken => closing(plain(StatusCode::BAD_REQUEST, "the body broke off\n")),
            // Answered where the head is read, never here.
            Outcome::HeadTooSlow | Outcome::HeadTooLarge | Outcome::HeadBroken => {
                closing(plain(StatusCode::BAD_REQUEST, "this is not HTTP\n"))
            }
            Outcome::Shed if self.when_not_stored == NotStored::Unavailable => {
                closing(later(json(StatusCode::SERVICE_UNAVAILABLE, response::UNAVAILABLE)))
            }
            Outcome::Shed => closing(json(StatusCode::OK, response::OK)),
            Outcome::NotStored if self.when_not_stored == NotStored::Unavailable => {
                later(json(StatusCode::SERVICE_UNAVAILABLE, response::UNAVAILABLE))
            }
            Outcome::Stored
            | Outcome::Duplicate
            | Outcome::DeadLetter
            | Outcome::Spooled
            | Outcome::NotStored
            | Outcome::Rejected(_)
            | Outcome::Abandoned => json(StatusCode::OK, response::OK),
        }
    }
}

/// The peer of the connection; absent where the router was not told.
fn peer(request: &Request<Body>) -> Option<IpAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
}

/// Reads a body to its end and discards it.
async fn discard(body: Body, bytes_max: usize) -> Result<(), BoxError> {
    let mut body = Limited::new(body, bytes_max);
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}

/// Handler of `POST` on a callback path.
pub(crate) async fn receive(
    State(receiver): State<Arc<Receiver>>,
    request: Request<Body>,
) -> Response {
    let account = Account::open(&receiver.metrics);
    let outcome = receiver.take(request, account.begun).await;
    account.close(outcome);
    receiver.answer(outcome)
}

/// Handler of other methods on a callback path.
pub(crate) async fn method_not_allowed(
    State(receiver): State<Arc<Receiver>>,
    request: Request<Body>,
) -> Response {
    receiver.warn_stray(&request, Stray::Method);
    Account::open(&receiver.metrics).close(Outcome::MethodNotAllowed);
    receiver.answer(Outcome::MethodNotAllowed)
}

/// Handler of any other path of the public listener.
pub(crate) fn not_found(receiver: &Receiver, request: &Request<Body>) -> Response {
    receiver.warn_stray(request, Stray::Path);
    Account::open(&receiver.metrics).close(Outcome::NotFound);
    receiver.answer(Outcome::NotFound)
}

/// Counts each request once, with one outcome, also when its client disconnects and this is dropped early.
struct Account<'a> {
    metrics: &'a Metrics,
    begun: Instant,
    outcome: Outcome,
}

impl<'a> Account<'a> {
    fn open(metrics: &'a Metrics) -> Self {
        metrics.request();
        Self { metrics, begun: Instant::now(), outcome: Outcome::Abandoned }
    }

    fn close(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        self.metrics.outcome(self.outcome);
        self.metrics.answer_seconds.record(self.begun.elapsed().as_secs_f64());
    }
}

fn json(status: StatusCode, body: &'static str) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, text).into_response()
}

fn later(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

/// The rest of the request is not read, or no further one is wanted: the connection cannot be reused.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
