//! Events as they arrive, as server-sent events.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::time::sleep;

use crate::access::Scope;
use crate::http::api::endpoints::events::one::{Event, EventQuery, PayloadQuery};
use crate::http::api::params::QueryOf;
use crate::http::api::request::ApiRequest;
use crate::http::live_tail::arrival::Arrival;
use crate::http::live_tail::subscription::Subscription;
use crate::http::ops::state::Ops;
use crate::http::problem::Problem;
use crate::store::{ConditionKind, Position, PositionError, filter};

/// Interval of keep-alive comments: proxies close idle streams, and a failed write reveals a client that is gone.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long to wait after a read that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Size of a chunk of the response, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

filter! {
    /// Where a stream resumes.
    #[derive(Debug, Default)]
    pub(crate) struct BehindQuery {
        /// The `id` of the last received event, or its `position`, if `Last-Event-ID` is not sent
        "last_event_id" "" ConditionKind::Text => last_event_id: Option<String>,
    }
}

/// New events as server-sent events, in the order of storing: `data` is an event as in the list, `id` a position. With
/// `Last-Event-ID` the stream goes on after that position and misses nothing, on any server of the same database. An event of
/// type `lagged` means that some were skipped, since that position is no longer kept: it is for an hour at least. The stream
/// ends with the session that opened it.
#[utoipa::path(get, path = "/events/stream", tag = "events",
    params(QueryOf<(EventQuery, BehindQuery)>, ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last received event")),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(crate) async fn stream(request: ApiRequest) -> Result<Response, Problem> {
    let ((filter, PayloadQuery { payload: with_payload }), BehindQuery { last_event_id }) =
        request.read(Default::default())?;
    let ApiRequest { ops, headers, .. } = request;
    let behind = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    // A browser that comes again by itself sends the header, and the query that it began with.
    let behind = behind.filter(|behind| !behind.is_empty()).or(last_event_id.as_deref());
    let after = behind.map(position).transpose()?;
    let listener = Subscription::open(&ops.tail, after, filter, with_payload).await?;
    let writer = EventWriter { listener, with_payload, ops, headers, begun: false };
    let said = stream::unfold(writer, |mut writer| async move {
        let bytes = writer.next().await?;
        Some((Ok::<_, Infallible>(bytes), writer))
    });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))];
    Ok((kind, Body::from_stream(said)).into_response())
}

fn position(text: &str) -> Result<Position, Problem> {
    text.parse().map_err(|error: PositionError| {
        let detail = format!("invalid `Last-Event-ID`: {error}");
        let hint = "pass the `id` of the last event unchanged, or omit it";
        Problem::parameter("Last-Event-ID", detail, hint)
    })
}

/// Says to one listener what it listens for. Nothing is made before the client takes it.
struct EventWriter {
    listener: Subscription,
    with_payload: bool,
    ops: Arc<Ops>,
    /// What it was admitted by.
    headers: HeaderMap,
    begun: bool,
}

impl EventWriter {
    /// What to say next; `None` when the server stops, or the client may see no more.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.begun {
            self.begun = true;
            // An id without data is remembered, and shows nothing.
            let place = self.listener.place();
            return Some(format!("retry: 2000\nid: {place}\n\n").into());
        }
        let heartbeat = sleep(HEARTBEAT);
        let mut heartbeat = std::pin::pin!(heartbeat);
        loop {
            let grant = self.ops.grant(&Method::GET, &self.headers);
            if !grant.is_some_and(|grant| grant.allows(Scope::Read)) {
                return None;
            }
            let caught_up = self.listener.catch_up().await;
            let text = self.ready();
            if !text.is_empty() {
                return Some(text.into());
            }
            let more = async {
                match caught_up {
                    Ok(true) => {}
                    Ok(false) => self.listener.more().await,
                    Err(problem) => {
                        tracing::debug!(?problem, "a listener's events were not read");
                        sleep(RETRY_PAUSE).await;
                    }
                }
            };
            tokio::select! {
                () = self.ops.stop.cancelled() => return None,
                () = &mut heartbeat => {
                    let place = self.listener.place();
                    return Some(format!(": still here\nid: {place}\n\n").into());
                }
                () = more => {}
            }
        }
    }

    /// What is there to say now; empty where there is nothing.
    fn ready(&mut self) -> String {
        let mut text = String::new();
        while text.len() < CHUNK_BYTES
            && let Some(arrival) = self.listener.ready()
        {
            match arrival {
                Arrival::Missed => text.push_str("event: lagged\ndata: {}\n\n"),
                Arrival::Event(position, event) => {
                    let place = self.listener.place();
                    let event = Event::new(&event, self.with_payload).at(position);
                    match serde_json::to_string(&event) {
                        // A body is given as it came, and may hold ends of lines.
                        Ok(json) => {
                            let data = json.replace(['\n', '\r'], " ");
                            let _ = write!(text, "id: {place}\ndata: {data}\n\n");
                        }
                        Err(error) => tracing::error!(%error, "an event was not written"),
                    }
                }
            }
        }
        text
    }
}
