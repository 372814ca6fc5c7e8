//! The only place that knows axum. All routes stand here.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

mod callbacks;
mod connection;
mod descriptors;
mod exchange;
mod ops;
mod places;
mod rejections;
mod replays;
mod room;
mod serve;
mod session;
mod tls;

pub use callbacks::Receiver;
pub(crate) use descriptors::{connections_allowed, descriptors_needed};
pub(crate) use ops::{Keeping, Ops};
pub use serve::{Limits, serve};
pub use tls::{Tls, TlsError, certificate_expiry};

/// The vendor's callbacks on these paths, to be mounted in an app of your own.
///
/// # Panics
/// When a path does not begin with `/` or stands twice.
pub fn callback_router(receiver: Receiver, paths: &[String]) -> Router {
    callback_routes(Arc::new(receiver), paths)
}

/// The public listener: the vendor's callbacks and nothing else.
pub(crate) fn public_router(receiver: Receiver, paths: &[String]) -> Router {
    let receiver = Arc::new(receiver);
    let elsewhere = Router::new().fallback(callbacks::not_found).with_state(receiver.clone());
    callback_routes(receiver, paths).fallback_service(elsewhere)
}

fn callback_routes(receiver: Arc<Receiver>, paths: &[String]) -> Router {
    let callback = post(callbacks::receive).fallback(callbacks::method_not_allowed);
    let add = |router: Router<_>, path: &String| router.route(path, callback.clone());
    paths.iter().fold(Router::new(), add).with_state(receiver)
}

/// The operations listener, for the operators' own network.
pub(crate) fn ops_router(ops: Ops) -> Router {
    let ops = Arc::new(ops);
    // The dashboard's routes come here, in the place of this one: `dashboard::routes()`. What a page needs before one is
    // signed in, such as its stylesheet, goes beside `/sign-in` below.
    let pages = Router::new()
        .route("/", get(session::home))
        .route_layer(from_fn_with_state(ops.clone(), session::or_sign_in));
    Router::new()
        .merge(pages)
        .route("/sign-in", get(session::page).post(session::sign_in))
        .route("/sign-out", post(session::sign_out))
        .route("/livez", get(ops::livez))
        .route("/readyz", get(ops::readyz))
        .route("/metrics", get(ops::metrics))
        .layer(from_fn_with_state(ops.clone(), ops::guard))
        .with_state(ops)
}
