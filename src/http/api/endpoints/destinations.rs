//! Destinations of forwarding, and the events they have not got.

use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::api::list::{self, Items};
use crate::http::api::params::{ListQuery, QueryOf};
use crate::http::api::request::{ApiRequest, PathOf};
use crate::http::destinations::status::{self, DestinationStatus};
use crate::http::problem::Problem;
use crate::store::{ExceptionFilter, ExceptionView};

/// Destinations of forwarding, by name: those that are configured, and those that still have a place.
#[utoipa::path(get, path = "/destinations", tag = "forwarding",
    responses((status = 200, body = Items<DestinationStatus>)))]
pub(crate) async fn destinations(request: ApiRequest) -> Result<Response, Problem> {
    request.read(())?;
    let reading = &request.ops.reading;
    let store = reading.store()?;
    let items = reading.ask(status::read(&*store, &request.ops.setup)).await?;
    list::json(&Items { items, next: None })
}

/// The name of a destination, in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct DestinationPath {
    /// Name of the destination.
    #[param(pattern = "^[a-z0-9-]{1,32}$")]
    name: String,
}

/// Events that a destination has not got although its position is behind them: those that wait for their next try, dead letters, and
/// those to be sent again. The latest events first.
#[utoipa::path(get, path = "/destinations/{name}/exceptions", tag = "forwarding",
    params(DestinationPath, QueryOf<(ExceptionFilter, ListQuery)>),
    responses((status = 200, body = Items<ExceptionView>)))]
pub(crate) async fn exceptions(
    request: ApiRequest,
    PathOf(DestinationPath { name }): PathOf<DestinationPath>,
) -> Result<Response, Problem> {
    let filter = ExceptionFilter { destination: name.clone(), ..ExceptionFilter::default() };
    let (filter, page) = request.list(filter)?;
    let reading = &request.ops.reading;
    let store = reading.store()?;
    let known = reading.ask(store.destinations()).await?;
    drop(store);
    if !known.iter().any(|destination| destination.name == name) {
        return Err(Problem::not_found("destination not found"));
    }
    list::answer(reading, &page, filter).await
}
