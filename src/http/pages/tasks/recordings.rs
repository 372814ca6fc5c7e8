//! Recordings: a list, and one with its files and what each event reported.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};

use crate::http::ops::path_segment;
use crate::http::ops::state::Ops;
use crate::http::pages::anomalies::{AnomalyRow, row};
use crate::http::query::Query;
use crate::http::ui::error::PageError;
use crate::http::ui::filters::Form;
use crate::http::ui::html::{
    Html, account_or, badge, call_href, copyable, event_href, id, link, moment_behind, nothing,
    number, search_href, time, time_or, words,
};
use crate::http::ui::page::{Listed, Paged, Reading, answered, app, done, listed};
use crate::http::ui::recordings::{FileRow, RecordingRow, file, left, recording};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{AnomalyFilter, Recording, RecordingFilter, RecordingStep};
use protocol::UnixMillis;

/// How many files are shown.
const FILES_MAX: usize = 200;

#[derive(Template)]
#[template(path = "recording_list.html")]
struct List {
    shell: Shell,
    form: Form,
    rows: Vec<(RecordingRow, Html)>,
    older: Option<String>,
    is_later: bool,
}

/// `GET /recordings`
pub(crate) async fn list(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    let Listed { filter, form, rows, older, is_later, now } =
        listed::<RecordingFilter>(&ops, "/recordings", query.as_deref()).await?;
    let rows = rows.iter().map(|task| (recording(task, now), recorded(task))).collect();
    let shell = Shell::new("Recordings", Section::Recordings, now).within(&ops, filter.app);
    answered(form.is_good(), &List { shell, form, rows, older, is_later })
}

/// What is recorded: the call, else the room.
fn recorded(task: &Recording) -> Html {
    match (&task.call_id, &task.room_id) {
        (Some(call), _) => link(&call_href(task.sdk_app_id, call), call),
        (None, Some(room)) => link(&search_href(room), room),
        (None, None) => nothing(),
    }
}

#[derive(Template)]
#[template(path = "recording.html")]
struct One {
    shell: Shell,
    id: Html,
    state: Html,
    reason: Html,
    left: Html,
    message: String,
    facts: Vec<(&'static str, Html)>,
    files: Vec<FileRow>,
    files_cut: Option<String>,
    steps: Vec<Step>,
    steps_cut: bool,
    anomalies: Vec<AnomalyRow>,
}

/// What one event reported.
struct Step {
    at: Html,
    what: Html,
    state: Html,
    detail: String,
    reporter: String,
}

/// `GET /recordings/{app}/{task_id}`
pub(crate) async fn page(
    State(ops): State<Arc<Ops>>,
    Path((app_id, task_id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Paged {
    Query::read(query.as_deref()).only(&["app"])?;
    let reading = Reading::of(&ops).await?;
    let (store, now) = (reading.store, reading.now);
    let (app, task_id) = (app(&app_id)?, path_segment::id(&task_id));
    let task = store.recording(app, &task_id).await?.ok_or_else(|| {
        PageError::NotFound(format!("No event names a recording “{task_id}” of app {app_id}."))
    })?;
    let steps = store.recording_steps(app, &task_id).await?;
    let about = AnomalyFilter {
        subject: Some(task_id.clone()),
        app: Some(app),
        limit: 20,
        ..AnomalyFilter::default()
    };
    let anomalies = store.anomalies(&about).await?;
    let anomalies = anomalies.iter().filter(|anomaly| anomaly.kind.starts_with("recording_"));
    let title = format!("Recording {task_id}");
    done(&One {
        shell: Shell::new(title, Section::Recordings, now).within(&ops, Some(app)),
        id: copyable(&task_id),
        state: task.state.as_deref().map_or_else(nothing, badge),
        reason: task.end_reason.as_deref().map_or_else(Html::default, badge),
        left: left(&task),
        message: task.message.clone().unwrap_or_default(),
        facts: facts(&task, now),
        files: task.files.iter().take(FILES_MAX).map(|it| file(task.sdk_app_id, it)).collect(),
        files_cut: files_cut(&task),
        steps: told(&steps.rows),
        steps_cut: steps.is_cut,
        anomalies: anomalies.map(|anomaly| row(anomaly, now)).collect(),
    })
}

fn files_cut(task: &Recording) -> Option<String> {
    let count = i64::try_from(task.files.len()).unwrap_or(i64::MAX);
    if task.files.len() > FILES_MAX {
        return Some(format!("Only the first {FILES_MAX} of {} are shown.", number(count)));
    }
    task.files_cut.then(|| "Files or long names are left out: the events have them.".to_owned())
}

fn facts(task: &Recording, now: UnixMillis) -> Vec<(&'static str, Html)> {
    let app = task.sdk_app_id;
    let call = task.call_id.as_deref().map(|call| link(&call_href(app, call), call));
    let room = task.room_id.as_deref().map(|room| link(&search_href(room), room));
    let code = task.leave_code.map(|code| id(&code.to_string()));
    let reporters = task.reporters.iter().map(|word| badge(word));
    vec![
        ("Call", call.unwrap_or_else(nothing)),
        ("Room", room.unwrap_or_else(nothing)),
        ("Recorder", account_or(app, task.recorder.as_deref())),
        ("Reported by", crate::http::ui::html::list(reporters)),
        ("Began", time(task.started_at, now)),
        ("Ended", time_or(task.ended_at, now)),
        ("LeaveCode", code.unwrap_or_else(nothing)),
        ("Last event", time(task.last_at, now)),
        ("App", id(&app.to_string())),
    ]
}

fn told(steps: &[RecordingStep]) -> Vec<Step> {
    let mut before = None;
    let told = steps.iter().map(|step| Step {
        at: moment_behind(step.at, before.replace(step.at)),
        what: words(&event_href(step.event_id), what(step)),
        state: step.state.as_deref().map_or_else(Html::default, badge),
        detail: detail(step),
        reporter: step.reporter.clone().unwrap_or_default(),
    });
    told.collect()
}

/// What an event says. Sources: trtc.io/document/54914, 45169, 72325.
fn what(step: &RecordingStep) -> &'static str {
    match (step.event_type, step.status) {
        (Some(301), Some(1)) => "recorder did not start",
        (Some(301), _) => "recorder started",
        (Some(302), _) => "recorder stopped",
        (Some(303), Some(1)) => "upload did not start",
        (Some(303), _) => "upload started",
        (Some(304), _) => "index file uploaded",
        (Some(305), Some(1)) => "upload ended, files left on the recorder",
        (Some(305), Some(2)) => "files left on the recorder were recovered",
        (Some(305), _) => "upload ended",
        (Some(306), _) => "recorder moved to another machine",
        (Some(307), _) => "first slice written",
        (Some(308), _) => "the storage refused an upload",
        (Some(309), _) => "an image could not be loaded",
        (Some(310), Some(1)) => "MP4 files ended, some left on the recorder",
        (Some(310), Some(2)) => "MP4 files ended with a failure",
        (Some(310), _) => "MP4 files uploaded",
        (Some(311), Some(1)) => "a file was left on the recorder",
        (Some(311), Some(2)) => "a file was not uploaded",
        (Some(311), _) => "a file was uploaded to video on demand",
        (Some(312), Some(1)) => "the task ended with a failure",
        (Some(312), _) => "the task ended",
        (Some(801), Some(1)) => "web page recording started",
        (Some(801), Some(2)) => "web page recording did not start",
        (Some(801), Some(3)) => "the recorder of the web page failed and is restarted",
        (Some(801), Some(4)) => "the recorder of the web page was moved",
        (Some(801), Some(5)) => "web page recording failed",
        (Some(802), _) => "web page recording stopped",
        (Some(803), Some(1)) => "the web page was loaded again",
        (Some(803), Some(2)) => "web page recording paused",
        (Some(803), Some(3)) => "web page recording resumed",
        (Some(804), Some(1)) => "web page recording reached its longest time",
        (Some(804), Some(2)) => "the web page has too large a video",
        _ => "another event",
    }
}

fn detail(step: &RecordingStep) -> String {
    let reason = step.end_reason.as_deref().map(|reason| reason.replace('_', " "));
    let code = step.leave_code.map(|code| format!("LeaveCode {code}"));
    let parts: Vec<String> = [reason, code, step.message.clone()].into_iter().flatten().collect();
    parts.join(" · ")
}
