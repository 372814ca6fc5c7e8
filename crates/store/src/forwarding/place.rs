//! Finds where an event is in the feed, which has no index of its ids.

use crate::error::StoreError;
use crate::forwarding::view::EventPlace;
use crate::model::event::StoredEvent;
use crate::model::position::Position;
use crate::read::feed::{FeedRow, span};
use crate::sql::builder::Reader;
use crate::sql::from_row::{from_row, part};
use protocol::UnixMillis;

/// How many rows of the feed are looked through at once, at most.
const ROWS_MAX: i64 = 20_000;
/// So long before it was received an event cannot have got its position: clocks differ.
const EARLY_MS: i64 = 60_000;

/// A row of the feed that holds the event.
struct Found {
    row: FeedRow,
    numbered_at: i64,
}

from_row! { Found: row = part, numbered_at; }

/// Where an event is: looked for from when it was received, and behind the position of the destination that is furthest behind.
pub(crate) async fn find<R: Reader>(
    reader: &R,
    event: &StoredEvent,
    least: Position,
) -> Result<EventPlace, StoreError> {
    let early = UnixMillis(event.received_at.0.saturating_sub(EARLY_MS));
    if let Some(from) = row_at(reader, early).await?
        && let Some(place) = search(reader, event, from).await?
    {
        return Ok(place);
    }
    if is_unnumbered(reader, event).await? {
        return Ok(EventPlace::Unnumbered);
    }
    // It has its position by now, or was stored before there were any.
    let end = span(reader).await?.end;
    if let Some(place) = search(reader, event, least.row()).await? {
        return Ok(place);
    }
    let is_all = end.row() < least.row().saturating_add(ROWS_MAX);
    Ok(if is_all { EventPlace::Passed } else { EventPlace::Unknown })
}

/// The first row that was numbered at this time or later, by halving: rows have no gap, and times grow with them.
async fn row_at<R: Reader>(reader: &R, time: UnixMillis) -> Result<Option<i64>, StoreError> {
    let mut sql = reader.statement(
        "with recursive search (low, high) as (
             select min(position), max(position) + 1 from feed
             union all
             select case when (select numbered_at from feed where position = (low + high) / 2) < ",
    );
    sql.time(time).push(
        " then (low + high) / 2 + 1 else low end,
                 case when (select numbered_at from feed where position = (low + high) / 2) < ",
    );
    sql.time(time).push(
        " then high else (low + high) / 2 end
             from search where low < high)
         select low from search where low >= high",
    );
    let row: Option<(i64,)> = reader.fetch_one(sql).await?;
    Ok(row.map(|(row,)| row))
}

/// Looks through some rows, from one on.
async fn search<R: Reader>(
    reader: &R,
    event: &StoredEvent,
    from: i64,
) -> Result<Option<EventPlace>, StoreError> {
    let mut sql = reader.statement(
        "select position, @feed_ids(ids) as ids, @ms(numbered_at) as numbered_at from feed where position >= ",
    );
    sql.number(from).push(" and position < ").number(from.saturating_add(ROWS_MAX));
    sql.push(" and ").feed_holds(event.id).push(" order by position limit 1");
    let Some(found) = reader.fetch_one::<Found>(sql).await? else { return Ok(None) };
    let place = found.row.ids()?.into_iter().position(|id| id == event.id);
    let at = |place| EventPlace::At(found.row.at(place), UnixMillis(found.numbered_at));
    Ok(place.map(at))
}

async fn is_unnumbered<R: Reader>(reader: &R, event: &StoredEvent) -> Result<bool, StoreError> {
    if !R::DIALECT.has_markers {
        return Ok(false);
    }
    let mut sql = reader.statement("select n from (select n, ids from feed_new limit ");
    sql.number(ROWS_MAX).push(") as markers where ").feed_holds(event.id).push(" limit 1");
    Ok(reader.fetch_one::<(i64,)>(sql).await?.is_some())
}
