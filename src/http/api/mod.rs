//! The JSON API under `/api/v1`.

pub(crate) mod columns;
pub(crate) mod endpoints;
pub(crate) mod list;
pub(crate) mod openapi;
pub(crate) mod params;
pub(crate) mod request;
pub(crate) mod webhooks;
