//! Recordings: the list, and one with what each event reported.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::api::list;
use crate::http::api::params::{ListQuery, QueryOf, app_of_path};
use crate::http::api::request::{ApiRequest, PathOf};
use crate::http::ops::path_segment;
use crate::http::problem::Problem;
use crate::store::{Recording, RecordingFilter, RecordingStep};

/// Recordings by time of their first event, newest first, whether call, live room or RTC Engine reported them.
#[utoipa::path(get, path = "/recordings", tag = "recordings", params(QueryOf<(RecordingFilter, ListQuery)>),
    responses((status = 200, body = list::Items<Recording>)))]
pub(crate) async fn recordings(request: ApiRequest) -> Result<Response, Problem> {
    request.answer(RecordingFilter::default()).await
}

/// A recording with what each event reported.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordingDetail {
    #[serde(flatten)]
    recording: Recording,
    /// Its events by time: the first 1000.
    steps: Vec<RecordingStep>,
    /// Whether later events are left out.
    steps_cut: bool,
}

/// A task.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TaskPath {
    /// `SDKAppID`.
    #[param(value_type = i64)]
    pub(crate) app: String,
    /// Task id, percent-encoded.
    pub(crate) task_id: String,
}

/// One recording with what each event reported.
#[utoipa::path(get, path = "/recordings/{app}/{task_id}", tag = "recordings",
    params(TaskPath), responses((status = 200, body = RecordingDetail)))]
pub(crate) async fn recording(
    request: ApiRequest,
    PathOf(TaskPath { app, task_id }): PathOf<TaskPath>,
) -> Result<Response, Problem> {
    request.read(())?;
    let (app, task_id) = (app_of_path(&app)?, path_segment::id(&task_id));
    let reading = &request.ops.reading;
    let store = reading.store()?;
    let question = async {
        let Some(recording) = store.recording(app, &task_id).await? else { return Ok(None) };
        Ok(Some((recording, store.recording_steps(app, &task_id).await?)))
    };
    let found = reading.ask(question).await?;
    let (recording, steps) = found.ok_or_else(|| Problem::not_found("recording not found"))?;
    list::json(&RecordingDetail { recording, steps: steps.rows, steps_cut: steps.is_cut })
}
