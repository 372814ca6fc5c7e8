//! Bounds the backlog of destinations that do not keep up.

use crate::error::StoreError;
use crate::forwarding::connection::ForwardingConnection;
use crate::model::position::ROW_EVENTS_MAX;

/// How many rows of the feed are skipped at once.
const ROWS_MAX: i64 = 2000;

impl ForwardingConnection {
    /// Moves destinations forward that have more than `events_max` events behind their position, by some of the oldest, and
    /// counts and dates those as skipped. Returns whether there were any; then there may be more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn skip_excess(&mut self, events_max: u64) -> Result<bool, StoreError> {
        let events_max = i64::try_from(events_max).unwrap_or(i64::MAX);
        let span = "select (select max(position) from feed), min(position) / 512 from destinations";
        let span: Option<(Option<i64>, Option<i64>)> = self.0.row(span, &[]).await?;
        let Some((Some(last), Some(first))) = span else { return Ok(false) };
        let row_events = i64::try_from(ROW_EVENTS_MAX).unwrap_or(i64::MAX);
        // Rows may have fewer events, never more: counting them is only worth it where they could be too many.
        if (last - first).saturating_mul(row_events) <= events_max {
            return Ok(false);
        }
        let found: Option<(Option<i64>,)> = self
            .0
            .row(
                "select max(position) from (
                     select position, sum(@feed_events(ids)) over (order by position desc) as events from feed) as counted
                 where events > $1",
                &[events_max.into()],
            )
            .await?;
        // The oldest events of this row, and all before it, are too many.
        let Some((Some(excess),)) = found else { return Ok(false) };
        if excess <= first {
            return Ok(false);
        }
        let until = (excess - 1).min(first.saturating_add(ROWS_MAX));
        self.0.begin().await?;
        // Whoever forwards begins anew, at the new position.
        let skipped: Vec<(i64,)> = self
            .0
            .rows(
                "update destinations set
                     epoch = epoch + 1,
                     skipped = skipped + (select coalesce(sum(@feed_events(ids)), 0) from feed
                             where feed.position > destinations.position / 512 and feed.position <= $1)
                         + (select coalesce(sum(@greatest(@feed_events(ids) - 1 - destinations.position % 512, 0)), 0)
                             from feed where feed.position = destinations.position / 512),
                     skipped_from = coalesce(skipped_from, (select min(numbered_at) from feed
                         where feed.position >= destinations.position / 512 and feed.position <= $1)),
                     skipped_until = coalesce((select max(numbered_at) from feed
                         where feed.position > destinations.position / 512 and feed.position <= $1), skipped_until),
                     position = $1 * 512 + 511
                 where position < $1 * 512 + 511
                 returning skipped",
                &[until.into()],
            )
            .await?;
        self.0.commit().await?;
        Ok(!skipped.is_empty())
    }
}
