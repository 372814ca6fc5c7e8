//! From a request to an event in the sink: the head is checked, the body read and decoded, the event submitted.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use protocol::recorded_request::{APP_HEADER, SIGN_HEADER};
use protocol::{AppId, Dialect, Event, Query, Rejection, UnixMillis, Verified};
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

/// What the head of a request shows.
enum Head {
    /// All that is signed is in it, and is right.
    Verified(Verified),
    /// The signature is over the body.
    RtcEngine(Claim),
}

/// What the head of an event of the RTC Engine says.
struct Claim {
    app: AppId,
    signs: Vec<HeaderValue>,
    query: Query,
}

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
        dialect: Dialect,
        arrived: Instant,
    ) -> Result<RequestOutcome, RequestOutcome> {
        // By its declared length. Without one, or with a wrong one, the limit applies while reading.
        if request.body().size_hint().lower() > self.body_bytes_max as u64 {
            return Err(RequestOutcome::BodyTooLarge);
        }
        let now = (self.clock)();
        let head = match self.check_head(&request, dialect, now) {
            Ok(head) => head,
            Err(rejection) => {
                self.warn_rejected(&request, rejection, now);
                return Err(self.reject(request.into_body(), rejection).await);
            }
        };
        let encoding = Encoding::of(request.headers());
        let (verified, body) = match head {
            Head::Verified(verified) => {
                self.observer.request_verified(request.extensions());
                // The head is dropped before the body is read: only the body has a budget.
                (verified, self.read(request.into_body(), &self.budget).await?)
            }
            Head::RtcEngine(claim) => self.verify_rtc(request, claim, now).await?,
        };
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

    /// Checks source address, app and signature; of an event of the RTC Engine all but the signature, which is over the body.
    fn check_head(
        &self,
        request: &Request<Body>,
        dialect: Dialect,
        now: UnixMillis,
    ) -> Result<Head, Rejection> {
        let forwarded = request.headers().get_all("x-forwarded-for").iter();
        self.admission
            .check(peer(request), forwarded.map(HeaderValue::as_bytes))
            .map_err(Rejection::AddressForeign)?;
        let query = Query::parse(request.uri().query().unwrap_or(""));
        if dialect == Dialect::Im {
            return self.apps.verify(query, now).map(Head::Verified);
        }
        let header = request.headers().get_all(APP_HEADER).iter().map(HeaderValue::as_bytes);
        let path = self.app_in_path(request.uri().path()).map(str::as_bytes);
        let in_query = query.sdk_app_id.as_deref().map(str::as_bytes);
        let app = self.apps.rtc_app(header.chain(path).chain(in_query))?;
        let signs = request.headers().get_all(SIGN_HEADER).iter().cloned().collect();
        Ok(Head::RtcEngine(Claim { app, signs, query }))
    }

    /// The dialect in which a request is answered and read. One that names no command in its query, and an app or a signature in
    /// its headers or an app in its path, is an event of the RTC Engine.
    pub(crate) fn dialect(&self, request: &Request<Body>) -> Dialect {
        let headers = request.headers();
        let is_claimed = headers.contains_key(APP_HEADER)
            || headers.contains_key(SIGN_HEADER)
            || self.app_in_path(request.uri().path()).is_some();
        let names_command = || Query::parse(request.uri().query().unwrap_or("")).command.is_some();
        if is_claimed && !names_command() { Dialect::RtcEngine } else { Dialect::Im }
    }

    /// Reads the body of an event of the RTC Engine, within the memory for bodies that are not verified, and checks its signature.
    async fn verify_rtc(
        &self,
        request: Request<Body>,
        claim: Claim,
        now: UnixMillis,
    ) -> Result<(Verified, ReceivedBody), RequestOutcome> {
        let (head, body) = request.into_parts();
        let extensions = head.extensions;
        let mut body = self.read(body, &self.unverified_budget).await?;
        let signs = claim.signs.iter().map(HeaderValue::as_bytes);
        match self.apps.verify_rtc(claim.app, signs, &body.bytes, claim.query) {
            Ok(verified) => {
                self.observer.request_verified(&extensions);
                let memory = self.budget.admit(body.bytes.len(), &mut body.patience).await;
                body.memory = memory.ok_or(RequestOutcome::Shed)?;
                Ok((verified, body))
            }
            Err(rejection) => {
                self.rejections.warn(rejection, now, || None);
                Err(RequestOutcome::Rejected(rejection))
            }
        }
    }

    /// The outcome of a rejected request. Its body is read and dropped: it must be within the limits to be answered like
    /// any other.
    async fn reject(&self, body: Body, rejection: Rejection) -> RequestOutcome {
        let read = self.within_limits(discard(body, self.body_bytes_max)).await;
        read.map_or_else(|outcome| outcome, |()| RequestOutcome::Rejected(rejection))
    }

    /// Reads a body within its limits of size, time and memory.
    async fn read(&self, body: Body, budget: &BodyBudget) -> Result<ReceivedBody, RequestOutcome> {
        let mut patience = ACQUIRE_TIMEOUT;
        let body = Limited::new(body, self.body_bytes_max);
        let read = self.within_limits(budget.read(body, &mut patience)).await?;
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
        let unreadable = || {
            let forwarded = request.headers().get_all("x-forwarded-for").iter();
            self.admission.unreadable(peer(request), forwarded.map(HeaderValue::as_bytes))
        };
        self.rejections.warn(rejection, now, unreadable);
    }

    /// Warns of a misdirected request for an app of ours: an event of the vendor is lost.
    pub(crate) fn warn_stray(&self, request: &Request<Body>, stray: Stray) {
        let query = Query::parse(request.uri().query().unwrap_or(""));
        let header = || request.headers().get(APP_HEADER)?.to_str().ok();
        let app = query.sdk_app_id.as_deref().or_else(header);
        let app = app.and_then(|app| AppId::parse(app.trim()));
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
