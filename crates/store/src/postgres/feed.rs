//! Gives positions to stored events in PostgreSQL, in the order in which they become visible.

use uuid::Uuid;

use crate::model::position::ROW_EVENTS_MAX;
use crate::postgres::connection::pool::{Pool, Tx};
use crate::query::limits::FEED_EVENTS_KEPT;
use protocol::UnixMillis;

/// Number of markers that get positions in one transaction, at most.
const MARKERS_MAX: i64 = 500;
/// How far below the last marker others are looked for, each time.
const FLOOR_MARGIN: i64 = 10_000;

/// Gives positions to all events that have none, unless another server is about it. Returns their number.
///
/// `from_start`: looks also for markers of transactions that committed very late, for which dead rows may have to be passed.
pub(crate) async fn number(pool: &Pool, from_start: bool) -> Result<u64, sqlx::Error> {
    let mut numbered = 0;
    loop {
        let markers: bool = sqlx::query_scalar(
            "select exists (
                 select from feed_new where n > case when $1 then 0 else (select floor from feed_head where id = 1) end)",
        )
        .bind(from_start)
        .fetch_one(&mut pool.acquire().await?)
        .await?;
        if !markers {
            return Ok(numbered);
        }
        let mut transaction = pool.begin().await?;
        let Some(rest) = number_some(&mut transaction, from_start).await? else {
            transaction.rollback().await?;
            return Ok(numbered);
        };
        transaction.commit().await?;
        numbered += rest;
    }
}

/// The same for some, within a transaction. `None`: another server is about it.
///
/// Invariant: rows of the feed become visible in the order of their positions. The lock on `feed_head` is held until the
/// commit, and the markers are read by a later statement, whose snapshot has all that the last holder of the lock wrote.
async fn number_some(
    transaction: &mut Tx<'_>,
    from_start: bool,
) -> Result<Option<u64>, sqlx::Error> {
    let head: Option<(i64, i64)> =
        sqlx::query_as("select position, floor from feed_head where id = 1 for update skip locked")
            .fetch_optional(&mut *transaction)
            .await?;
    let Some((position, floor)) = head else { return Ok(None) };
    let mut markers: Vec<(i64, Vec<Uuid>)> = sqlx::query_as(
        "delete from feed_new
         where n = any (array(select n from feed_new where n > $1 order by n limit $2))
         returning n, ids",
    )
    .bind(if from_start { 0 } else { floor })
    .bind(MARKERS_MAX)
    .fetch_all(&mut *transaction)
    .await?;
    markers.sort_unstable_by_key(|(n, _)| *n);
    let Some((last, _)) = markers.last() else { return Ok(Some(0)) };
    let last = *last;
    let ids: Vec<Uuid> = markers.into_iter().flat_map(|(_, ids)| ids).collect();
    let numbered = u64::try_from(ids.len()).unwrap_or(u64::MAX);
    let rows = i64::try_from(ids.len().div_ceil(ROW_EVENTS_MAX)).unwrap_or(i64::MAX);
    sqlx::query(
        "with numbered as (
             insert into feed (position, ids, numbered_at)
             select $1 + row, ($2::uuid[])[(row - 1) * $3 + 1 : row * $3], clock_timestamp()
             from generate_series(1, $4::integer) as row)
         update feed_head set position = $1 + $4, floor = greatest(floor, $5) where id = 1",
    )
    .bind(position)
    .bind(ids)
    .bind(i32::try_from(ROW_EVENTS_MAX).unwrap_or(i32::MAX))
    .bind(i32::try_from(rows).unwrap_or(i32::MAX))
    .bind(last.saturating_sub(FLOOR_MARGIN))
    .execute(transaction)
    .await?;
    Ok(Some(numbered))
}

/// Deletes at most `rows_max` of the oldest rows that were numbered before `before`, have [`FEED_EVENTS_KEPT`] events
/// behind them, and are needed by no destination and not for derived events.
///
/// Invariant: the rows that stay have no gap, whatever the clock did: all before a row that stays goes first.
pub(crate) async fn trim(
    pool: &Pool,
    before: UnixMillis,
    rows_max: u32,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "delete from feed where position = any (array(
             select position from feed
             where position < least(
                 (select min(position) from (
                     select position, sum(cardinality(ids)) over (order by position desc) as events from feed) as counted
                  where events <= $3),
                 (select position from feed where numbered_at >= timestamptz 'epoch' + $1 * interval '1 millisecond'
                  order by position limit 1),
                 (select min(position) / 512 from destinations),
                 (select position / 512 from derived_progress where lease_until > clock_timestamp() - interval '7 days'))
             order by position limit $2))",
    )
    .bind(before.0)
    .bind(i64::from(rows_max))
    .bind(FEED_EVENTS_KEPT)
    .execute(&mut pool.acquire().await?)
    .await?;
    Ok(done.rows_affected())
}
