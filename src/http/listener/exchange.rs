//! One request and its answer: passed on to the router, while the connection's slot learns how far they are.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::task::yield_now;

use crate::http::listener::slot::ConnectionSlot;
use crate::http::listener::stop::Stop;
use crate::telemetry::{Metrics, Outcome};

/// What the requests of one connection meet.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) router: TowerToHyperService<Router>,
    pub(crate) slot: Arc<ConnectionSlot>,
    pub(crate) peer: SocketAddr,
    /// Absent on the listener whose requests are not counted.
    pub(crate) metrics: Option<Arc<Metrics>>,
    pub(crate) stop: Stop,
}

impl Exchange {
    /// Answers one request, with what a handler may want to know of its connection in the extensions.
    pub(crate) async fn answer(
        self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        self.slot.request_begins(!request.body().is_end_stream());
        // Of requests that come at once, each waits for its turn among those of all connections: else hyper would answer
        // sixteen in one go, and a thousand such connections keep everybody else waiting for seconds.
        while !self.slot.takes_turn() {
            yield_now().await;
        }
        let mut response = if has_odd_coding(request.headers()) {
            if let Some(metrics) = &self.metrics {
                metrics.request();
                metrics.outcome(Outcome::HeadBroken);
            }
            let close = [(header::CONNECTION, HeaderValue::from_static("close"))];
            (StatusCode::BAD_REQUEST, close, "transfer-encoding: `chunked` alone is taken\n")
                .into_response()
        } else {
            request.extensions_mut().insert(ConnectInfo(self.peer));
            request.extensions_mut().insert(self.slot.clone());
            let slot = self.slot.clone();
            self.router.call(request.map(|body| Arriving { body, slot })).await?
        };
        if self.stop.is_under_way() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let slot = self.slot;
        Ok(response.map(|body| Answer { body, slot }))
    }
}

/// Whether the body is coded in a way that a proxy before us may read otherwise than we do. hyper takes any list that ends
/// in `chunked`; what others do with the rest of the list is what requests are smuggled with.
fn has_odd_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    codings.next().is_some_and(|coding| !plain(coding) || codings.next().is_some())
}

/// A request's body, which tells the slot when it is complete.
struct Arriving {
    body: Incoming,
    slot: Arc<ConnectionSlot>,
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.slot.body_ends();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body, which tells the slot when hyper has all of it.
pub(crate) struct Answer {
    body: axum::body::Body,
    slot: Arc<ConnectionSlot>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.slot.answered();
    }
}
