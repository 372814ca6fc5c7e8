//! The JSON API under `/api/v1`.

pub(crate) mod calls;
pub(crate) mod columns;
pub(crate) mod event_stream;
pub(crate) mod events;
pub(crate) mod list;
pub(crate) mod openapi;
pub(crate) mod params;
pub(crate) mod request;
pub(crate) mod rooms;
pub(crate) mod routes;
pub(crate) mod statistics;
