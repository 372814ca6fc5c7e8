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

/// What came of a try.
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
    position: i64,
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

    /// What came of it.
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
            position: event.position,
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
    let mut text = match (status, error) {
        (Some(status), _) => format!("{status} {} ms", duration.as_millis()),
        (None, error) => error.unwrap_or("no answer").to_owned(),
    };
    if let (Some(_), Some(error)) = (status, error) {
        text += &format!(": {error}");
    } else if tried.outcome == Outcome::Rejected && !excerpt.trim().is_empty() {
        text += &format!(": {}", cell(excerpt.trim().lines().next()));
    }
    if let Some(away_s) = away_s {
        text += &format!(", after it was away for {}", seconds(away_s));
    }
    match tried.hint {
        Some(hint) => format!("{text}\n    hint: {hint}"),
        None => text,
    }
}

/// In the words of somebody who has just started a service, or not yet.
fn problem(failure: &Failure, origin: &str) -> String {
    if failure.detail.contains("refused") && failure.is_unsent() {
        return format!("nothing listens at {origin}");
    }
    failure.to_string()
}
