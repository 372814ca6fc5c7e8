//! Destinations of forwarding: how far each is, and the events that it has not got. It reads only: what to do is a command.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Path, RawQuery, State};

use crate::http::destinations::status::{self, Advice, DestinationStatus};
use crate::http::ops::state::Ops;
use crate::http::query::Query;
use crate::http::ui::error::PageError;
use crate::http::ui::filters::{Form, FormBuilder};
use crate::http::ui::html::{
    Html, badge, destination_href, event_href, link, number, span, time, time_or, visible, words,
};
use crate::http::ui::page::{ListPage, Paged, Reading, answered, done, shown};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{ExceptionFilter, ExceptionView};
use crate::telemetry::Figures;
use protocol::UnixMillis;

#[derive(Template)]
#[template(path = "forward.html")]
struct List {
    shell: Shell,
    rows: Vec<Row>,
    advice: Vec<Told>,
    /// Configured ones that the store does not know yet.
    unknown: Vec<String>,
}

/// A destination, as a row of a table.
struct Row {
    name: Html,
    to: String,
    state: Html,
    since: Html,
    backlog: String,
    lag: String,
    waiting: String,
    dead: String,
    skipped: String,
    error: String,
}

/// What to do about a destination.
struct Told {
    name: String,
    advice: Vec<Advice>,
}

fn row(one: &DestinationStatus, now: UnixMillis) -> Row {
    Row {
        name: link(&destination_href(&one.name), &one.name),
        to: to(one),
        state: badge(&one.state),
        since: time_or(one.failing_since, now),
        backlog: number(one.backlog_events),
        lag: lag(one),
        waiting: number(one.waiting),
        dead: number(one.dead),
        skipped: number(one.skipped),
        error: said(one.last_error.as_deref()),
    }
}

fn to(one: &DestinationStatus) -> String {
    one.url
        .as_deref()
        .map_or_else(|| "not configured here".to_owned(), |url| visible(url).into_owned())
}

fn lag(one: &DestinationStatus) -> String {
    if one.backlog_events == 0 { "–".to_owned() } else { span(one.lag_ms) }
}

/// What was said elsewhere, as text to be read.
fn said(text: Option<&str>) -> String {
    visible(text.unwrap_or_default()).into_owned()
}

/// `GET /forward`
pub(crate) async fn list(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    Query::read(query.as_deref()).only(&["app"])?;
    let reading = Reading::of(&ops).await?;
    let (now, setup) = (reading.now, &ops.setup);
    let found = status::read(reading.store, setup).await?;
    let is_known = |name: &str| found.iter().any(|one| one.name == name);
    let unknown = setup.destinations.iter().filter(|destination| !is_known(&destination.name));
    let advice = found
        .iter()
        .map(|one| Told { name: one.name.clone(), advice: one.advice(setup.backlog_age_max) });
    done(&List {
        shell: Shell::new("Forwarding", Section::Forwarding, now),
        unknown: unknown.map(|destination| destination.name.clone()).collect(),
        advice: advice.filter(|told| !told.advice.is_empty()).collect(),
        rows: found.iter().map(|one| row(one, now)).collect(),
    })
}

#[derive(Template)]
#[template(path = "destination.html")]
struct One {
    shell: Shell,
    name: String,
    to: String,
    advice: Vec<Advice>,
    facts: Vec<(&'static str, Html)>,
    error: String,
    tries: Option<Tries>,
    form: Form,
    rows: Vec<ExceptionRow>,
    older: Option<String>,
    is_later: bool,
}

/// The tries of this server since its start.
struct Tries {
    results: Vec<(String, String)>,
    /// Within which time half of them were over, and 99 of 100.
    half: String,
    most: String,
}

/// An event that the destination has not got, as a row of a table.
struct ExceptionRow {
    event: Html,
    state: Html,
    attempts: String,
    status: String,
    error: String,
    failed: Html,
    next: Html,
    /// What sends it again; none where that was asked for.
    command: Option<String>,
}

/// `GET /forward/{name}`
pub(crate) async fn page(
    State(ops): State<Arc<Ops>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Paged {
    let reading = Reading::of(&ops).await?;
    let (now, setup) = (reading.now, &ops.setup);
    let found = status::read(reading.store, setup).await?;
    let missing = || PageError::NotFound(format!("There is no destination “{name}”."));
    let one = found.into_iter().find(|one| one.name == name).ok_or_else(missing)?;
    let query = Query::read(query.as_deref());
    let mut asked = FormBuilder::new(destination_href(&name), &query, now);
    let filter = ExceptionFilter { destination: name.clone(), ..ExceptionFilter::default() };
    let filter = asked.filter(filter, &ops.apps, &[]);
    let form = asked.done(&["after", "app"]);
    let ListPage { rows, older, is_later } =
        shown(reading.store, &filter, (&form, &query, "after")).await?;
    let page = One {
        shell: Shell::new(format!("{name} · Forwarding"), Section::Forwarding, now),
        to: to(&one),
        advice: one.advice(setup.backlog_age_max),
        facts: facts(&one, now),
        error: said(one.last_error.as_deref()),
        tries: tries(&Figures::read(ops.metrics.render()), &name),
        rows: rows.iter().map(|row| exception(&name, row, now)).collect(),
        form,
        older,
        is_later,
        name,
    };
    answered(page.form.is_good(), &page)
}

fn facts(one: &DestinationStatus, now: UnixMillis) -> Vec<(&'static str, Html)> {
    let text = |text: &str| crate::http::ui::html::text(text);
    let mut facts = vec![("State", badge(&one.state))];
    if let Some(reason) = one.reason.as_ref().filter(|reason| **reason != one.state) {
        facts.push(("Reason", text(&reason.replace('_', " "))));
    }
    if let Some(since) = one.failing_since {
        facts.push(("Since", time(since, now)));
    }
    facts.extend([
        ("In the backlog", text(&number(one.backlog_events))),
        ("Oldest waits for", text(&lag(one))),
        ("Waiting for a retry", text(&number(one.waiting))),
        ("Dead letters", text(&number(one.dead))),
        ("Skipped", text(&number(one.skipped))),
        ("Position", text(&number(one.position))),
        ("A server forwards", text(if one.is_served { "yes" } else { "no" })),
        ("Created", time(one.created_at, now)),
    ]);
    facts
}

/// What this server counted; none where it sent nothing.
fn tries(figures: &Figures, name: &str) -> Option<Tries> {
    let of = ("destination", name);
    #[expect(clippy::cast_possible_truncation, reason = "what is counted is a whole number")]
    let whole = |(word, count): (&str, f64)| (word.replace('_', " "), count as i64);
    let results = figures.within("trtc_forward_attempts_total", of, "result");
    let mut results: Vec<(String, i64)> = results.into_iter().map(whole).collect();
    results.retain(|(_, count)| *count > 0);
    // The text has them in another order each time.
    results.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    let buckets = figures.within("trtc_forward_attempt_seconds_bucket", of, "le");
    let within = |share| within(&buckets, share);
    let (half, most) = (within(0.5), within(0.99));
    let results = results.into_iter().map(|(word, count)| (word, number(count)));
    Some(Tries { results: results.collect(), half, most }).filter(|tries| !tries.results.is_empty())
}

/// Within which time this share of what a histogram counted was over: a bound of it.
fn within(buckets: &[(&str, f64)], share: f64) -> String {
    let seconds = |bound: &str| bound.parse().unwrap_or(f64::INFINITY);
    let mut bounds: Vec<(f64, f64)> =
        buckets.iter().map(|(bound, count)| (seconds(bound), *count)).collect();
    bounds.sort_by(|one, other| one.0.total_cmp(&other.0));
    let all = bounds.last().map_or(0.0, |(_, count)| *count);
    let found = bounds.iter().find(|(_, count)| *count >= all * share).map(|(bound, _)| *bound);
    match found.filter(|bound| bound.is_finite()) {
        Some(bound) => {
            let bound = Duration::from_secs_f64(bound).as_millis();
            format!("at most {}", span(i64::try_from(bound).unwrap_or(i64::MAX)))
        }
        None => "longer than is counted".to_owned(),
    }
}

fn exception(name: &str, row: &ExceptionView, now: UnixMillis) -> ExceptionRow {
    let event = match &row.command {
        Some(command) => words(&event_href(row.event_id), command),
        None => crate::http::ui::html::text("deleted"),
    };
    ExceptionRow {
        event,
        state: badge(&row.state),
        attempts: number(row.attempts),
        status: row.last_status.map_or_else(|| "–".to_owned(), |status| status.to_string()),
        error: said(row.last_error.as_deref()),
        failed: time_or(row.first_failed_at, now),
        next: time_or(row.next_at, now),
        command: (row.state != "replay")
            .then(|| format!("forward retry {name} --event {}", row.event_id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_lies_within_the_first_bound_that_has_it() {
        let buckets = [("+Inf", 100.0), ("0.1", 50.0), ("1", 98.0), ("60", 99.0)];
        assert_eq!(within(&buckets, 0.5), "at most 100 ms");
        assert_eq!(within(&buckets, 0.98), "at most 1 s");
        assert_eq!(within(&buckets, 0.99), "at most 1 min 0 s");
        assert_eq!(within(&buckets, 0.999), "longer than is counted");
        assert_eq!(within(&[], 0.5), "longer than is counted");
    }
}
