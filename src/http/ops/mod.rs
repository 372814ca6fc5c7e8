//! The operations listener: health, metrics, sign-in, and what the API and the dashboard share of it.

pub(crate) mod auth;
pub(crate) mod compression;
pub(crate) mod guess_limit;
pub(crate) mod health;
pub(crate) mod path_segment;
pub(crate) mod read_limiter;
pub(crate) mod session;
pub(crate) mod setup;
pub(crate) mod state;
pub(crate) mod store_handle;
pub(crate) mod store_ping;
