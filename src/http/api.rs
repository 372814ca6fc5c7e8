//! The API under `/api/v1`: its routes, and what stands before each of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};

use super::api_problem::Problem;
use super::ops::{self, Ops};
use super::{api_calls, api_events, api_figures, api_openapi, api_rooms, api_stream};

/// Everything below `/api`, also what is not there.
pub(super) fn routes(ops: &Arc<Ops>) -> Router<Arc<Ops>> {
    let routes = Router::new()
        .route("/openapi.json", get(api_openapi::document))
        .route("/events", get(api_events::events))
        .route("/events/stream", get(api_stream::stream))
        .route("/events/{id}", get(api_events::event))
        .route("/calls", get(api_calls::calls))
        .route("/calls/{app}/{call_id}", get(api_calls::call))
        .route("/users/{app}/{account}/calls", get(api_calls::user_calls))
        .route("/users/{app}/{account}/visits", get(api_calls::user_visits))
        .route("/rooms", get(api_rooms::rooms))
        .route("/rooms/{app}/{room_id}/{life}", get(api_rooms::room))
        .route("/rooms/{app}/{room_id}/{life}/visits", get(api_rooms::visits))
        .route("/lives", get(api_rooms::lives))
        .route("/lives/{app}/{room_id}/{life}", get(api_rooms::live))
        .route("/lives/{app}/{room_id}/{life}/visits", get(api_rooms::live_visits))
        .route("/lives/{app}/{room_id}/{life}/gifts", get(api_rooms::gifts))
        .route("/anomalies", get(api_figures::anomalies))
        .route("/statistics", get(api_figures::statistics))
        .route("/search", get(api_figures::search))
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
    match ops.guessed(request.headers(), ops::peer(&request)) {
        Some(_) => Problem::too_many_guesses().into_response(),
        None => Problem::unauthorized().into_response(),
    }
}
