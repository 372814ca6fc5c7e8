//! The only module that knows axum. All routes but those of callbacks stand here.

mod access;
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
mod routes;
mod ui;

pub use crate::http::listener::accept::{Limits, serve};
pub(crate) use crate::http::listener::fd_limit::{connections_allowed, descriptors_needed};
pub use crate::http::listener::stop::Stop;
pub use crate::http::listener::tls::{Tls, TlsError, certificate_expiry};
pub use crate::http::observer::RequestObserver;
pub(crate) use crate::http::ops::read_limiter::ReadLimiter;
pub(crate) use crate::http::ops::setup::{Addresses, AppSetup, DestinationSetup, Setup, Sources};
pub(crate) use crate::http::ops::state::Ops;
pub(crate) use crate::http::ops::store_handle::StoreHandle;
pub(crate) use crate::http::routes::ops_router;
