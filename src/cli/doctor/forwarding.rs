//! What `doctor` says of the destinations of forwarding: whether they can be called, and how they stand in the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::cli::doctor::report::Findings;
use crate::settings::Settings;
use crate::store::{Backlog, DerivedProgress, DestinationRow, ForwardingConnection};
use forward::destination::Destination;
use forward::destination::target::TargetKind;
use forward::http::{Client, ClientSettings, Guard};
use protocol::UnixMillis;
use protocol::diagnostic::{Diagnostic, Hint};

const CHECK: &str = "forwarding";
const DERIVED: &str = "derived events";
/// So much later than the events that they follow from derived events may be.
const DERIVED_LAG_MAX: Duration = Duration::from_mins(1);
/// How long a name may take.
const NAME_WAIT: Duration = Duration::from_secs(10);
/// How long the store may take to say how its destinations stand.
const STORE_WAIT: Duration = Duration::from_secs(15);

/// The destinations of the configuration, which are those that were checked.
pub(crate) async fn configured(settings: &Settings, findings: &mut Findings) -> Vec<Destination> {
    let (destinations, guard) = match settings.destinations() {
        Ok(checked) => checked,
        Err(error) => {
            findings.error(CHECK, error.diagnostic(), "see `[[forward]]`");
            return Vec::new();
        }
    };
    // Those of NATS are asked for their streams.
    let is_http = |destination: &&Destination| destination.target.kind() == TargetKind::Http;
    for destination in destinations.iter().filter(is_http) {
        let (name, target) = (&destination.name, &destination.target);
        let reached = timeout(NAME_WAIT, reach(destination, &guard)).await.unwrap_or_else(|_| {
            Err(Diagnostic::new(
                format!("the name was not resolved within {} s", NAME_WAIT.as_secs()),
                "check the name server of this machine",
            ))
        });
        match reached {
            Ok(()) => findings.ok(CHECK, format!("{name}: {target} may be sent to")),
            Err(found) => {
                let found = found.prefixed(format_args!("{name}: "));
                findings.error(CHECK, found, "see its `[[forward]]` table");
            }
        }
        if destination.secrets.is_empty() {
            let hint = "set `secrets`, so that the receiver knows whom events come from";
            findings.warn(CHECK, format!("{name}: deliveries are not signed"), hint);
        }
    }
    destinations
}

/// Whether its files can be read, and its name leads to an address that may be sent to. Nothing is sent.
async fn reach(destination: &Destination, guard: &Guard) -> Result<(), Diagnostic> {
    let settings = ClientSettings::of(destination).map_err(|error| error.diagnostic())?;
    let guard = guard.clone();
    let client = spawn_blocking(move || Client::new(settings, guard)).await;
    let client = client.map_err(|error| Diagnostic::from(error.to_string()))?;
    let client = Arc::new(client.map_err(|error| error.diagnostic())?);
    let hint = "check the name, and the name server of this machine";
    client.check_host().await.map_err(|failure| Diagnostic::new(failure.detail, hint))
}

/// The destinations of the store, compared with those of the configuration.
pub(crate) async fn stored(
    settings: &Settings,
    configured: &[Destination],
    findings: &mut Findings,
) {
    let read = async {
        let mut connection =
            ForwardingConnection::open(&settings.store_options().to_read()).await?;
        let mut all = Vec::new();
        for row in connection.destinations().await? {
            let backlog = connection.backlog(&row.name).await?;
            all.push((row, backlog));
        }
        let progress = connection.derived_progress().await?;
        connection.close().await;
        Ok::<_, crate::store::StoreError>((all, progress))
    };
    let (all, progress) = match timeout(STORE_WAIT, read).await {
        Ok(Ok(all)) => all,
        Ok(Err(error)) => {
            let found = error.diagnostic().prefixed("the destinations were not read: ");
            return findings.error(CHECK, found, "`migrate` creates their tables");
        }
        Err(_) => {
            let text = format!("the destinations were not read within {} s", STORE_WAIT.as_secs());
            return findings.fail(CHECK, text, "check what the store is waiting for");
        }
    };
    for (row, backlog) in &all {
        let of = configured.iter().find(|destination| destination.name == row.name);
        judge(row, backlog, of, settings, findings);
    }
    if configured.iter().any(|destination| destination.filter.names_derived()) {
        judge_derived(progress.as_ref(), findings);
    }
}

/// Whether the job does its work that makes derived events.
fn judge_derived(progress: Option<&DerivedProgress>, findings: &mut Findings) {
    let Some(progress) = progress else {
        let text = "none yet: they begin when a server starts that has a destination for them";
        return findings.ok(DERIVED, text);
    };
    let lag = Duration::from_millis(progress.lag_ms.max(0).unsigned_abs());
    if lag < DERIVED_LAG_MAX {
        return findings.ok(DERIVED, "up to date");
    }
    let DerivedProgress { events, pending, is_held, .. } = progress;
    let since = UnixMillis(progress.now.0 - progress.lag_ms);
    let behind = format!(
        "behind by {events} events and {pending} calls, rooms and recordings since {since}"
    );
    if *is_held {
        let hint = "search the server's log for `derived`; rooms wait for their sessions, so check the metric `trtc_settle_oldest_seconds` too";
        findings.warn(DERIVED, behind, hint);
    } else {
        let hint =
            "start a server whose `[[forward]]` tables have a destination for derived events";
        findings.warn(DERIVED, format!("{behind}: no server makes them now"), hint);
    }
}

fn judge(
    row: &DestinationRow,
    backlog: &Backlog,
    of: Option<&Destination>,
    settings: &Settings,
    findings: &mut Findings,
) {
    let name = &row.name;
    let is_served = row.lease_ms.is_some_and(|left| left >= 0);
    let Some(of) = of else {
        if is_served {
            let hint = "give all servers the same `[[forward]]` tables";
            let text =
                format!("{name}: another server forwards to it, and it is not configured here");
            return findings.warn(CHECK, text, hint);
        }
        let hint = format!("`trtc-callbacks forward remove {name}` frees its place and backlog");
        let text = format!(
            "{name}: no configuration has it any more, and about {} events are kept for it",
            backlog.events
        );
        return findings.warn(CHECK, text, &hint);
    };
    if is_served && of.definition_hash != row.definition_hash {
        let hint = "give all servers the same `[[forward]]` tables, and restart them";
        let text = format!("{name}: the server that forwards has another definition of it");
        findings.warn(CHECK, text, hint);
    }
    let said = row.last_error.as_deref().map_or_else(String::new, |error| format!(": {error}"));
    let since = row.state.failing_since.map_or_else(String::new, |at| format!(" since {at}"));
    let state = row.state.state.as_str();
    match state {
        "running" => {
            findings.ok(CHECK, format!("{name}: {} events in its backlog", backlog.events));
        }
        "paused" => {
            let hint = format!("`trtc-callbacks forward resume {name}` sends again");
            findings.warn(CHECK, format!("{name}: paused{since}"), &hint);
        }
        _ => {
            let hint = "fix the destination, or its `[[forward]]` table; its backlog is kept";
            findings.warn(CHECK, format!("{name}: {state}{since}{said}"), hint);
        }
    }
    if backlog.dead > 0 {
        let hint = format!("`trtc-callbacks forward retry {name} --dead` sends them again");
        findings.warn(CHECK, format!("{name}: {} dead letters", backlog.dead), &hint);
    }
    let lag = Duration::from_millis(backlog.lag_ms.max(0).unsigned_abs());
    if settings.retention.backlog_age_max().is_some_and(|most| lag >= most) {
        let hint = "fix the destination, or raise `retention.events_days`";
        let hours = lag.as_secs() / 3600;
        let text = format!(
            "{name}: its oldest event waits for {hours} h and will soon be deleted by retention, unsent"
        );
        findings.warn(CHECK, text, hint);
    }
}
