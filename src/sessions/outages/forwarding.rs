//! Destinations of forwarding that do not run.

use std::time::Duration;

use crate::store::{FailingDestination, Finding, SettlerConnection, StoreError};
use crate::telemetry::Metrics;
use protocol::UnixMillis;

const KIND: &str = "forwarding_failing";
/// A destination is of no app.
const NO_APP: i64 = 0;

/// Lists destinations that have not run for this long, and takes back those that run again or are gone.
pub(crate) async fn sweep(
    store: &mut SettlerConnection,
    after: Option<Duration>,
    now: UnixMillis,
    metrics: &Metrics,
) -> Result<(), StoreError> {
    let listed = store.listed_of(KIND).await?;
    let failing = match after {
        Some(after) => store.failing_destinations(after).await?,
        None => Vec::new(),
    };
    for old in &listed {
        let is_so = |one: &FailingDestination| {
            one.name == old.subject && one.failing_since.0 == old.session
        };
        if !failing.iter().any(is_so) {
            store.resolve(NO_APP, KIND, &old.subject, old.session, now).await?;
        }
    }
    for one in failing {
        let session = one.failing_since.0;
        let known = listed.iter().find(|old| old.subject == one.name && old.session == session);
        let detail = detail(&one);
        if known.is_none_or(|known| known.detail != detail) {
            let (happened_at, subject) = (one.failing_since, one.name);
            let found = Finding { app: NO_APP, kind: KIND, subject, session, happened_at, detail };
            store.put(&found, now).await?;
        }
        if known.is_none() {
            metrics.anomaly_found(KIND);
        }
    }
    Ok(())
}

fn detail(one: &FailingDestination) -> String {
    let state = match (one.state.as_str(), one.reason.as_deref()) {
        ("paused", Some("gone")) => "paused, as it answered 410".to_owned(),
        ("paused", _) => "paused by hand".to_owned(),
        ("misconfigured", _) => "cannot be called as it is configured".to_owned(),
        (_, Some("too_many_waiting")) => "too many events fail".to_owned(),
        _ => "fails".to_owned(),
    };
    match &one.last_error {
        Some(error) if one.state != "paused" => format!("{state}: {error}"),
        _ => state,
    }
}
