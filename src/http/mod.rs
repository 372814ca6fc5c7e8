//! The only place that knows axum. All routes stand here.

mod api;
mod cursor;
mod listener;
mod live_tail;
mod ops;
mod pages;
mod problem;
mod query;
mod receiver;
mod ui;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

use crate::http::receiver::paths::PathFallback;

pub use crate::http::listener::accept::{Limits, serve};
pub(crate) use crate::http::listener::fd_limit::{connections_allowed, descriptors_needed};
pub use crate::http::listener::stop::Stop;
pub use crate::http::listener::tls::{Tls, TlsError, certificate_expiry};
pub(crate) use crate::http::ops::read_limiter::ReadLimiter;
pub(crate) use crate::http::ops::setup::{Addresses, AppSetup, Setup, Sources};
pub(crate) use crate::http::ops::state::Ops;
pub(crate) use crate::http::ops::store_handle::StoreHandle;
pub use crate::http::receiver::endpoint::Receiver;

/// The vendor's callbacks on these paths, to be mounted in an app of your own: also with a slash at their end, or with two in
/// the place of one.
///
/// # Panics
/// When a path does not begin with `/`.
pub fn callback_router(receiver: Receiver, paths: &[String]) -> Router {
    callback_routes(Arc::new(receiver), &receiver::paths::spellings(paths))
}

/// The public listener: the vendor's callbacks and nothing else.
pub(crate) fn public_router(receiver: Receiver, paths: &[String]) -> Router {
    let receiver = Arc::new(receiver);
    let elsewhere = PathFallback::new(receiver.clone(), paths);
    let elsewhere = Router::new().fallback(receiver::paths::elsewhere).with_state(elsewhere);
    callback_routes(receiver, paths).fallback_service(elsewhere)
}

fn callback_routes<'a>(
    receiver: Arc<Receiver>,
    paths: impl IntoIterator<Item = &'a String>,
) -> Router {
    let callback =
        post(receiver::endpoint::receive).fallback(receiver::endpoint::method_not_allowed);
    let add = |router: Router<_>, path: &String| router.route(path, callback.clone());
    paths.into_iter().fold(Router::new(), add).with_state(receiver)
}

/// The operations listener, for the operators' own network.
pub(crate) fn ops_router(ops: Ops) -> Router {
    let ops = Arc::new(ops);
    // What a page needs before one is signed in, such as its stylesheet, goes beside `/sign-in` below.
    let pages = Router::new()
        .merge(pages::routes())
        .route_layer(from_fn_with_state(ops.clone(), pages::sign_in::or_sign_in));
    Router::new()
        .merge(pages)
        .merge(ui::assets::routes())
        .merge(api::routes::routes(&ops))
        .route("/sign-in", get(pages::sign_in::page).post(pages::sign_in::sign_in))
        .route("/sign-out", post(pages::sign_in::sign_out))
        .route("/livez", get(ops::health::livez))
        .route("/readyz", get(ops::health::readyz))
        .route("/metrics", get(ops::health::metrics))
        .fallback(ui::error::not_found)
        .layer(from_fn(ops::compression::compressed))
        .layer(from_fn_with_state(ops.clone(), ops::auth::guard))
        .with_state(ops)
}
