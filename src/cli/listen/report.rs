//! What `listen` prints of each event: a line when it is sent, and one when it is answered.

use anyhow::Result;
use serde::Serialize;
use uuid::Uuid;

use crate::cli::output::{self, cell, seconds};
use forward::event_columns::EventColumns;
use forward::http::{Attempt, Failure};

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    /// One JSON object for each answer, and for each beginning of a wait.
    Json,
}

/// The result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// Answered 2xx.
    Taken,
    /// Answered otherwise.
    Rejected,
    /// Not answered to the end, and not sent again.
    Unanswered,
    /// Sent again in a moment.
    Waiting,
}

/// A try, as it is shown.
pub(super) struct Tried<'a> {
    pub(super) event: &'a EventColumns,
    pub(super) replay: bool,
    /// Which try that reached the receiver it is.
    pub(super) number: u32,
    pub(super) attempt: &'a Attempt,
    pub(super) outcome: Outcome,
    /// What to do, where something is.
    pub(super) hint: Option<&'static str>,
    /// For how many s the receiver was away before it answered.
    pub(super) away_s: Option<i64>,
}

#[derive(Serialize)]
struct Line<'a> {
    id: Uuid,
    command: &'a str,
    app: String,
    call_id: Option<&'a str>,
    room_id: Option<&'a str>,
    /// Absent for events that are sent again.
    position: Option<i64>,
    replay: bool,
    attempt: u32,
    outcome: Outcome,
    status: Option<u16>,
    duration_ms: u64,
    error: Option<String>,
    hint: Option<&'a str>,
}

impl Form {
    /// An event is about to be sent.
    pub(super) fn sending(self, event: &EventColumns, replay: bool) -> Result<()> {
        if self == Self::Json {
            return Ok(());
        }
        let again = if replay { " (again)" } else { "" };
        output::print(&format!("--> {} {}{again}\n", cell(Some(&event.command)), event.id))
    }

    /// The result of an attempt.
    pub(super) fn tried(self, tried: &Tried<'_>, origin: &str) -> Result<()> {
        let Tried { event, replay, number, attempt, outcome, hint, away_s } = *tried;
        let error = attempt.failure.as_ref().map(|failure| problem(failure, origin));
        if self == Self::Text {
            return output::print(&format!("<-- {}\n", text(tried, error.as_deref(), away_s)));
        }
        let line = Line {
            id: event.id,
            command: &event.command,
            app: event.app.to_string(),
            call_id: event.call_id.as_deref(),
            room_id: event.room_id.as_deref(),
            position: Some(event.position).filter(|position| *position > 0),
            replay,
            attempt: number,
            outcome,
            status: attempt.status,
            duration_ms: u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
            error,
            hint,
        };
        output::print_json(&format!("{}\n", serde_json::to_string(&line)?))
    }
}

fn text(tried: &Tried<'_>, error: Option<&str>, away_s: Option<i64>) -> String {
    let Attempt { status, duration, excerpt, .. } = tried.attempt;
    let answer = match (status, error) {
        (Some(status), Some(error)) => format!("{status} {} ms: {error}", duration.as_millis()),
        (Some(status), None) => format!("{status} {} ms", duration.as_millis()),
        (None, error) => error.unwrap_or("no answer").to_owned(),
    };
    let is_quoted = tried.outcome == Outcome::Rejected && error.is_none();
    let quoted = excerpt.trim().lines().next().filter(|line| is_quoted && !line.is_empty());
    let quoted = quoted.map(|line| format!(": {}", cell(Some(line))));
    let away = away_s.map(|away_s| format!(", after it was away for {}", seconds(away_s)));
    let hint = tried.hint.map(|hint| format!("\n    hint: {hint}"));
    let rest = [quoted, away, hint].into_iter().flatten().collect::<String>();
    answer + &rest
}

/// In the words of somebody who has just started a service, or not yet.
fn problem(failure: &Failure, origin: &str) -> String {
    if failure.detail.contains("refused") && failure.is_unsent() {
        return format!("nothing listens at {origin}");
    }
    failure.to_string()
}
