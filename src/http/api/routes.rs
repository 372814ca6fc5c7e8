//! The API under `/api/v1`: its routes, and what stands before each of them.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::api::endpoints::{
    calls, destinations, event_stream, events, recordings, rooms, rtc_rooms, statistics, tasks,
};
use crate::http::api::request::ApiRequest;
use crate::http::api::{list, openapi};
use crate::http::ops::auth;
use crate::http::ops::state::Ops;
use crate::http::problem::Problem;

/// The endpoints below `/api/v1`, each declared once for the router and for the document.
fn endpoints() -> OpenApiRouter<Arc<Ops>> {
    OpenApiRouter::new()
        .routes(routes!(document))
        .routes(routes!(events::events))
        .routes(routes!(events::event))
        .routes(routes!(event_stream::stream))
        .routes(routes!(calls::calls))
        .routes(routes!(calls::call))
        .routes(routes!(calls::user_calls))
        .routes(routes!(calls::user_visits))
        .routes(routes!(rooms::rooms))
        .routes(routes!(rooms::room))
        .routes(routes!(rooms::visits))
        .routes(routes!(rooms::live_sessions))
        .routes(routes!(rooms::live))
        .routes(routes!(rooms::live_visits))
        .routes(routes!(rooms::gifts))
        .routes(routes!(rtc_rooms::sessions))
        .routes(routes!(rtc_rooms::session))
        .routes(routes!(rtc_rooms::stays))
        .routes(routes!(rtc_rooms::publish_intervals))
        .routes(routes!(rtc_rooms::user_stays))
        .routes(routes!(recordings::recordings))
        .routes(routes!(recordings::recording))
        .routes(routes!(tasks::rtc_tasks))
        .routes(routes!(tasks::rtc_task))
        .routes(routes!(destinations::destinations))
        .routes(routes!(destinations::exceptions))
        .routes(routes!(statistics::anomalies))
        .routes(routes!(statistics::statistics))
        .routes(routes!(statistics::search))
}

/// The document, as it is served.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| openapi::document(endpoints()));

/// The description of this API.
#[utoipa::path(get, path = "/openapi.json", tag = "document", responses((status = 200, body = Object)))]
async fn document(request: ApiRequest) -> Result<Response, Problem> {
    request.read(())?;
    list::json(&*DOCUMENT)
}

/// Everything below `/api`, also what is not there.
pub(crate) fn routes(ops: &Arc<Ops>) -> Router<Arc<Ops>> {
    let endpoints = Router::from(endpoints())
        .method_not_allowed_fallback(async || Problem::method_not_allowed());
    let nothing = async || Problem::not_found("not found: see /api/v1/openapi.json");
    let below = Router::new()
        .nest("/v1", endpoints)
        .fallback(nothing)
        .layer(from_fn_with_state(ops.clone(), admitted));
    Router::new()
        .route("/api", any(nothing))
        .route("/api/", any(nothing))
        .route_layer(from_fn_with_state(ops.clone(), admitted))
        .nest("/api", below)
}

/// Rejects requests without the token or a session.
async fn admitted(State(ops): State<Arc<Ops>>, request: Request, next: Next) -> Response {
    if ops.admits(request.method(), request.headers()) {
        return next.run(request).await;
    }
    match ops.guessed(request.headers(), auth::peer(&request)) {
        Some(_) => Problem::too_many_guesses().into_response(),
        None => Problem::unauthorized().into_response(),
    }
}
