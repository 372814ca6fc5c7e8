//! Reads events: lists of them, pages that answer soon, and one by its id.

use uuid::Uuid;

use crate::error::StoreError;
use crate::model::event::Row;
use crate::model::event::StoredEvent;
use crate::query::events::{EventFilter, Order};
use crate::query::limits::{EVENTS_SCANNED_MAX, PAGE_BYTES_MAX};
use crate::query::page::EventPage;
use crate::sql::builder::{Reader, Statement};
use protocol::UnixMillis;
use protocol::event_id;

/// An event's place in a list.
type Place = (UnixMillis, Uuid);

/// All that `filter` lets through, however long it takes to find them.
pub(crate) async fn events<R: Reader>(
    reader: &R,
    filter: &EventFilter,
) -> Result<Vec<StoredEvent>, StoreError> {
    Ok(list(reader, filter, None, usize::MAX).await?.0)
}

pub(crate) async fn event<R: Reader>(
    reader: &R,
    id: Uuid,
) -> Result<Option<StoredEvent>, StoreError> {
    let mut sql = reader.select_events();
    // An id tells its time, and so its partition.
    sql.push(" where event_time = ").time(event_id::time_of(id)).push(" and id = ").id(id);
    reader.fetch_one::<Row>(sql).await?.map(StoredEvent::try_from).transpose()
}

pub(crate) async fn page<R: Reader>(
    reader: &R,
    filter: &EventFilter,
) -> Result<EventPage, StoreError> {
    let last = if has_unindexed(filter) { last_scanned(reader, filter).await? } else { None };
    let (events, is_full) = list(reader, filter, last, PAGE_BYTES_MAX).await?;
    let next = match events.last() {
        Some(event) if is_full => match filter.order {
            Order::Arrived { .. } => Some((event.received_at, event.id)),
            Order::Newest { .. } | Order::Oldest { .. } => Some((event.event_time, event.id)),
        },
        _ => last,
    };
    Ok(EventPage { events, next })
}

/// The events to `last`, until they are as many as asked for, or their bodies as large as `bytes_max`; and whether that is
/// why there are no more.
async fn list<R: Reader>(
    reader: &R,
    filter: &EventFilter,
    last: Option<Place>,
    bytes_max: usize,
) -> Result<(Vec<StoredEvent>, bool), StoreError> {
    let mut sql = reader.select_events();
    sql.push(" where true");
    indexed(&mut sql, filter);
    unindexed(&mut sql, filter);
    if let Some(last) = last {
        let comparisons = match filter.order {
            Order::Newest { .. } => [" and event_time >= ", " and (event_time, id) >= ("],
            Order::Oldest { .. } => [" and event_time <= ", " and (event_time, id) <= ("],
            Order::Arrived { .. } => [" and received_at <= ", " and (received_at, id) <= ("],
        };
        beyond(&mut sql, comparisons, last);
    }
    in_order(&mut sql, filter);
    sql.push(" limit ").number(filter.limit.into());
    let mut bytes = 0;
    let is_enough = |row: &Row| {
        bytes += row.body_bytes();
        bytes >= bytes_max
    };
    let rows: Vec<Row> = reader.fetch_until(sql, is_enough).await?;
    let is_full = bytes >= bytes_max || rows.len() >= filter.limit as usize;
    let events: Result<_, _> = rows.into_iter().map(StoredEvent::try_from).collect();
    Ok((events?, is_full))
}

/// The last event that a page looks at; `None` where there are not so many.
async fn last_scanned<R: Reader>(
    reader: &R,
    filter: &EventFilter,
) -> Result<Option<Place>, StoreError> {
    let mut sql = reader.statement(match filter.order {
        Order::Arrived { .. } => {
            "select @ms(received_at) as at, @text(id) as id from events where true"
        }
        Order::Newest { .. } | Order::Oldest { .. } => {
            "select @ms(event_time) as at, @text(id) as id from events where true"
        }
    });
    indexed(&mut sql, filter);
    in_order(&mut sql, filter);
    sql.push(" limit 1 offset ").number(i64::from(EVENTS_SCANNED_MAX) - 1);
    let last: Option<(UnixMillis, String)> = reader.fetch_one(sql).await?;
    Ok(last.and_then(|(at, id)| Some((at, id.parse().ok()?))))
}

/// Adds the conditions that an index serves.
fn indexed(sql: &mut Statement, filter: &EventFilter) {
    sql.when_text(" and call_id = ", filter.call_id.as_deref())
        .when_text(" and room_id = ", filter.room_id.as_deref())
        .when_time(" and event_time >= ", filter.since)
        .when_time(" and event_time < ", filter.until);
    match filter.order {
        Order::Newest { after: Some(after) } => {
            beyond(sql, [" and event_time <= ", " and (event_time, id) < ("], after);
        }
        Order::Oldest { after: Some(after) } => {
            beyond(sql, [" and event_time >= ", " and (event_time, id) > ("], after);
        }
        Order::Arrived { after } => {
            arrived(sql, filter);
            if let Some(after) = after {
                beyond(sql, [" and received_at >= ", " and (received_at, id) > ("], after);
            }
        }
        _ => {}
    }
}

/// Adds when the events arrived.
fn arrived(sql: &mut Statement, filter: &EventFilter) {
    sql.when_time(" and received_at >= ", filter.received_since)
        .when_time(" and received_at < ", filter.received_until);
}

/// Adds on which side of an event. Once more by the time alone, since partitions are left out by that only.
fn beyond(sql: &mut Statement, [time, place]: [&'static str; 2], (at, id): Place) {
    sql.push(time).time(at).push(place).time(at).push(", ").id(id).push(")");
}

fn has_unindexed(filter: &EventFilter) -> bool {
    let EventFilter { family, command, operator, platform, request_id, text, .. } = filter;
    let texts = [family, command, operator, platform, request_id, text];
    texts.iter().any(|text| text.is_some())
        || filter.app.is_some()
        || filter.undecoded
        || !is_by_arrival(filter)
            && (filter.received_since.is_some() || filter.received_until.is_some())
}

fn is_by_arrival(filter: &EventFilter) -> bool {
    matches!(filter.order, Order::Arrived { .. })
}

/// Adds the conditions that are asked of each event.
fn unindexed(sql: &mut Statement, filter: &EventFilter) {
    if let Some(app) = filter.app {
        sql.push(" and sdk_app_id = ").number(app.as_i64());
    }
    sql.when_text(" and family = ", filter.family.as_deref())
        .when_text(" and command = ", filter.command.as_deref())
        .when_text(" and operator = ", filter.operator.as_deref())
        .when_text(" and platform = ", filter.platform.as_deref())
        .when_text(" and request_id = ", filter.request_id.as_deref());
    if !is_by_arrival(filter) {
        arrived(sql, filter);
    }
    if filter.undecoded {
        sql.push(" and decode_error is not null");
    }
    if let Some(text) = &filter.text {
        sql.push(" and @strpos(@text(payload), ").text(text).push(") > 0");
    }
}

/// Adds the order: by the columns of the table, not by those that are read and called alike, which have no index.
fn in_order(sql: &mut Statement, filter: &EventFilter) {
    sql.push(match filter.order {
        Order::Newest { .. } => " order by events.event_time desc, events.id desc",
        Order::Oldest { .. } => " order by events.event_time, events.id",
        Order::Arrived { .. } => " order by events.received_at, events.id",
    });
}
