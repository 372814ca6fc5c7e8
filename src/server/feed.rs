//! Gives stored events their positions, where the store does not do so by itself, and forgets old positions.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::store::Store;
use crate::store::deadline::within;
use crate::telemetry::{Metrics, OnChange};
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// How often events are looked for whose transaction took so long that thousands of others passed it.
const NUMBER_LATE_EVERY: Duration = Duration::from_secs(30);
/// For how long a server that gave positions is shown as the one that does.
const LED: Duration = Duration::from_mins(1);
/// How often the length of the feed is shown.
const SHOW_EVERY: Duration = Duration::from_secs(10);
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

/// What gives positions to stored events.
#[derive(Clone)]
pub(crate) struct Numberer {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) metrics: Arc<Metrics>,
    /// Is told when this server stored events.
    pub(crate) stored: Arc<Notify>,
    /// Is told when events have got positions.
    pub(crate) numbered: Arc<Notify>,
    /// How often new events are looked for, and at most: each look that finds some is a transaction, which under load would cost
    /// as much as storing them. Every server looks; a lock in the database lets one at a time give positions.
    pub(crate) every: Duration,
}

/// Gives positions for ever, to what this server stored at once or after a pause. It may be cancelled at any point: each step is
/// a transaction.
pub(crate) async fn number(numberer: Numberer) {
    let Numberer { store, metrics, stored, numbered, every } = numberer;
    let mut logged = OnChange::default();
    let mut led_at: Option<Instant> = None;
    let mut looked_late: Option<Instant> = None;
    loop {
        let late = looked_late.is_none_or(|looked| looked.elapsed() >= NUMBER_LATE_EVERY);
        let begun = Instant::now();
        match within(STEP_MAX, store.number_events(late)).await {
            // The store gives positions by itself.
            Ok(None) => {
                metrics.feed.leader(true);
                stored.notified().await;
                numbered.notify_one();
            }
            Ok(Some(count)) => {
                if count > 0 {
                    led_at = Some(begun);
                    numbered.notify_one();
                }
                metrics.feed.leader(led_at.is_some_and(|at| at.elapsed() < LED));
                if late {
                    looked_late = Some(Instant::now());
                }
                if logged.clear() {
                    info!("stored events get their positions again");
                }
                tokio::select! {
                    () = sleep(every) => {}
                    () = stored.notified() => sleep_until(begun + every).await,
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

/// Shows how long the feed is, for ever. What fails is shown again when the store answers: its other users say so.
pub(crate) async fn show(store: Arc<dyn Store>, metrics: Arc<Metrics>) {
    loop {
        if let Ok(figures) = within(STEP_MAX, store.feed_figures()).await {
            metrics.feed.length(figures.unnumbered, figures.events);
        }
        sleep(SHOW_EVERY).await;
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
