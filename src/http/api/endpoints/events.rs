//! Events: the list, and one.

use async_trait::async_trait;
use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::api::list;
use crate::http::api::params::{ListQuery, QueryOf};
use crate::http::api::request::{ApiRequest, PathOf};
use crate::http::problem::Problem;
use crate::store::{
    Behind, ConditionKind, EventFilter, List, Part, Store, StoreError, StoredEvent, filter,
};
use protocol::UnixMillis;
use protocol::event::Payload;
use protocol::recorded_request::Delivery;
use protocol::{AppId, Body, Command};

filter! {
    /// What is given of each event.
    #[derive(Debug, Default)]
    pub(crate) struct PayloadQuery {
        /// Include the body of each event
        "payload" "" ConditionKind::Flag(["yes", "no"]) => payload: bool,
    }
}

/// The parameters of events, in a list and as they arrive.
pub(crate) type EventQuery = (EventFilter, PayloadQuery);

/// A stored event.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the table's columns")]
pub(crate) struct Event {
    /// Event id.
    id: Uuid,
    /// `SDKAppID`.
    #[schema(value_type = i64)]
    sdk_app_id: AppId,
    /// Family of the command.
    family: String,
    /// Canonical name of the command.
    command: String,
    /// The command as sent, if different.
    command_sent: Option<String>,
    /// Time of the event.
    event_time: UnixMillis,
    /// Time of arrival.
    received_at: UnixMillis,
    /// Call id.
    call_id: Option<String>,
    /// Room id.
    room_id: Option<String>,
    /// Acting account.
    operator: Option<String>,
    /// Client IP address, as sent.
    client_ip: Option<String>,
    /// Platform, as sent.
    platform: Option<String>,
    /// Request id of the vendor, for its support; null on most events.
    request_id: Option<String>,
    /// `unchecked` for an event of the RTC Engine whose app has no key; null where the signature was checked, and for other events.
    signature: Option<String>,
    /// Why the body could not be decoded; null if it was.
    decode_error: Option<String>,
    /// The body, if it is JSON and was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    payload: Option<Box<RawValue>>,
    /// The body, if it is text other than JSON and was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_text: Option<String>,
    /// Any other body, in base64, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl Event {
    /// With its body, or without.
    pub(crate) fn new(event: &StoredEvent, with_payload: bool) -> Self {
        let body = if with_payload { event.delivery() } else { Delivery::default() };
        Self {
            id: event.id,
            sdk_app_id: event.app,
            family: event.family.clone(),
            command: event.command.clone(),
            command_sent: event.command_sent.clone(),
            event_time: event.event_time,
            received_at: event.received_at,
            call_id: event.call_id.clone(),
            room_id: event.room_id.clone(),
            operator: event.operator.clone(),
            client_ip: event.client_ip.clone(),
            platform: event.platform.clone(),
            request_id: event.request_id.clone(),
            signature: event.signature.clone(),
            decode_error: event.decode_error.clone(),
            payload: body.body,
            body_text: body.body_text,
            body_base64: body.body_base64,
        }
    }
}

/// An event with its raw and decoded body.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventDetail {
    #[serde(flatten)]
    event: Event,
    /// Query string of the request, as `replay` sends it.
    query: String,
    /// The body decoded into the type of its command; null if there is no type or the body does not match it.
    #[schema(value_type = Option<Object>)]
    decoded: Option<Body>,
}

struct Events {
    filter: EventFilter,
    with_payload: bool,
}

#[async_trait]
impl List for Events {
    type Row = Event;
    type Place = <EventFilter as List>::Place;

    async fn part(&self, store: &dyn Store, page: Behind<Self>) -> Result<Part<Self>, StoreError> {
        let (events, end) = self.filter.part(store, page).await?;
        Ok((events.iter().map(|event| Event::new(event, self.with_payload)).collect(), end))
    }
}

/// Events by event time, newest first.
#[utoipa::path(get, path = "/events", tag = "events", params(QueryOf<(EventQuery, ListQuery)>),
    responses((status = 200, body = list::Items<Event>)))]
pub(crate) async fn events(request: ApiRequest) -> Result<Response, Problem> {
    let ((filter, PayloadQuery { payload }), page) = request.list(EventQuery::default())?;
    list::answer(&request.ops.reading, &page, Events { filter, with_payload: payload }).await
}

/// One event with its raw and decoded body.
#[utoipa::path(get, path = "/events/{id}", tag = "events",
    params(("id" = Uuid, Path, description = "Event id")),
    responses((status = 200, body = EventDetail)))]
pub(crate) async fn event(
    request: ApiRequest,
    PathOf(id): PathOf<String>,
) -> Result<Response, Problem> {
    request.read(())?;
    let wrong = |_| Problem::parameter("id", "`id` is not a UUID", "give the `id` of an event");
    let id: Uuid = id.parse().map_err(wrong)?;
    let reading = &request.ops.reading;
    let store = reading.store()?;
    let event =
        reading.ask(store.event(id)).await?.ok_or_else(|| Problem::not_found("event not found"))?;
    let decoded = match &event.payload {
        Payload::Json(json) => {
            let command = Command::find(&event.command);
            command.and_then(|command| command.body(json).ok())
        }
        Payload::Raw(_) => None,
    };
    let decoded = decoded.filter(|body| !matches!(body, Body::Untyped | Body::Undecoded));
    let query = event.delivery().query;
    list::json(&EventDetail { event: Event::new(&event, true), query, decoded })
}
