//! Bounds the backlog of destinations that do not keep up.

use crate::error::StoreError;
use crate::forwarding::connection::ForwardingConnection;
use crate::model::position::ROW_EVENTS_MAX;

/// How many rows of the feed are skipped at once.
const ROWS_MAX: i64 = 2000;

impl ForwardingConnection {
    /// Moves destinations forward that have more than `events_max` events behind their position, by some of the oldest, and
    /// counts and dates those as skipped. Returns how many were skipped; more may be left.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn skip_excess(&mut self, events_max: u64) -> Result<u64, StoreError> {
        let events_max = i64::try_from(events_max).unwrap_or(i64::MAX);
        let span = "select (select max(position) from feed), min(position) / 512 from destinations";
        let span: Option<(Option<i64>, Option<i64>)> = self.0.row(span, &[]).await?;
        let Some((Some(last), Some(first))) = span else { return Ok(0) };
        let row_events = i64::try_from(ROW_EVENTS_MAX).unwrap_or(i64::MAX);
        // Rows may have fewer events, never more: counting them is only worth it where they could be too many.
        if (last - first).saturating_mul(row_events) <= events_max {
            return Ok(0);
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
        let Some((Some(excess),)) = found else { return Ok(0) };
        if excess <= first {
            return Ok(0);
        }
        let until = (excess - 1).min(first.saturating_add(ROWS_MAX));
        self.0.begin().await?;
        // What of a destination's own row it has passed is not known here: all of it counts as skipped where any may be.
        let skipped: Option<(Option<i64>,)> = self
            .0
            .row(
                "select cast(sum(@feed_events(ids)) as bigint) from destinations join feed
                     on feed.position > destinations.position / 512 and feed.position <= $1
                 where destinations.position < $1 * 512 + 511",
                &[until.into()],
            )
            .await?;
        self.0
            .execute(
                "update destinations set
                     skipped = skipped + (select coalesce(sum(@feed_events(ids)), 0) from feed
                         where feed.position > destinations.position / 512 and feed.position <= $1),
                     skipped_from = coalesce(skipped_from, (select min(numbered_at) from feed
                         where feed.position > destinations.position / 512 and feed.position <= $1)),
                     skipped_until = coalesce((select max(numbered_at) from feed
                         where feed.position > destinations.position / 512 and feed.position <= $1), skipped_until),
                     position = $1 * 512 + 511
                 where position < $1 * 512 + 511",
                &[until.into()],
            )
            .await?;
        self.0.commit().await?;
        let skipped = skipped.and_then(|(skipped,)| skipped).unwrap_or_default();
        Ok(u64::try_from(skipped).unwrap_or_default())
    }
}
