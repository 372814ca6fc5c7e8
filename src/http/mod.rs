//! The only place that knows axum. All routes stand here.

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

mod api;
mod api_calls;
mod api_events;
mod api_figures;
mod api_list;
mod api_openapi;
mod api_problem;
mod api_query;
mod api_rooms;
mod api_stream;
mod callbacks;
mod compression;
mod connection;
mod dashboard;
mod dashboard_assets;
mod dashboard_charts;
mod dashboard_filters;
mod dashboard_parts;
mod descriptors;
mod encoding;
mod exchange;
mod guesses;
mod missed;
mod ops;
mod outliving;
mod page_anomalies;
mod page_calls;
mod page_events;
mod page_find;
mod page_lives;
mod page_overview;
mod page_recordings;
mod page_room;
mod page_rooms;
mod page_settings;
mod page_tail;
mod path_ids;
mod paths;
mod ping;
mod place;
mod places;
mod preambles;
mod reading;
mod rejections;
mod replays;
mod room;
mod serve;
mod session;
mod tail;
mod tls;

use paths::Elsewhere;

pub use callbacks::Receiver;
pub(crate) use descriptors::{connections_allowed, descriptors_needed};
pub(crate) use ops::{Keeping, Ops};
pub(crate) use page_settings::{Addresses, AppSetup, Setup, Sources};
pub(crate) use reading::Reading;
pub use serve::{Limits, Stop, serve};
pub use tls::{Tls, TlsError, certificate_expiry};

/// The vendor's callbacks on these paths, to be mounted in an app of your own: also with a slash at their end, or with two in
/// the place of one.
///
/// # Panics
/// When a path does not begin with `/`.
pub fn callback_router(receiver: Receiver, paths: &[String]) -> Router {
    callback_routes(Arc::new(receiver), &paths::spellings(paths))
}

/// The public listener: the vendor's callbacks and nothing else.
pub(crate) fn public_router(receiver: Receiver, paths: &[String]) -> Router {
    let receiver = Arc::new(receiver);
    let elsewhere = Elsewhere::new(receiver.clone(), paths);
    let elsewhere = Router::new().fallback(paths::elsewhere).with_state(elsewhere);
    callback_routes(receiver, paths).fallback_service(elsewhere)
}

fn callback_routes<'a>(
    receiver: Arc<Receiver>,
    paths: impl IntoIterator<Item = &'a String>,
) -> Router {
    let callback = post(callbacks::receive).fallback(callbacks::method_not_allowed);
    let add = |router: Router<_>, path: &String| router.route(path, callback.clone());
    paths.into_iter().fold(Router::new(), add).with_state(receiver)
}

/// The operations listener, for the operators' own network.
pub(crate) fn ops_router(ops: Ops) -> Router {
    let ops = Arc::new(ops);
    // What a page needs before one is signed in, such as its stylesheet, goes beside `/sign-in` below.
    let pages = Router::new()
        .merge(dashboard::routes())
        .route_layer(from_fn_with_state(ops.clone(), session::or_sign_in));
    Router::new()
        .merge(pages)
        .merge(dashboard::assets())
        .merge(api::routes(&ops))
        .route("/sign-in", get(session::page).post(session::sign_in))
        .route("/sign-out", post(session::sign_out))
        .route("/livez", get(ops::livez))
        .route("/readyz", get(ops::readyz))
        .route("/metrics", get(ops::metrics))
        .fallback(dashboard::not_found)
        .layer(from_fn(compression::compressed))
        .layer(from_fn_with_state(ops.clone(), ops::guard))
        .with_state(ops)
}
