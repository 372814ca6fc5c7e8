use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use crate::cli::forward::place::{Place, is_served, named};
use crate::cli::output::{self, cell, say, seconds};
use crate::store::{Backlog, DestinationRow};
use protocol::UnixMillis;

/// By how much more than the span that was skipped is replayed: events are received a moment before they are stored.
const SKIPPED_MARGIN: Duration = Duration::from_mins(1);

/// Show state, backlog and errors of each destination
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only this destination
    name: Option<String>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// A destination, as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    /// `running`, `failing`, `paused` or `misconfigured`.
    state: String,
    reason: Option<String>,
    failing_since: Option<UnixMillis>,
    /// Whether this command's configuration has it.
    is_configured: bool,
    /// Whether a server forwards to it now.
    is_served: bool,
    position: i64,
    backlog_events: i64,
    lag_ms: i64,
    waiting: i64,
    dead: i64,
    skipped: i64,
    skipped_from: Option<UnixMillis>,
    skipped_until: Option<UnixMillis>,
    /// Options of the replay that has not ended.
    replay: Option<String>,
    /// Events that wait to be sent again.
    replays: u32,
    last_error: Option<String>,
}

impl Shown {
    fn of(
        row: DestinationRow,
        backlog: Backlog,
        (replay, replays): (Option<String>, u32),
        is_configured: bool,
    ) -> Self {
        let span = row.skipped.span;
        Self {
            is_configured,
            is_served: is_served(&row),
            position: row.position.number(),
            backlog_events: backlog.events,
            lag_ms: backlog.lag_ms,
            waiting: backlog.waiting,
            dead: backlog.dead,
            skipped: row.skipped.events,
            skipped_from: span.map(|span| span.0),
            skipped_until: span.map(|span| span.1),
            replay,
            replays,
            name: row.name,
            state: row.state.state,
            reason: row.state.reason,
            failing_since: row.state.failing_since,
            last_error: row.last_error,
        }
    }

    /// All that is to be done. `backlog_age_max`: an older backlog is about to be deleted.
    fn advices(&self, backlog_age_max: Option<Duration>) -> Vec<String> {
        let name = &self.name;
        let replay = self.replay.as_ref().map(|replay| {
            format!("a replay has not ended: `forward replay {name} {replay}` goes on with it")
        });
        let span = self.skipped_from.zip(self.skipped_until);
        let skipped = span.filter(|_| self.replay.is_none()).map(|(from, until)| {
            let since = from.minus(SKIPPED_MARGIN);
            let until = until.plus(Duration::from_secs(1));
            format!(
                "events were skipped: `forward replay {name} --since {since} --until {until}` sends them; what was received in an outage and came out of the spool needs an earlier `--since`"
            )
        });
        [self.advice(backlog_age_max), replay, skipped].into_iter().flatten().collect()
    }

    /// What to do about its state, where something is.
    fn advice(&self, backlog_age_max: Option<Duration>) -> Option<String> {
        let name = &self.name;
        let lag = Duration::from_millis(self.lag_ms.max(0).unsigned_abs());
        if backlog_age_max.is_some_and(|most| lag >= most) {
            return Some(format!(
                "{name} has events that retention will soon delete before they are sent: fix the destination, or raise `retention.events_days`"
            ));
        }
        if !self.is_configured {
            return Some(format!(
                "{name} is not in this configuration: if no server has it, `forward remove {name}` frees its place"
            ));
        }
        if !self.is_served {
            return Some(format!("no server forwards to {name} now"));
        }
        match self.state.as_str() {
            "paused" => Some(format!("`forward resume {name}` sends again")),
            "misconfigured" => {
                Some(format!("see what is wrong with the URL, files or secrets of {name}"))
            }
            _ if self.dead > 0 => {
                Some(format!("`forward retry {name} --dead` sends its dead letters again"))
            }
            _ => None,
        }
    }
}

impl Status {
    pub(crate) async fn run(self) -> Result<()> {
        let (settings, mut connection) = self.place.open().await?;
        let rows = match &self.name {
            Some(name) => vec![named(&mut connection, name).await?],
            None => connection.destinations().await.context("read the destinations")?,
        };
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows {
            let backlog = connection.backlog(&row.name).await.context("count what waits")?;
            let replay = connection.replay(&row.name).await.context("read the replay")?;
            let replays = connection.pending_replays(&row.name).await.context("count replays")?;
            let replay = replay.filter(|replay| !replay.is_read || replays > 0);
            let replay = (replay.map(|replay| replay.definition), replays);
            let is_configured = settings.forward.iter().any(|of| of.name == row.name);
            shown.push(Shown::of(row, backlog, replay, is_configured));
        }
        if self.json {
            return output::print_json(&output::json_lines(&shown)?);
        }
        output::print(&table(&shown))?;
        let most = settings.retention.backlog_age_max();
        shown.iter().flat_map(|of| of.advices(most)).for_each(|advice| say(&advice));
        Ok(())
    }
}

fn table(shown: &[Shown]) -> String {
    let columns = [
        "NAME",
        "STATE",
        "REASON",
        "SINCE",
        "BACKLOG",
        "LAG",
        "WAITING",
        "DEAD",
        "SKIPPED",
        "LAST ERROR",
    ];
    let mut table = output::table(&columns);
    for of in shown {
        table.add_row([
            of.name.clone(),
            of.state.clone(),
            cell(of.reason.as_deref()),
            output::time_or_dash(of.failing_since),
            of.backlog_events.to_string(),
            seconds(of.lag_ms / 1000),
            of.waiting.to_string(),
            of.dead.to_string(),
            of.skipped.to_string(),
            cell(of.last_error.as_deref()),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}
