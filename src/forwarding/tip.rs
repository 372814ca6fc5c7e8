//! Watches the end of the feed, for all destinations.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::forwarding::database::Database;
use crate::telemetry::OnChange;
use protocol::diagnostic::Diagnostic;

/// How long to wait after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Says for ever where the feed ends: at once where this server stored and numbered a batch, else after an interval.
pub(super) async fn watch_end(
    database: Arc<Database>,
    numbered: Arc<Notify>,
    interval: Duration,
    end: watch::Sender<i64>,
) {
    let mut logged = OnChange::default();
    loop {
        match database.feed_end().await {
            Ok(position) => {
                if logged.clear() {
                    info!("the feed is read again");
                }
                end.send_if_modified(|end| std::mem::replace(end, position) != position);
                tokio::select! {
                    () = numbered.notified() => {}
                    () = sleep(interval) => {}
                }
            }
            Err(found) => {
                if logged.is_new(&found) {
                    let Diagnostic { problem: reason, hint } = found;
                    warn!(
                        reason,
                        hint, "new events cannot be read, so nothing is forwarded; trying again"
                    );
                }
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}
