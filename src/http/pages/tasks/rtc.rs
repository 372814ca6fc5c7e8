//! Cloud tasks of the RTC Engine: a list, and one with what its events reported and what was said.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};

use crate::http::ops::path_segment;
use crate::http::ops::state::Ops;
use crate::http::pages::anomalies::{AnomalyRow, row as anomaly_row};
use crate::http::query::Query;
use crate::http::ui::error::PageError;
use crate::http::ui::filters::Form;
use crate::http::ui::html::{
    Html, account_or, badge, copyable, event_href, id, link, list as pieces, moment_behind,
    nothing, number, rtc_task_href, search_href, stayed, time, time_or, visible, words,
};
use crate::http::ui::page::{Listed, Paged, Reading, answered, app, done, listed};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{
    AnomalyFilter, DIALOGUE_LINES_MAX, RtcTask, RtcTaskFilter, RtcTaskStep, StoredEvent,
};
use protocol::UnixMillis;
use protocol::body::decoded::Body;
use protocol::body::rtc::event::RtcBody;

/// How many steps are shown.
const STEPS_MAX: usize = 500;

#[derive(Template)]
#[template(path = "rtc_tasks.html")]
struct List {
    shell: Shell,
    form: Form,
    rows: Vec<TaskRow>,
    older: Option<String>,
    is_later: bool,
}

/// A task, as a row of a table.
struct TaskRow {
    task: Html,
    kind: String,
    first: Html,
    state: Html,
    room: Html,
    lasted: String,
    reason: Html,
    counts: String,
    error: String,
}

/// `GET /rtc-tasks`
pub(crate) async fn list(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    let Listed { filter, form, rows, older, is_later, now } =
        listed::<RtcTaskFilter>(&ops, "/rtc-tasks", query.as_deref()).await?;
    let rows = rows.iter().map(|task| row(task, now)).collect();
    let shell = Shell::new("Tasks", Section::RtcTasks, now).within(&ops, filter.app);
    answered(form.is_good(), &List { shell, form, rows, older, is_later })
}

fn row(task: &RtcTask, now: UnixMillis) -> TaskRow {
    TaskRow {
        task: link(&rtc_task_href(task.sdk_app_id, &task.task_id), &task.task_id),
        kind: kind(&task.kind),
        first: time(task.first_at, now),
        state: badge(&task.state),
        room: room(task),
        lasted: stayed(task.started_at.unwrap_or(task.first_at), task.ended_at, now),
        reason: task.end_reason.as_deref().map_or_else(Html::default, badge),
        counts: counts(task),
        error: error(task.error_code.as_deref(), task.error_message.as_deref()),
    }
}

fn kind(word: &str) -> String {
    match word {
        "ai" => "AI".to_owned(),
        "ai_conversation" => "AI conversation".to_owned(),
        word => word.to_owned(),
    }
}

fn room(task: &RtcTask) -> Html {
    task.room_id.as_deref().map_or_else(nothing, |room| link(&search_href(room), room))
}

/// What was counted of it.
fn counts(task: &RtcTask) -> String {
    let counts = [
        (task.messages, "messages"),
        (task.checks, "checks"),
        (task.hits, "hits"),
        (task.files, "files"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let words = |(count, what): &(i64, &str)| match count {
        1 => format!("1 {}", what.trim_end_matches('s')),
        count => format!("{} {what}", number(*count)),
    };
    let counts: Vec<String> = counts.map(words).collect();
    if counts.is_empty() { "–".to_owned() } else { counts.join(", ") }
}

fn error(code: Option<&str>, message: Option<&str>) -> String {
    let parts: Vec<&str> = [code, message].into_iter().flatten().collect();
    visible(&parts.join(" · ")).into_owned()
}

#[derive(Template)]
#[template(path = "rtc_task.html")]
struct One {
    shell: Shell,
    kind: String,
    id: Html,
    state: Html,
    reason: Html,
    error: String,
    facts: Vec<(&'static str, Html)>,
    steps: Vec<Step>,
    steps_cut: bool,
    lines: Vec<Line>,
    lines_max: Option<u32>,
    anomalies: Vec<AnomalyRow>,
}

/// What one event reported.
struct Step {
    at: Html,
    what: Html,
    state: Html,
    detail: String,
}

/// What was said.
struct Line {
    at: Html,
    who: Html,
    text: String,
    kind: &'static str,
    event: Html,
}

/// `GET /rtc-tasks/{app}/{task_id}`
pub(crate) async fn page(
    State(ops): State<Arc<Ops>>,
    Path((app_id, task_id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Paged {
    Query::read(query.as_deref()).only(&["app"])?;
    let reading = Reading::of(&ops).await?;
    let (store, now) = (reading.store, reading.now);
    let (app, task_id) = (app(&app_id)?, path_segment::id(&task_id));
    let task = store.rtc_task(app, &task_id).await?.ok_or_else(|| {
        PageError::NotFound(format!("No event names a task “{task_id}” of app {app_id}."))
    })?;
    let steps = store.rtc_task_steps(app, &task_id).await?;
    let said = store.dialogue(app, &task_id).await?;
    let about = AnomalyFilter {
        subject: Some(task_id.clone()),
        app: Some(app),
        limit: 20,
        ..AnomalyFilter::default()
    };
    let anomalies = store.anomalies(&about).await?;
    let anomalies = anomalies.iter().filter(|anomaly| anomaly.kind.starts_with("rtc_task_"));
    done(&One {
        shell: Shell::new(format!("Task {task_id}"), Section::RtcTasks, now)
            .within(&ops, Some(app)),
        kind: kind(&task.kind),
        id: copyable(&task_id),
        state: badge(&task.state),
        reason: task.end_reason.as_deref().map_or_else(Html::default, badge),
        error: error(task.error_code.as_deref(), task.error_message.as_deref()),
        facts: facts(&task, now),
        steps: told(&steps.rows),
        steps_cut: steps.is_cut || steps.rows.len() > STEPS_MAX,
        lines_max: (said.len() >= DIALOGUE_LINES_MAX as usize).then_some(DIALOGUE_LINES_MAX),
        lines: lines(task.sdk_app_id, said),
        anomalies: anomalies.map(|anomaly| anomaly_row(anomaly, now)).collect(),
    })
}

fn facts(task: &RtcTask, now: UnixMillis) -> Vec<(&'static str, Html)> {
    let app = task.sdk_app_id;
    let code = task.leave_code.map(|code| id(&code.to_string()));
    let kind = task.room_id_kind.as_deref().map(badge);
    let url = task.url.as_deref().map(id);
    vec![
        ("Room", pieces([room(task)].into_iter().chain(kind))),
        ("Robot", account_or(app, task.robot.as_deref())),
        ("Pushed to", url.unwrap_or_else(nothing)),
        ("Counted", id(&counts(task))),
        ("First event", time(task.first_at, now)),
        ("Started", time_or(task.started_at, now)),
        ("Ended", time_or(task.ended_at, now)),
        ("LeaveCode", code.unwrap_or_else(nothing)),
        ("Last event", time(task.last_at, now)),
        ("App", id(&app.to_string())),
    ]
}

fn told(steps: &[RtcTaskStep]) -> Vec<Step> {
    let mut before = None;
    let told = steps.iter().take(STEPS_MAX).map(|step| Step {
        at: moment_behind(step.at, before.replace(step.at)),
        what: words(&event_href(step.event_id), step.event_name.as_deref().unwrap_or("event")),
        state: step.state.as_deref().map_or_else(Html::default, badge),
        detail: detail(step),
    });
    told.collect()
}

fn detail(step: &RtcTaskStep) -> String {
    let reason = step.end_reason.as_deref().map(|reason| reason.replace('_', " "));
    let code = step.leave_code.map(|code| format!("LeaveCode {code}"));
    let error = error(step.error_code.as_deref(), step.error_message.as_deref());
    let url = step.url.as_deref().map(|url| visible(url).into_owned());
    let error = Some(error).filter(|text| !text.is_empty());
    let parts: Vec<String> = [reason, code, error, url].into_iter().flatten().collect();
    parts.join(" · ")
}

/// What was said, by time. A robot's answer is told when it is made, and again as far as it was spoken.
fn lines(app: i64, said: Vec<StoredEvent>) -> Vec<Line> {
    let mut before = None;
    let line = |event: StoredEvent| {
        let (at, event_id) = (event.event_time, event.id);
        let event = event.into_event();
        let Body::Rtc(body) = &event.body else { return None };
        let (RtcBody::Ai(body) | RtcBody::Transcription(body) | RtcBody::AiConversation(body)) =
            &**body
        else {
            return None;
        };
        let payload = body.event_info.as_ref()?.payload.as_ref()?;
        let kind = match body.event_type.map(|number| number.0) {
            Some(905) => "spoken",
            Some(1404) => "translated",
            _ => "said",
        };
        Some(Line {
            at: moment_behind(at, before.replace(at)),
            who: account_or(app, payload.speaker().map(protocol::json::scalar::AccountId::as_str)),
            text: visible(payload.text.as_deref()?).into_owned(),
            kind,
            event: words(&event_href(event_id), "event"),
        })
    };
    said.into_iter().filter_map(line).collect()
}
