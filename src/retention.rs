//! Deletes what is older than it is to be kept, a little at a time, so that events go first.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::store::Store;
use crate::store::deadline::within;
use crate::telemetry::Metrics;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// How many rows are deleted at once.
const BATCH_ROWS: u32 = 500;
/// The shortest pause between two batches. It is as long as the last batch took, where that is longer, so that the
/// store is ours for half of the time at most.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// How long one batch, or dropping one partition, may take.
const STEP_MAX: Duration = Duration::from_secs(30);

/// Deletes everything that is older than `keep`. What cannot be deleted now is left to the next run.
///
/// It may be cancelled at any point: each step is a transaction of its own.
pub(crate) async fn run(store: &Arc<dyn Store>, keep: Duration, clock: &Clock, metrics: &Metrics) {
    let age = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    let before = UnixMillis(clock.now().0.saturating_sub(age));
    if let Err(Diagnostic { problem: reason, hint }) = drop_partitions(store, before, metrics).await
    {
        warn!(reason, hint, "old partitions were not looked for; trying again within the hour");
    }
    let mut rows = 0;
    let done = delete_rows(store, before, metrics, &mut rows).await;
    if rows > 0 {
        info!(rows, %before, "deleted what was older than it is to be kept");
    }
    if let Err(Diagnostic { problem: reason, hint }) = done {
        warn!(reason, hint, "old rows were not all deleted; trying again within the hour");
    }
}

async fn drop_partitions(
    store: &Arc<dyn Store>,
    before: UnixMillis,
    metrics: &Metrics,
) -> Result<(), Diagnostic> {
    for partition in within(STEP_MAX, store.expired_partitions(before)).await? {
        // One that somebody reads just now must not keep the others.
        match within(STEP_MAX, store.drop_partition(&partition, before)).await {
            Ok(true) => {
                metrics.retention_partitions.increment(1);
                info!(partition, %before, "dropped a partition that was older than it is to be kept");
            }
            Ok(false) => {}
            Err(Diagnostic { problem: reason, hint }) => {
                warn!(
                    reason,
                    hint, partition, "an old partition stays; trying again within the hour"
                );
            }
        }
    }
    Ok(())
}

async fn delete_rows(
    store: &Arc<dyn Store>,
    before: UnixMillis,
    metrics: &Metrics,
    rows: &mut u64,
) -> Result<(), Diagnostic> {
    let mut batch = BATCH_ROWS;
    loop {
        let begun = Instant::now();
        let deleted = match within(STEP_MAX, store.delete_expired(before, batch)).await {
            Ok(deleted) => deleted,
            // Too many large rows for the time a statement has, perhaps.
            Err(_) if batch > 1 => {
                batch = (batch / 4).max(1);
                sleep(begun.elapsed().max(PAUSE_MIN)).await;
                continue;
            }
            Err(found) => return Err(found),
        };
        if deleted == 0 {
            return Ok(());
        }
        *rows += deleted;
        metrics.retention_rows.increment(deleted);
        sleep(begun.elapsed().max(PAUSE_MIN)).await;
    }
}
