//! Forgets old positions of events in a SQLite file.

use sqlx::sqlite::SqlitePool;

use crate::query::limits::FEED_EVENTS_KEPT;
use protocol::UnixMillis;

/// Deletes at most `rows_max` of the oldest rows that were written before `before`, have [`FEED_EVENTS_KEPT`] events
/// behind them, and are needed by no destination and not for derived events. So the latest row stays, from which the next one has its position; and the rows that stay have no gap.
pub(crate) async fn trim(
    pool: &SqlitePool,
    before: UnixMillis,
    rows_max: u32,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "delete from feed where position in (
             select position from feed
             where position < (
                     select min(position) from (
                         select position, sum(length(ids) / 16) over (order by position desc) as events from feed)
                     where events <= $3)
                 and position < coalesce(
                     (select position from feed where numbered_at >= $1 order by position limit 1),
                     (select max(position) from feed))
                 and position < coalesce(
                     (select min(destinations.position) / 512 from destinations),
                     (select max(position) from feed))
                 and position < coalesce(
                     (select derived_progress.position / 512 from derived_progress
                      where lease_until > unixepoch('subsec') * 1000 - 7 * 86400000),
                     (select max(position) from feed))
             order by position limit $2)",
    )
    .bind(before.0)
    .bind(i64::from(rows_max))
    .bind(FEED_EVENTS_KEPT)
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
