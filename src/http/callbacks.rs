//! The callback endpoint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tracing::error;

use super::rejections::Rejections;
use crate::callback::answer::{self, Rejected};
use crate::callback::{Apps, Event, Query};
use crate::clock::Clock;
use crate::ingest::{self, Sink};
use crate::telemetry::{Metrics, Outcome};

/// What the callback endpoint works with.
pub struct Receiver {
    apps: Apps,
    sink: Arc<dyn Sink>,
    clock: Clock,
    metrics: Arc<Metrics>,
    rejections: Rejections,
    rejected: Rejected,
    body_bytes_max: usize,
    body_timeout: Duration,
}

impl Receiver {
    /// Takes the callbacks of `apps` and hands their events to `sink`. Bodies may have 256 KiB and take 10 s.
    #[must_use]
    pub fn new(apps: Apps, sink: Arc<dyn Sink>) -> Self {
        Self {
            apps,
            sink,
            clock: Clock::system(),
            metrics: Arc::default(),
            rejections: Rejections::default(),
            rejected: Rejected::Ok,
            body_bytes_max: 256 << 10,
            body_timeout: Duration::from_secs(10),
        }
    }

    /// Sets where the time comes from.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets where requests are counted.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// Sets what requests are answered that are not taken.
    #[must_use]
    pub fn with_rejected(mut self, rejected: Rejected) -> Self {
        self.rejected = rejected;
        self
    }

    /// Sets how large a body may be, in bytes, and how long it may take to arrive.
    #[must_use]
    pub fn with_body_limits(mut self, bytes_max: usize, timeout: Duration) -> Self {
        self.body_bytes_max = bytes_max;
        self.body_timeout = timeout;
        self
    }

    /// Verifies, reads, decodes and hands over one request.
    async fn take(&self, request: Request<Body>) -> Outcome {
        let query = Query::parse(request.uri().query().unwrap_or(""));
        let now = self.clock.now();
        let verified = match self.apps.verify(query, now) {
            Ok(verified) => verified,
            Err(rejection) => {
                self.rejections.warn(rejection, now);
                // A stranger's body is not kept, but must be within the limits to be answered like any other.
                let read = self.within_limits(discard(request.into_body(), self.body_bytes_max));
                return read
                    .await
                    .map_or_else(|outcome| outcome, |()| Outcome::Rejected(rejection));
            }
        };
        let body = Limited::new(request.into_body(), self.body_bytes_max).collect();
        let body = match self.within_limits(body).await {
            Ok(body) => body.to_bytes(),
            Err(outcome) => return outcome,
        };
        let event = Event::decode(&verified, &body, now);
        self.metrics.event(&event);
        if event.decode_panicked {
            // Where, says the line of the panic itself.
            error!(
                event.id = %event.id,
                app.id = %event.app,
                "reading an event panicked, which is a mistake of this program; it is kept undecoded"
            );
        }
        match self.sink.submit(event).await {
            ingest::Outcome::New => Outcome::Stored,
            ingest::Outcome::Duplicate => Outcome::Duplicate,
            ingest::Outcome::Parked => Outcome::Parked,
            ingest::Outcome::NotStored => Outcome::NotStored,
        }
    }

    /// What reading a body gives, unless it was too large, too slow or broke off.
    async fn within_limits<T>(
        &self,
        read: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, Outcome> {
        match tokio::time::timeout(self.body_timeout, read).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Outcome::BodyTooLarge),
            Ok(Err(_)) => Err(Outcome::BodyBroken),
            Err(_) => Err(Outcome::BodyTooSlow),
        }
    }

    fn answer(&self, outcome: Outcome) -> Response {
        match outcome {
            Outcome::Rejected(_) if self.rejected == Rejected::Forbidden => {
                json(StatusCode::FORBIDDEN, answer::FORBIDDEN)
            }
            Outcome::NotFound => plain(StatusCode::NOT_FOUND, "there is no callback path here\n"),
            Outcome::MethodNotAllowed => {
                let text = "this is a callback URL: the vendor sends POST requests to it\n";
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, text);
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
                response
            }
            Outcome::BodyTooLarge => {
                closing(plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is over the limit\n"))
            }
            Outcome::BodyTooSlow => {
                closing(plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n"))
            }
            Outcome::BodyBroken => closing(plain(StatusCode::BAD_REQUEST, "the body broke off\n")),
            Outcome::HeadTooSlow => {
                closing(plain(StatusCode::REQUEST_TIMEOUT, "the head did not come in time\n"))
            }
            Outcome::HeadTooLarge => closing(plain(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the head is over the limit\n",
            )),
            Outcome::HeadBroken => closing(plain(StatusCode::BAD_REQUEST, "this is not HTTP\n")),
            Outcome::Shed => closing(plain(StatusCode::SERVICE_UNAVAILABLE, "overloaded\n")),
            Outcome::Stored
            | Outcome::Duplicate
            | Outcome::Parked
            | Outcome::Spooled
            | Outcome::NotStored
            | Outcome::Rejected(_)
            | Outcome::Abandoned => json(StatusCode::OK, answer::OK),
        }
    }
}

/// Reads a body to its end and keeps nothing of it.
async fn discard(body: Body, bytes_max: usize) -> Result<(), BoxError> {
    let mut body = Limited::new(body, bytes_max);
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}

/// `POST` on a callback path.
pub(super) async fn receive(
    State(receiver): State<Arc<Receiver>>,
    request: Request<Body>,
) -> Response {
    let account = Account::open(&receiver.metrics);
    let outcome = receiver.take(request).await;
    account.close(outcome);
    receiver.answer(outcome)
}

/// Anything else on a callback path.
pub(super) async fn method_not_allowed(State(receiver): State<Arc<Receiver>>) -> Response {
    Account::open(&receiver.metrics).close(Outcome::MethodNotAllowed);
    receiver.answer(Outcome::MethodNotAllowed)
}

/// Any other path of the public listener.
pub(super) async fn not_found(State(receiver): State<Arc<Receiver>>) -> Response {
    Account::open(&receiver.metrics).close(Outcome::NotFound);
    receiver.answer(Outcome::NotFound)
}

/// Sees to it that each request is counted once, with one outcome, also when its client goes away and this is dropped
/// half-way.
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

/// What is left of the request is not read, so the connection cannot be used again.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
