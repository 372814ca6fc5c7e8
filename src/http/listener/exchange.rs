//! One request and its answer: calls the router, and reports the progress to the connection's slot.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::task::yield_now;

use crate::http::listener::proxy_protocol::Client;
use crate::http::listener::slot::ConnectionSlot;
use crate::http::listener::stop::Stop;
use crate::telemetry::{Metrics, RefusedHead};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The context of the requests of one connection.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) router: TowerToHyperService<Router>,
    pub(crate) slot: Arc<ConnectionSlot>,
    pub(crate) client: Client,
    /// Absent on a listener whose requests are not counted.
    pub(crate) metrics: Option<Arc<Metrics>>,
    pub(crate) stop: Stop,
}

impl Exchange {
    /// Answers one request. Its extensions hold the connection's data for handlers.
    pub(crate) async fn answer(
        self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        self.slot.request_begins(!request.body().is_end_stream());
        // Pipelined requests yield to those of all other connections one by one: hyper would serve sixteen in a row,
        // and a thousand such connections would delay everybody else by seconds.
        while !self.slot.takes_turn() {
            yield_now().await;
        }
        let mut response = if has_odd_coding(request.headers()) {
            if let Some(metrics) = &self.metrics {
                metrics.refused_head(RefusedHead::Broken);
            }
            let close = [(header::CONNECTION, HeaderValue::from_static("close"))];
            (StatusCode::BAD_REQUEST, close, "transfer-encoding: `chunked` alone is taken\n")
                .into_response()
        } else {
            if self.client.is_unnamed {
                // Whoever it is may write anything there, and the address of the connection is a trusted proxy's.
                request.headers_mut().remove(X_FORWARDED_FOR);
            }
            request.extensions_mut().insert(ConnectInfo(self.client.address));
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

/// Whether proxies may read the body's transfer coding differently than we do. hyper accepts any list that ends in
/// `chunked`; disagreement about the rest of the list enables request smuggling.
fn has_odd_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    codings.next().is_some_and(|coding| !plain(coding) || codings.next().is_some())
}

/// A request's body, which reports its completion to the slot.
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

/// A response's body, which reports to the slot once hyper has all of it.
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
