//! The only module that knows axum. All routes but those of callbacks stand here.

mod api;
mod cursor;
mod destinations;
mod listener;
mod live_tail;
mod observer;
mod ops;
mod pages;
pub(crate) mod problem;
mod query;
mod ui;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

pub use crate::http::listener::accept::{Limits, serve};
pub(crate) use crate::http::listener::fd_limit::{connections_allowed, descriptors_needed};
pub use crate::http::listener::stop::Stop;
pub use crate::http::listener::tls::{Tls, TlsError, certificate_expiry};
pub use crate::http::observer::RequestObserver;
pub(crate) use crate::http::ops::read_limiter::ReadLimiter;
pub(crate) use crate::http::ops::setup::{Addresses, AppSetup, DestinationSetup, Setup, Sources};
pub(crate) use crate::http::ops::state::Ops;
pub(crate) use crate::http::ops::store_handle::StoreHandle;

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
