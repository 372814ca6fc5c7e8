//! Cloud tasks of the RTC Engine.

use axum::response::Response;

use crate::http::api::list;
use crate::http::api::params::{ListQuery, QueryOf};
use crate::http::api::request::ApiRequest;
use crate::http::problem::Problem;
use crate::store::{RtcTask, RtcTaskFilter};

/// Cloud tasks of the RTC Engine (relay, ingest, AI, slicing, moderation, transcription) by time of their first event, newest first.
#[utoipa::path(get, path = "/rtc-tasks", tag = "rtc tasks", params(QueryOf<(RtcTaskFilter, ListQuery)>),
    responses((status = 200, body = list::Items<RtcTask>)))]
pub(crate) async fn rtc_tasks(request: ApiRequest) -> Result<Response, Problem> {
    request.answer(RtcTaskFilter::default()).await
}
