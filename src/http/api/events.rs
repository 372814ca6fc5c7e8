//! Events: the list, and one.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::callback::event::Payload;
use crate::callback::recorded_request::Delivery;
use crate::callback::{AppId, Body, Command, Family};
use crate::clock::UnixMillis;
use crate::http::api::list;
use crate::http::api::params;
use crate::http::api::params::{ListQuery, NoQuery, QueryParams};
use crate::http::ops::state::Ops;
use crate::http::problem::Problem;
use crate::store::{EventFilter, List, Part, Store, StoreError, StoredEvent};

/// Filters for events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Filter by app (`SDKAppID`).
    #[param(value_type = Option<i64>)]
    app: Option<String>,
    /// Filter by family: call, room, mic, live, group, follow, …
    family: Option<String>,
    /// Filter by command, by its name or an alias.
    command: Option<String>,
    /// Filter by call id.
    call: Option<String>,
    /// Filter by room id.
    room: Option<String>,
    /// Filter by acting account.
    user: Option<String>,
    /// Filter by platform, as sent.
    platform: Option<String>,
    /// Filter by the vendor's request id.
    request: Option<String>,
    /// Filter by a text in the body, as received.
    text: Option<String>,
    /// Only events whose body could not be decoded.
    #[param(value_type = Option<bool>)]
    undecoded: Option<String>,
    /// Start of the time range, inclusive: 2026-01-31, RFC 3339, or an age such as 30m, 2h, 7d.
    since: Option<String>,
    /// End of the time range, exclusive.
    until: Option<String>,
    /// Include the body of each event.
    #[param(value_type = Option<bool>)]
    payload: Option<String>,
}

impl EventQuery {
    /// The filter, and whether bodies are asked for.
    pub(crate) fn filter(self, now: UnixMillis) -> Result<(EventFilter, bool), Problem> {
        let families: Vec<_> = Family::ALL.iter().map(|family| family.as_str()).collect();
        let [since, until] = params::span(self.since.as_ref(), self.until.as_ref(), now)?;
        let filter = EventFilter {
            app: params::app(self.app.as_ref())?,
            family: params::one_of("family", self.family, &families)?,
            command: params::command(self.command.as_ref())?,
            call_id: self.call,
            room_id: self.room,
            operator: self.user,
            platform: self.platform,
            request_id: self.request,
            text: self.text,
            undecoded: params::flag("undecoded", self.undecoded.as_ref())?.unwrap_or(false),
            since,
            until,
            ..EventFilter::default()
        };
        Ok((filter, params::flag("payload", self.payload.as_ref())?.unwrap_or(false)))
    }
}

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

    async fn part(
        &self,
        store: &dyn Store,
        after: Option<Self::Place>,
        limit: u32,
    ) -> Result<Part<Self>, StoreError> {
        let (events, end) = self.filter.part(store, after, limit).await?;
        Ok((events.iter().map(|event| Event::new(event, self.with_payload)).collect(), end))
    }
}

/// Events by event time, newest first.
#[utoipa::path(get, path = "/events", tag = "events", params(EventQuery, ListQuery),
    responses((status = 200, body = list::Items<Event>)))]
pub(crate) async fn events(
    State(ops): State<Arc<Ops>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let (query, page) = QueryParams::parse(uri.query())?.list::<EventQuery>(&headers)?;
    let (filter, with_payload) = query.filter(ops.clock.now())?;
    list::answer(&ops.reading, &page, Events { filter, with_payload }).await
}

/// One event with its raw and decoded body.
#[utoipa::path(get, path = "/events/{id}", tag = "events",
    params(("id" = Uuid, Path, description = "Event id")),
    responses((status = 200, body = EventDetail)))]
pub(crate) async fn event(
    State(ops): State<Arc<Ops>>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let Path(id) = path.map_err(|rejection| Problem::path(&rejection))?;
    QueryParams::parse(uri.query())?.only::<NoQuery>()?;
    let wrong = |_| Problem::parameter("id", "`id` is not a UUID", "give the `id` of an event");
    let id: Uuid = id.parse().map_err(wrong)?;
    let store = ops.reading.store()?;
    let event = ops
        .reading
        .ask(store.event(id))
        .await?
        .ok_or_else(|| Problem::not_found("event not found"))?;
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
