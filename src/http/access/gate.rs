//! Lets only those pass whose token has the scope that a route needs.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::access::{Grant, Scope};
use crate::http::access::audit;
use crate::http::ops::auth;
use crate::http::problem::Problem;

/// The answer to somebody whose token lacks a scope.
pub(crate) type Refusal = fn(&Grant, Scope) -> Response;

/// What a route needs.
#[derive(Clone, Copy)]
pub(crate) struct Gate {
    pub(crate) scope: Scope,
    pub(crate) refusal: Refusal,
}

/// The middleware of every route that needs a token. The one around it says who asks.
pub(crate) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    match request.extensions().get::<Grant>() {
        Some(grant) if grant.allows(gate.scope) => next.run(request).await,
        Some(grant) => {
            audit::refused(grant, gate.scope, auth::peer(request.extensions()));
            (gate.refusal)(grant, gate.scope)
        }
        None => Problem::unauthorized().into_response(),
    }
}

/// The answer of the API.
pub(crate) fn problem(grant: &Grant, scope: Scope) -> Response {
    Problem::scope(grant, scope).into_response()
}
