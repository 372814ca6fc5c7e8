//! The API under `/api/v1`: its routes, and what stands before each of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};

use crate::http::api::problem::Problem;
use crate::http::api::{calls, event_stream, events, openapi, rooms, statistics};
use crate::http::ops::auth;
use crate::http::ops::state::Ops;

/// Everything below `/api`, also what is not there.
pub(crate) fn routes(ops: &Arc<Ops>) -> Router<Arc<Ops>> {
    let routes = Router::new()
        .route("/openapi.json", get(openapi::document))
        .route("/events", get(events::events))
        .route("/events/stream", get(event_stream::stream))
        .route("/events/{id}", get(events::event))
        .route("/calls", get(calls::calls))
        .route("/calls/{app}/{call_id}", get(calls::call))
        .route("/users/{app}/{account}/calls", get(calls::user_calls))
        .route("/users/{app}/{account}/visits", get(calls::user_visits))
        .route("/rooms", get(rooms::rooms))
        .route("/rooms/{app}/{room_id}/{life}", get(rooms::room))
        .route("/rooms/{app}/{room_id}/{life}/visits", get(rooms::visits))
        .route("/lives", get(rooms::lives))
        .route("/lives/{app}/{room_id}/{life}", get(rooms::live))
        .route("/lives/{app}/{room_id}/{life}/visits", get(rooms::live_visits))
        .route("/lives/{app}/{room_id}/{life}/gifts", get(rooms::gifts))
        .route("/anomalies", get(statistics::anomalies))
        .route("/statistics", get(statistics::statistics))
        .route("/search", get(statistics::search))
        .method_not_allowed_fallback(async || Problem::method_not_allowed());
    let nothing = async || Problem::not_found("there is nothing here: see /api/v1/openapi.json");
    let below = Router::new()
        .nest("/v1", routes)
        .fallback(nothing)
        .layer(from_fn_with_state(ops.clone(), admitted));
    Router::new()
        .route("/api", any(nothing))
        .route("/api/", any(nothing))
        .route_layer(from_fn_with_state(ops.clone(), admitted))
        .nest("/api", below)
}

/// Lets those through who may see what is here.
async fn admitted(State(ops): State<Arc<Ops>>, request: Request, next: Next) -> Response {
    if ops.admits(request.method(), request.headers()) {
        return next.run(request).await;
    }
    match ops.guessed(request.headers(), auth::peer(&request)) {
        Some(_) => Problem::too_many_guesses().into_response(),
        None => Problem::unauthorized().into_response(),
    }
}
