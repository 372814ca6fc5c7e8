//! Cloud tasks of the RTC Engine.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::api::endpoints::recordings::TaskPath;
use crate::http::api::list;
use crate::http::api::params::{ListQuery, QueryOf, app_of_path};
use crate::http::api::request::{ApiRequest, PathOf};
use crate::http::ops::path_segment;
use crate::http::problem::Problem;
use crate::store::{RtcTask, RtcTaskFilter, RtcTaskStep};

/// Cloud tasks of the RTC Engine (relay, ingest, AI, slicing, moderation, transcription) by time of their first event, newest first.
#[utoipa::path(get, path = "/rtc-tasks", tag = "rtc tasks", params(QueryOf<(RtcTaskFilter, ListQuery)>),
    responses((status = 200, body = list::Items<RtcTask>)))]
pub(crate) async fn rtc_tasks(request: ApiRequest) -> Result<Response, Problem> {
    request.answer(RtcTaskFilter::default()).await
}

/// A cloud task with what its events reported.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RtcTaskDetail {
    #[serde(flatten)]
    task: RtcTask,
    /// The events that changed its state or reported an error, by time: the first 1000.
    steps: Vec<RtcTaskStep>,
    /// Whether later events are left out.
    steps_cut: bool,
}

/// One cloud task with its changes and errors.
#[utoipa::path(get, path = "/rtc-tasks/{app}/{task_id}", tag = "rtc tasks",
    params(TaskPath), responses((status = 200, body = RtcTaskDetail)))]
pub(crate) async fn rtc_task(
    request: ApiRequest,
    PathOf(TaskPath { app, task_id }): PathOf<TaskPath>,
) -> Result<Response, Problem> {
    request.read(())?;
    let (app, task_id) = (app_of_path(&app)?, path_segment::id(&task_id));
    let reading = &request.ops.reading;
    let store = reading.store()?;
    let question = async {
        let Some(task) = store.rtc_task(app, &task_id).await? else { return Ok(None) };
        Ok(Some((task, store.rtc_task_steps(app, &task_id).await?)))
    };
    let found = reading.ask(question).await?;
    let (task, steps) = found.ok_or_else(|| Problem::not_found("task not found"))?;
    list::json(&RtcTaskDetail { task, steps: steps.rows, steps_cut: steps.is_cut })
}
