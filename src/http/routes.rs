//! Every route of the operations listener, with the scope that it needs. The routers are made of these tables and of nothing
//! else, so no route is without a scope unless it stands among the public ones.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use serde_json::Value;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::access::Scope;
use crate::http::access::gate::{self, Gate, Refusal};
use crate::http::api::endpoints::{
    calls, destinations, events, recordings, rooms, rtc, statistics,
};
use crate::http::api::request::ApiRequest;
use crate::http::api::{list, openapi};
use crate::http::ops::auth;
use crate::http::ops::state::Ops;
use crate::http::ops::{compression, health};
use crate::http::pages;
use crate::http::problem::Problem;
use crate::http::ui;
use crate::http::ui::page::in_time;
use crate::http::ui::section::Section;

type Handler = MethodRouter<Arc<Ops>>;

/// Those that everybody may ask: health, and what a browser needs before one is signed in.
fn public() -> [(&'static str, Handler); 5] {
    [
        ("/livez", get(health::livez)),
        ("/readyz", get(health::readyz)),
        ("/sign-in", get(pages::sign_in::page).post(pages::sign_in::sign_in)),
        ("/sign-out", post(pages::sign_in::sign_out)),
        ("/assets/{version}/{name}", get(ui::assets::asset)),
    ]
}

/// Those that need the token itself: a session is not enough.
fn with_token() -> [(&'static str, Scope, Handler); 1] {
    [("/metrics", Scope::Metrics, get(health::metrics))]
}

/// The pages. They only read.
fn pages() -> Vec<(&'static str, Scope, Handler)> {
    use pages::{calls, events, forward, rooms, rtc_rooms, search, tasks};
    let sections = Section::ALL.map(|section| (section.path(), Scope::Read, section_page(section)));
    let others = [
        ("/calls/{app}/{call_id}", Scope::Read, get(calls::page)),
        ("/room-sessions/{app}/{room_id}", Scope::Read, get(rooms::list::latest)),
        ("/room-sessions/{app}/{room_id}/{session}", Scope::Read, get(rooms::one::page)),
        ("/rtc-room-sessions/{app}/{room_id}", Scope::Read, get(rtc_rooms::list::latest)),
        (
            "/rtc-room-sessions/{app}/{room_id}/{kind}/{session}",
            Scope::Read,
            get(rtc_rooms::one::page),
        ),
        ("/recordings/{app}/{task_id}", Scope::Read, get(tasks::recordings::page)),
        ("/rtc-tasks/{app}/{task_id}", Scope::Read, get(tasks::rtc::page)),
        ("/events/{id}", Scope::Read, get(events::page)),
        ("/forward/{name}", Scope::Read, get(forward::page)),
        ("/search", Scope::Read, get(search::search)),
        ("/users/{app}/{account}", Scope::Read, get(search::user)),
    ];
    sections.into_iter().chain(others).collect()
}

fn section_page(section: Section) -> Handler {
    use pages::{
        anomalies, calls, events, forward, overview, rooms, rtc_rooms, settings, tail, tasks,
    };
    match section {
        Section::Overview => get(overview::page),
        Section::Tail => get(tail::page),
        Section::Calls => get(calls::list),
        Section::Rooms => get(rooms::list::list),
        Section::LiveSessions => get(rooms::live::list),
        Section::RtcRooms => get(rtc_rooms::list::list),
        Section::Recordings => get(tasks::recordings::list),
        Section::RtcTasks => get(tasks::rtc::list),
        Section::Events => get(events::list),
        Section::Forwarding => get(forward::list),
        Section::Anomalies => get(anomalies::list),
        Section::Settings => get(settings::page),
    }
}

/// The endpoints below `/api/v1`, each declared once for the router and for the document. A list as CSV or NDJSON needs
/// [`Scope::Export`] besides, which [`PageRequest`](crate::http::api::params::PageRequest) sees to.
fn endpoints() -> Vec<(Scope, UtoipaMethodRouter<Arc<Ops>>)> {
    vec![
        (Scope::Read, routes!(document)),
        (Scope::Read, routes!(events::list::events)),
        (Scope::Read, routes!(events::list::event)),
        (Scope::Read, routes!(events::stream::stream)),
        (Scope::Read, routes!(calls::calls)),
        (Scope::Read, routes!(calls::call)),
        (Scope::Read, routes!(calls::user_calls)),
        (Scope::Read, routes!(calls::user_visits)),
        (Scope::Read, routes!(rooms::rooms)),
        (Scope::Read, routes!(rooms::room)),
        (Scope::Read, routes!(rooms::visits)),
        (Scope::Read, routes!(rooms::live_sessions)),
        (Scope::Read, routes!(rooms::live)),
        (Scope::Read, routes!(rooms::live_visits)),
        (Scope::Read, routes!(rooms::gifts)),
        (Scope::Read, routes!(rtc::rooms::sessions)),
        (Scope::Read, routes!(rtc::rooms::session)),
        (Scope::Read, routes!(rtc::rooms::stays)),
        (Scope::Read, routes!(rtc::rooms::publish_intervals)),
        (Scope::Read, routes!(rtc::rooms::user_stays)),
        (Scope::Read, routes!(recordings::recordings)),
        (Scope::Read, routes!(recordings::recording)),
        (Scope::Read, routes!(rtc::tasks::rtc_tasks)),
        (Scope::Read, routes!(rtc::tasks::rtc_task)),
        (Scope::Read, routes!(destinations::destinations)),
        (Scope::Read, routes!(destinations::exceptions)),
        (Scope::Read, routes!(statistics::anomalies)),
        (Scope::Read, routes!(statistics::statistics)),
        (Scope::Read, routes!(statistics::search)),
    ]
}

/// The operations listener, for the operators' own network.
pub(crate) fn ops_router(ops: Ops) -> Router {
    let ops = Arc::new(ops);
    let public = public()
        .into_iter()
        .fold(Router::new(), |router, (path, handler)| router.route(path, handler));
    let with_token = gated(with_token(), gate::problem)
        .route_layer(from_fn_with_state(ops.clone(), health::with_token));
    let pages = gated(pages(), ui::error::no_scope)
        .layer(from_fn(in_time))
        .route_layer(from_fn_with_state(ops.clone(), pages::sign_in::or_sign_in));
    public
        .merge(with_token)
        .merge(pages)
        .merge(api(&ops))
        .fallback(ui::error::not_found)
        .layer(from_fn(compression::compressed))
        .layer(from_fn_with_state(ops.clone(), auth::guard))
        .with_state(ops)
}

fn gated(
    routes: impl IntoIterator<Item = (&'static str, Scope, Handler)>,
    refusal: Refusal,
) -> Router<Arc<Ops>> {
    routes.into_iter().fold(Router::new(), |router, (path, scope, handler)| {
        let gate = from_fn_with_state(Gate { scope, refusal }, gate::pass);
        router.route(path, handler.route_layer(gate))
    })
}

/// The endpoints behind their gates, and in the document with their scopes.
fn open_api() -> OpenApiRouter<Arc<Ops>> {
    let refusal = gate::problem;
    endpoints().into_iter().fold(
        OpenApiRouter::new(),
        |router, (scope, (schemas, paths, handler))| {
            let gate = from_fn_with_state(Gate { scope, refusal }, gate::pass);
            let paths = openapi::with_scope(paths, scope);
            router.routes((schemas, paths, handler.route_layer(gate)))
        },
    )
}

/// The document, as it is served.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| openapi::document(open_api()));

/// The description of this API.
#[utoipa::path(get, path = "/openapi.json", tag = "document", responses((status = 200, body = Object)))]
async fn document(request: ApiRequest) -> Result<Response, Problem> {
    request.read(())?;
    list::json(&*DOCUMENT)
}

/// Everything below `/api`, also what is not there.
fn api(ops: &Arc<Ops>) -> Router<Arc<Ops>> {
    let endpoints = Router::from(open_api())
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

/// Rejects requests without a token or a session.
async fn admitted(State(ops): State<Arc<Ops>>, mut request: Request, next: Next) -> Response {
    if let Some(grant) = ops.grant(request.method(), request.headers()) {
        request.extensions_mut().insert(grant);
        return next.run(request).await;
    }
    match ops.guessed(request.headers(), auth::peer(request.extensions())) {
        Some(_) => Problem::too_many_guesses().into_response(),
        None => Problem::unauthorized().into_response(),
    }
}
