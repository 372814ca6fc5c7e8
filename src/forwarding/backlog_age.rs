//! Warns before events are deleted by their age that a destination has not got.

use std::time::Duration;

use tracing::{info, warn};

use crate::forwarding::forwarder::Forwarder;
use crate::store::Backlog;

/// Whether the backlog of a destination is old.
#[derive(Debug, Default)]
pub(super) struct BacklogAge {
    is_old: bool,
}

impl BacklogAge {
    /// Shows the figures of a backlog, and says so where it becomes old or is no longer.
    pub(super) fn show(&mut self, of: &Forwarder, backlog: &Backlog) {
        let lag = Duration::from_millis(u64::try_from(backlog.lag_ms).unwrap_or_default());
        of.metrics.backlog(backlog.events, lag, backlog.waiting, backlog.dead);
        // The store counts them, over all servers.
        of.metrics.skipped.absolute(u64::try_from(backlog.skipped).unwrap_or_default());
        let is_old = of.age_max.is_some_and(|most| lag >= most);
        let destination = of.destination.name.as_str();
        match (std::mem::replace(&mut self.is_old, is_old), is_old) {
            (false, true) => warn!(
                destination,
                hours = lag.as_secs() / 3600,
                hint = "fix the destination, or raise `retention.events_days`",
                "events that wait for a destination are soon deleted by their age before they are sent"
            ),
            (true, false) => info!(destination, "no event that waits is about to be deleted"),
            _ => {}
        }
    }
}
