//! How far a destination is, what is wrong with it, and what to do.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::ops::setup::Setup;
use crate::http::ui::html::{clock, number, span};
use crate::store::{Backlog, DestinationRow, Store, StoreError};
use protocol::UnixMillis;

/// What was stored so long before the first skipped event is sent again, too: it is received before it is stored.
const SKIPPED_MARGIN: Duration = Duration::from_mins(1);

/// A destination of forwarding.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct DestinationStatus {
    /// Its name.
    pub(crate) name: String,
    /// `http` or `nats`; null if this server's configuration does not have it.
    pub(crate) kind: Option<String>,
    /// Its URL without path and query; null if this server's configuration does not have it.
    pub(crate) url: Option<String>,
    /// Whether this server's configuration has it.
    pub(crate) is_configured: bool,
    /// Whether the definition in force differs from the one of this server's configuration.
    pub(crate) is_defined_differently: bool,
    /// Whether a server forwards to it now.
    pub(crate) is_served: bool,
    /// `running`, `failing`, `paused` or `misconfigured`.
    pub(crate) state: String,
    /// Why it does not run: `by_hand`, `gone` (it answered 410), `failing`, `misconfigured`, `too_many_waiting` or `resumed`;
    /// null while it runs.
    pub(crate) reason: Option<String>,
    /// Since when it does not run; null while it runs.
    pub(crate) failing_since: Option<UnixMillis>,
    /// When it was created: events stored before then are not for it.
    pub(crate) created_at: UnixMillis,
    /// Every event up to this position is delivered, not for it, gone, or an exception.
    pub(crate) position: i64,
    /// Events behind its position, estimated if there are very many.
    pub(crate) backlog_events: i64,
    /// For how long the oldest of them has been stored, in ms; 0 if there is none.
    pub(crate) lag_ms: i64,
    /// Events that failed and wait for their next attempt, or are to be sent again.
    pub(crate) waiting: i64,
    /// Events that were given up: dead letters.
    pub(crate) dead: i64,
    /// Events that were skipped as the backlog was longer than its bound.
    pub(crate) skipped: i64,
    /// When the first of them was stored.
    pub(crate) skipped_from: Option<UnixMillis>,
    /// When the last of them was stored.
    pub(crate) skipped_until: Option<UnixMillis>,
    /// What went wrong last, without what the destination answered.
    pub(crate) last_error: Option<String>,
}

/// Something that somebody should know or do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    pub(crate) text: String,
    /// The command that helps, without the program's name.
    pub(crate) command: Option<String>,
    /// Whether events are lost or late without it.
    pub(crate) is_bad: bool,
}

/// All destinations, by name.
pub(crate) async fn read(
    store: &dyn Store,
    setup: &Setup,
) -> Result<Vec<DestinationStatus>, StoreError> {
    let rows = store.destinations().await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut backlogs = store.destination_backlogs().await?;
    let status = |row: DestinationRow| {
        let backlog = backlogs.remove(&row.name).unwrap_or_default();
        DestinationStatus::new(row, backlog, setup)
    };
    Ok(rows.into_iter().map(status).collect())
}

impl DestinationStatus {
    fn new(row: DestinationRow, backlog: Backlog, setup: &Setup) -> Self {
        let configured = setup.destination(&row.name);
        let span = row.skipped.span;
        Self {
            kind: configured.map(|destination| destination.kind.to_owned()),
            url: configured.map(|destination| destination.url.clone()),
            is_configured: configured.is_some(),
            is_defined_differently: configured
                .is_some_and(|destination| destination.definition_hash != row.definition_hash),
            is_served: row.lease_ms.is_some_and(|left| left >= 0),
            name: row.name,
            state: row.state.state,
            reason: row.state.reason,
            failing_since: row.state.failing_since,
            created_at: row.created_at,
            position: row.position.number(),
            backlog_events: backlog.events,
            lag_ms: backlog.lag_ms,
            waiting: backlog.waiting,
            dead: backlog.dead,
            skipped: row.skipped.events,
            skipped_from: span.map(|span| span.0),
            skipped_until: span.map(|span| span.1),
            last_error: row.last_error,
        }
    }

    /// What to know and to do, the most urgent first.
    pub(crate) fn advice(&self, backlog_age_max: Option<Duration>) -> Vec<Advice> {
        let name = &self.name;
        let bad = |text: String, command: Option<String>| Advice { text, command, is_bad: true };
        let note = |text: &str, command: Option<String>| Advice {
            text: text.to_owned(),
            command,
            is_bad: false,
        };
        let mut all = Vec::new();
        let lag = Duration::from_millis(self.lag_ms.max(0).unsigned_abs());
        if backlog_age_max.is_some_and(|most| lag >= most) {
            let text = format!(
                "Its oldest event has waited for {}: retention will soon delete events before they are sent. Fix the \
                 destination, or raise retention.events_days.",
                span(self.lag_ms)
            );
            all.push(bad(text, None));
        }
        if !self.is_configured {
            let text = "This server's configuration does not have it. If that of no server does, free its place and backlog:";
            all.push(note(text, Some(format!("forward remove {name}"))));
        } else if self.is_defined_differently {
            let text = "The server that forwards has another definition of it: give all servers the same [[forward]] tables.";
            all.push(bad(text.to_owned(), None));
        }
        if self.is_configured && !self.is_served {
            let text = "No server forwards to it now: the log of this one says why.";
            all.push(bad(text.to_owned(), None));
        }
        all.extend(self.advice_of_state());
        if self.skipped > 0 {
            let span = self.skipped_from.zip(self.skipped_until);
            let command = span.map(|(from, until)| {
                let (since, until) =
                    (from.minus(SKIPPED_MARGIN), until.plus(Duration::from_secs(1)));
                format!("forward replay {name} --since {since} --until {until}")
            });
            let when = match span {
                Some((from, until)) => {
                    format!(", stored from {} to {}", clock(from, false), clock(until, false))
                }
                None => String::new(),
            };
            let text = format!(
                "{} events were skipped, as the backlog was longer than forwarding.backlog_events_max{when}.",
                number(self.skipped)
            );
            all.push(bad(text, command));
        }
        if self.dead > 0 {
            let text = match self.dead {
                1 => "1 dead letter. Once the destination takes it, send it again:".to_owned(),
                dead => {
                    let dead = number(dead);
                    format!(
                        "{dead} dead letters. Once the destination takes them, send them again:"
                    )
                }
            };
            all.push(bad(text, Some(format!("forward retry {name} --dead"))));
        }
        all
    }

    fn advice_of_state(&self) -> Option<Advice> {
        let resume = || Some(format!("forward resume {}", self.name));
        let (text, command) = match (self.state.as_str(), self.reason.as_deref()) {
            ("paused", Some("gone")) => (
                "It answered 410, so nothing is sent any more. Its backlog is kept. See that it wants events, then resume it:",
                resume(),
            ),
            ("paused", _) => ("Somebody paused it. Its backlog is kept. To send again:", resume()),
            ("misconfigured", _) => (
                "Nothing can be sent as it is configured. This checks its URL, name, files and secrets:",
                Some("doctor".to_owned()),
            ),
            ("failing", Some("too_many_waiting")) => (
                "Too many events fail for each to be at fault. One is tried every minute or so; its backlog is kept.",
                None,
            ),
            ("failing", _) => (
                "It fails. One event is tried after 1, 2, 4 … 60 s; its backlog is kept, and no event uses up an attempt.",
                None,
            ),
            _ => return None,
        };
        Some(Advice { text: text.to_owned(), command, is_bad: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_that_is_soon_deleted_comes_first() {
        let status = DestinationStatus {
            name: "billing".to_owned(),
            kind: Some("http".to_owned()),
            url: Some("https://billing.example".to_owned()),
            is_configured: true,
            is_defined_differently: false,
            is_served: true,
            state: "paused".to_owned(),
            reason: Some("gone".to_owned()),
            failing_since: Some(UnixMillis(0)),
            created_at: UnixMillis(0),
            position: 511,
            backlog_events: 9,
            lag_ms: 7_200_000,
            waiting: 0,
            dead: 1,
            skipped: 0,
            skipped_from: None,
            skipped_until: None,
            last_error: None,
        };
        let old = status.advice(Some(Duration::from_hours(2)));
        assert!(old[0].text.starts_with("Its oldest event has waited for 2 h 0 min"), "{old:?}");
        let advice = status.advice(Some(Duration::from_hours(3)));
        assert_eq!(advice, status.advice(None));
        let commands: Vec<_> = advice.iter().filter_map(|one| one.command.as_deref()).collect();
        assert_eq!(commands, ["forward resume billing", "forward retry billing --dead"]);
        let running = DestinationStatus { state: "running".to_owned(), dead: 0, ..status };
        assert_eq!(running.advice(None), []);
    }
}
