//! How far the job that derives events is: for metrics and `doctor`, which must not depend on the job.

use crate::error::StoreError;
use crate::forwarding::backlog_row::{FeedBacklogRow, feed_backlog_columns};
use crate::forwarding::connection::ForwardingConnection;
use crate::sql::from_row::{from_row, part};
use protocol::UnixMillis;

/// How many rows of `derived_pending` are counted.
const PENDING_MAX: u32 = 10_000;

/// How far the job that derives events is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DerivedProgress {
    /// Events that it has not read, estimated where there are very many.
    pub events: i64,
    /// Calls, rooms and recordings that wait to be looked at, counted up to 10,000.
    pub pending: i64,
    /// For how long the first of both has waited, in ms.
    pub lag_ms: i64,
    /// Whether a server has the right to derive.
    pub is_held: bool,
    /// The database's clock.
    pub now: UnixMillis,
}

/// The row.
struct Row {
    feed: FeedBacklogRow,
    pending: i64,
    pending_ms: Option<i64>,
    held_ms: Option<i64>,
    now: i64,
}

from_row! { Row: feed = part, pending, pending_ms, held_ms, now; }

impl ForwardingConnection {
    /// How far the job that derives events is; `None` where it never began.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn derived_progress(&mut self) -> Result<Option<DerivedProgress>, StoreError> {
        let columns = feed_backlog_columns!();
        // What is looked at later once more keeps the slot in which it was noted first.
        let sql = format!(
            "select {columns},
                 (select count(*) from (select 1 from derived_pending limit {PENDING_MAX}) as sample) as pending,
                 (select @clock - 2000 * min(slot) from (
                     select slot from derived_pending order by due_at limit {PENDING_MAX}) as sample) as pending_ms,
                 case when holder is not null then @ms(lease_until) - @clock end as held_ms, @clock as now
             from derived_progress as reader where id = 1"
        );
        let row: Option<Row> = self.0.row(&sql, &[]).await?;
        Ok(row.map(|row| DerivedProgress {
            events: row.feed.events(),
            pending: row.pending,
            lag_ms: row.feed.lag_ms().max(row.pending_ms.unwrap_or_default()),
            is_held: row.held_ms.is_some_and(|left| left >= 0),
            now: UnixMillis(row.now),
        }))
    }
}
