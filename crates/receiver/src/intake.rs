//! From a request to an event in the sink: the head is checked, the body read and decoded, the event submitted.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use protocol::{AppId, Event, Query, Rejection, UnixMillis, Verified};
use serde::de::IgnoredAny;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracing::error;

use crate::body::budget::{ACQUIRE_TIMEOUT, BodyBudget};
use crate::body::content_encoding::{Encoding, Failure};
use crate::detach::Outliving;
use crate::log::rejections::Stray;
use crate::receiver::Receiver;
use crate::request_outcome::RequestOutcome;
use crate::sink::Outcome;

/// A body as it came, and its memory.
struct ReceivedBody {
    bytes: Bytes,
    memory: OwnedSemaphorePermit,
    /// How long its request may still wait for more memory.
    patience: Duration,
}

impl Receiver {
    /// Receives one request, whose head had `arrived` then. The error is the outcome of one that came to no event.
    pub(crate) async fn take(
        &self,
        request: Request<Body>,
        arrived: Instant,
    ) -> Result<RequestOutcome, RequestOutcome> {
        // By its declared length. Without one, or with a wrong one, the limit applies while reading.
        if request.body().size_hint().lower() > self.body_bytes_max as u64 {
            return Err(RequestOutcome::BodyTooLarge);
        }
        let now = (self.clock)();
        let verified = match self.check_head(&request, now) {
            Ok(verified) => verified,
            Err(rejection) => {
                self.warn_rejected(&request, rejection, now);
                return Err(self.reject(request.into_body(), rejection).await);
            }
        };
        self.observer.request_verified(request.extensions());
        // The head is dropped before the body is read: only the body has a budget.
        let encoding = Encoding::of(request.headers());
        let body = self.read(request.into_body()).await?;
        let late = self.replays.is_late(&verified, now);
        let (event, memory) = self.decode(&verified, encoding, body, now).await?;
        self.observer.event_decoded(&event);
        if event.decode_panicked {
            // The panic itself is logged with its location.
            error!(
                event.id = %event.id,
                app.id = %event.app,
                "reading an event panicked, which is a mistake of this program; it is kept undecoded"
            );
        }
        let outcome = self.submit(event, arrived, memory).await;
        // The spool does not know stored events, so these may include the vendor's own retries.
        if late && matches!(outcome, RequestOutcome::Stored | RequestOutcome::Spooled) {
            self.observer.signature_reused(verified.app());
            self.replays.warn(verified.app(), now);
        }
        Ok(outcome)
    }

    /// Checks source address, app and signature.
    fn check_head(&self, request: &Request<Body>, now: UnixMillis) -> Result<Verified, Rejection> {
        let forwarded = request.headers().get_all("x-forwarded-for").iter();
        self.admission
            .check(peer(request), forwarded.map(HeaderValue::as_bytes))
            .map_err(Rejection::AddressForeign)?;
        self.apps.verify(Query::parse(request.uri().query().unwrap_or("")), now)
    }

    /// The outcome of a rejected request. Its body is read and dropped: it must be within the limits to be answered like
    /// any other.
    async fn reject(&self, body: Body, rejection: Rejection) -> RequestOutcome {
        let read = self.within_limits(discard(body, self.body_bytes_max)).await;
        read.map_or_else(|outcome| outcome, |()| RequestOutcome::Rejected(rejection))
    }

    /// Reads a body within its limits of size, time and memory.
    async fn read(&self, body: Body) -> Result<ReceivedBody, RequestOutcome> {
        let mut patience = ACQUIRE_TIMEOUT;
        let body = Limited::new(body, self.body_bytes_max);
        let read = self.within_limits(self.budget.read(body, &mut patience)).await?;
        let (bytes, memory) = read.ok_or(RequestOutcome::Shed)?;
        Ok(ReceivedBody { bytes, memory, patience })
    }

    /// The event of a body after decompression, and its memory. An undecompressible body is kept as it came.
    async fn decode(
        &self,
        verified: &Verified,
        encoding: Encoding,
        body: ReceivedBody,
        now: UnixMillis,
    ) -> Result<(Event, OwnedSemaphorePermit), RequestOutcome> {
        let ReceivedBody { bytes: body, mut memory, mut patience } = body;
        // Also where a proxy decompressed the body and left the header in place.
        let is_plain = |body: &[u8]| serde_json::from_slice::<IgnoredAny>(body).is_ok();
        let compression = match encoding {
            Encoding::Plain => return Ok((Event::decode(verified, &body, now), memory)),
            _ if is_plain(&body) => return Ok((Event::decode(verified, &body, now), memory)),
            Encoding::Unknown(names) => {
                let reason = format!("content encoding `{names}`: not known here");
                return Ok((Event::unreadable(verified, &body, &reason, now), memory));
            }
            Encoding::Compressed(compression) => compression,
        };
        let wanted = compression.memory(&body, self.body_bytes_max);
        let more = self.budget.beside(wanted, &mut patience).await;
        memory.merge(more.ok_or(RequestOutcome::Shed)?);
        let (event, kept) = match compression.inflate(&body, self.body_bytes_max) {
            Ok(inflated) => (Event::decode(verified, &inflated, now), inflated.len()),
            Err(Failure::TooLarge) => return Err(RequestOutcome::BodyTooLarge),
            Err(Failure::Broken(error)) => {
                let reason = format!("content encoding `{}`: {error}", compression.name());
                (Event::unreadable(verified, &body, &reason, now), body.len())
            }
        };
        BodyBudget::keep(&mut memory, kept);
        Ok((event, memory))
    }

    /// Submits an event with its memory. The submission continues when the client disconnects.
    async fn submit(
        &self,
        event: Event,
        arrived: Instant,
        memory: OwnedSemaphorePermit,
    ) -> RequestOutcome {
        let (id, app) = (event.id, event.app);
        let sink = self.sink.clone();
        let submitted = Outliving::new(&self.submissions, async move {
            let outcome = sink.submit(event, arrived).await;
            drop(memory);
            outcome
        });
        match submitted.await {
            Ok(Outcome::New) => RequestOutcome::Stored,
            Ok(Outcome::Duplicate) => RequestOutcome::Duplicate,
            Ok(Outcome::DeadLetter) => RequestOutcome::DeadLetter,
            Ok(Outcome::Spooled) => RequestOutcome::Spooled,
            Ok(Outcome::NotStored) => RequestOutcome::NotStored,
            // The panic is logged by itself. Its message is left out here, as it may contain parts of the body.
            Err(_) => {
                self.observer.sink_panicked(app);
                error!(event.id = %id, app.id = %app, "storing an event panicked, and the event may be lost");
                RequestOutcome::NotStored
            }
        }
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
    pub(crate) fn warn_stray(&self, request: &Request<Body>, stray: Stray) {
        let query = Query::parse(request.uri().query().unwrap_or(""));
        let app = query.sdk_app_id.as_deref().and_then(|app| AppId::parse(app.trim()));
        if let Some(app) = app.filter(|app| self.apps.holds(*app)) {
            self.rejections.warn_stray(stray, app, (self.clock)());
        }
    }

    /// The result of reading a body, unless it was too large, too slow or broke off.
    async fn within_limits<T>(
        &self,
        read: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, RequestOutcome> {
        match timeout(self.body_timeout, read).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(RequestOutcome::BodyTooLarge),
            Ok(Err(_)) => Err(RequestOutcome::BodyBroken),
            Err(_) => Err(RequestOutcome::BodyTooSlow),
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
