//! Gives stored events their positions, where the store does not do so by itself, and forgets old positions.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::store::Store;
use crate::store::deadline::within;
use crate::telemetry::OnChange;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// How often new events are looked for, and at most: each look that finds some is a transaction, which under load would cost as
/// much as storing them. Every server looks; a lock in the database lets one at a time give positions.
const NUMBER_EVERY: Duration = Duration::from_millis(100);
/// How often events are looked for whose transaction took so long that thousands of others passed it.
const NUMBER_LATE_EVERY: Duration = Duration::from_secs(30);
/// How long one step may take.
const STEP_MAX: Duration = Duration::from_secs(30);
/// How long to wait after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long positions are kept at least.
const KEEP: Duration = Duration::from_hours(1);
/// How often older ones are deleted, how many rows at once, and how long to wait in between.
const TRIM_EVERY: Duration = Duration::from_hours(1);
const TRIM_ROWS: u32 = 1000;
const TRIM_PAUSE: Duration = Duration::from_millis(50);

/// Gives positions for ever, at once to what this server `stored` after a pause of [`NUMBER_EVERY`]; says that events are `numbered`. It may be cancelled at any
/// point: each step is a transaction.
pub(crate) async fn number(store: Arc<dyn Store>, stored: Arc<Notify>, numbered: Arc<Notify>) {
    let mut logged = OnChange::default();
    let mut looked_late: Option<Instant> = None;
    loop {
        let late = looked_late.is_none_or(|looked| looked.elapsed() >= NUMBER_LATE_EVERY);
        let begun = Instant::now();
        match within(STEP_MAX, store.number_events(late)).await {
            // The store gives positions by itself.
            Ok(None) => {
                stored.notified().await;
                numbered.notify_one();
            }
            Ok(Some(count)) => {
                if count > 0 {
                    numbered.notify_one();
                }
                if late {
                    looked_late = Some(Instant::now());
                }
                if logged.clear() {
                    info!("stored events get their positions again");
                }
                tokio::select! {
                    () = sleep(NUMBER_EVERY) => {}
                    () = stored.notified() => sleep_until(begun + NUMBER_EVERY).await,
                }
            }
            Err(found) => {
                if logged.is_new(&found) {
                    let Diagnostic { problem: reason, hint } = found;
                    warn!(
                        reason,
                        hint,
                        "stored events get no positions, so the stream stands still; trying again"
                    );
                }
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Forgets old positions for ever, a little at a time. It may be cancelled at any point.
pub(crate) async fn trim(store: Arc<dyn Store>, clock: Clock) {
    let age = i64::try_from(KEEP.as_millis()).unwrap_or(i64::MAX);
    loop {
        let before = UnixMillis(clock.now().0.saturating_sub(age));
        loop {
            match within(STEP_MAX, store.trim_feed(before, TRIM_ROWS)).await {
                Ok(0) => break,
                Ok(_) => sleep(TRIM_PAUSE).await,
                Err(Diagnostic { problem: reason, hint }) => {
                    warn!(reason, hint, "old positions stay; trying again within the hour");
                    break;
                }
            }
        }
        sleep(TRIM_EVERY).await;
    }
}
