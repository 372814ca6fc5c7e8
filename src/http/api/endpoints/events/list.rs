//! Events: the list, and one.

use async_trait::async_trait;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::api::endpoints::events::feed::{Feed, FeedQuery, Ordering};
use crate::http::api::endpoints::events::one::{Event, EventQuery, PayloadQuery};
use crate::http::api::list;
use crate::http::api::params::{ListQuery, QueryOf};
use crate::http::api::request::{ApiRequest, PathOf};
use crate::http::problem::Problem;
use crate::store::{Behind, EventFilter, List, Order, Part, Store, StoreError};
use protocol::event::Payload;
use protocol::{Body, Command};

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

/// The same by time of arrival, the earliest first.
struct Arrivals(Events);

#[async_trait]
impl List for Arrivals {
    type Row = Event;
    type Place = <EventFilter as List>::Place;

    async fn part(
        &self,
        store: &dyn Store,
        (after, limit): Behind<Self>,
    ) -> Result<Part<Self>, StoreError> {
        let Events { filter, with_payload } = &self.0;
        let order = Order::Arrived { after };
        let page = store.event_page(&EventFilter { order, limit, ..filter.clone() }).await?;
        let events = page.events.iter().map(|event| Event::new(event, *with_payload)).collect();
        Ok((events, page.next))
    }
}

/// Events by event time, newest first; with `order=stored` in the order of storing, earliest first, for readers that must miss
/// none; with `order=arrived` by time of arrival, earliest first.
#[utoipa::path(get, path = "/events", tag = "events", params(QueryOf<((EventQuery, FeedQuery), ListQuery)>),
    responses((status = 200, body = list::Items<Event>)))]
pub(crate) async fn events(request: ApiRequest) -> Result<Response, Problem> {
    let (((filter, PayloadQuery { payload }), feed), page) =
        request.list((EventQuery::default(), FeedQuery::default()))?;
    let reading = &request.ops.reading;
    match feed.read(&page)? {
        Ordering::Stored(question) => {
            let feed = Feed { filter, with_payload: payload };
            feed.answer(&request.ops, &page, question).await
        }
        Ordering::Arrived(received_since) => {
            let filter = EventFilter { received_since, ..filter };
            let list = Arrivals(Events { filter, with_payload: payload });
            list::answer_as(reading, &page, list, "Arrival").await
        }
        Ordering::Newest => {
            list::answer(reading, &page, Events { filter, with_payload: payload }).await
        }
    }
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
