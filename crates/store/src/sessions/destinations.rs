//! Destinations of forwarding that do not run, for the sweep.

use std::time::Duration;

use crate::error::StoreError;
use crate::sessions::queue::SettlerConnection;
use crate::sessions::sweep::{OpenOutage, SWEEP_ROWS};
use crate::sql::from_row::from_row;
use protocol::UnixMillis;

/// A destination that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingDestination {
    /// Its name.
    pub name: String,
    /// `failing`, `paused` or `misconfigured`.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub failing_since: UnixMillis,
    /// What went wrong last.
    pub last_error: Option<String>,
}

from_row! { FailingDestination: name, state, reason, failing_since, last_error; }

impl SettlerConnection {
    /// The destinations that have not run for this long, by the database's clock.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn failing_destinations(
        &mut self,
        least: Duration,
    ) -> Result<Vec<FailingDestination>, StoreError> {
        let sql = "select name, state, reason, @ms(failing_since) as failing_since, last_error from destinations
             where state <> 'running' and @ms(failing_since) <= @clock - $1 order by name @bytewise limit $2";
        let least = i64::try_from(least.as_millis()).unwrap_or(i64::MAX);
        self.0.rows(sql, &[least.into(), i64::from(SWEEP_ROWS).into()]).await
    }

    /// Open anomalies of a kind, the earliest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn listed_of(&mut self, kind: &str) -> Result<Vec<OpenOutage>, StoreError> {
        let sql = "select sdk_app_id, subject, session, detail from anomalies
             where kind = $1 and resolved_at is null order by session limit $2";
        self.0.rows(sql, &[kind.into(), i64::from(SWEEP_ROWS).into()]).await
    }
}
