//! Events as they arrive, as server-sent events.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::api_events::{Event, EventQuery};
use super::api_problem::Problem;
use super::api_query::Asked;
use super::ops::Ops;
use super::tail::{Arrival, Listener};
use crate::clock::{Clock, UnixMillis};
use crate::store::EventFilter;

/// How long nothing is said at most: a proxy may close what is silent, and a client that is gone is noticed.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How much is said in one breath, in bytes.
const BREATH: usize = 64 << 10;

/// Events as they arrive, as server-sent events: `data` is an event as in the list. An event of the type `lagged` says that
/// some were missed, because the client was slow or away for long. With `Last-Event-ID` it goes on where one was cut off;
/// after a restart of the server, the events of some seconds may come again.
#[utoipa::path(get, path = "/api/v1/events/stream", tag = "events",
    params(EventQuery, ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event one has")),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(super) async fn stream(
    State(ops): State<Arc<Ops>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Asked::parse(uri.query())?.only::<EventQuery>()?;
    let (filter, with_payload) = query.filter(ops.clock.now())?;
    let behind = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let behind = behind.filter(|behind| !behind.is_empty());
    let listener = ops.tail.listen(behind).await?;
    let (clock, stop) = (ops.clock.clone(), ops.stop.clone());
    let said = UnixMillis(0);
    let speaker = Speaker { listener, filter, with_payload, clock, stop, said, begun: false };
    let said = stream::unfold(speaker, |mut speaker| async move {
        let bytes = speaker.next().await?;
        Some((Ok::<_, Infallible>(bytes), speaker))
    });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))];
    Ok((kind, Body::from_stream(said)).into_response())
}

/// Says to one listener what it listens for. Nothing is made before the client takes it.
struct Speaker {
    listener: Listener,
    filter: EventFilter,
    with_payload: bool,
    clock: Clock,
    stop: CancellationToken,
    /// When the last event arrived, also one that the filter keeps back.
    said: UnixMillis,
    begun: bool,
}

impl Speaker {
    /// What to say next; `None` when the server stops.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.begun {
            self.begun = true;
            self.said = self.clock.now();
            // An id without data is remembered, and shows nothing.
            let place = self.listener.place(self.said);
            return Some(format!("retry: 2000\nid: {place}\n\n").into());
        }
        let heartbeat = sleep(HEARTBEAT);
        let mut heartbeat = std::pin::pin!(heartbeat);
        loop {
            let text = self.ready();
            if !text.is_empty() {
                return Some(text.into());
            }
            tokio::select! {
                () = self.listener.more() => {}
                () = &mut heartbeat => {
                    let place = self.listener.place(self.said);
                    return Some(format!(": still here\nid: {place}\n\n").into());
                }
                () = self.stop.cancelled() => return None,
            }
        }
    }

    /// What is there to say now; empty where there is nothing.
    fn ready(&mut self) -> String {
        let mut text = String::new();
        while text.len() < BREATH
            && let Some(arrival) = self.listener.ready()
        {
            match arrival {
                Arrival::Missed => text.push_str("event: lagged\ndata: {}\n\n"),
                Arrival::Event(event) => {
                    self.said = event.received_at;
                    if !self.filter.matches(&event) {
                        continue;
                    }
                    let place = self.listener.place(self.said);
                    match serde_json::to_string(&Event::new(&event, self.with_payload)) {
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
