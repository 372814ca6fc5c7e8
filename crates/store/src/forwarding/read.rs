//! Reads destinations and their exceptions, for readers.

use std::collections::HashMap;

use serde_json::json;
use uuid::Uuid;

use crate::error::StoreError;
use crate::forwarding::backlog_row::{BACKLOG_COLUMNS, BacklogRow};
use crate::forwarding::model::{
    Backlog, COLUMNS, DeliveryException, DestinationRow, EXCEPTION_COLUMNS, ExceptionRow, Row,
};
use crate::forwarding::place;
use crate::forwarding::view::{
    EventDeliveries, EventPlace, ExceptionFilter, ExceptionView, FeedFigures,
};
use crate::model::event::StoredEvent;
use crate::sql::builder::Reader;
use crate::sql::from_row::{from_row, id, part};
use protocol::{UnixMillis, event_id};

/// How many destinations are read at most: those that are configured are few.
const DESTINATIONS_MAX: i64 = 200;
/// How many rows of the feed are looked at to estimate its length, and how many markers are counted.
const SAMPLE_ROWS: i64 = 200;
const MARKERS_MAX: i64 = 10_000;

/// A backlog, and whose.
struct NamedBacklog {
    name: String,
    backlog: BacklogRow,
}

/// An exception, and whose.
struct NamedException {
    destination: String,
    exception: ExceptionRow,
}

/// An exception, as it is read.
struct ExceptionViewRow {
    event_id: Uuid,
    position: i64,
    state: String,
    attempts: i64,
    last_status: Option<i64>,
    last_error: Option<String>,
    first_failed_at: Option<i64>,
    next_at: i64,
    changed_at: i64,
}

from_row! {
    NamedBacklog: name, backlog = part;
    NamedException: destination, exception = part;
    ExceptionViewRow: event_id = id, position, state, attempts, last_status, last_error, first_failed_at, next_at, changed_at;
}

pub(crate) async fn destinations<R: Reader>(reader: &R) -> Result<Vec<DestinationRow>, StoreError> {
    let mut sql = reader.statement("select ");
    sql.push(COLUMNS).push(" from destinations order by name @bytewise limit ");
    sql.number(DESTINATIONS_MAX);
    let rows: Vec<Row> = reader.fetch(sql).await?;
    Ok(rows.into_iter().map(DestinationRow::from).collect())
}

pub(crate) async fn backlogs<R: Reader>(
    reader: &R,
) -> Result<HashMap<String, Backlog>, StoreError> {
    let mut sql = reader.statement("select name, ");
    sql.push(BACKLOG_COLUMNS).push(" from destinations as reader order by name @bytewise limit ");
    sql.number(DESTINATIONS_MAX);
    let rows: Vec<NamedBacklog> = reader.fetch(sql).await?;
    Ok(rows.into_iter().map(|row| (row.name, row.backlog.into())).collect())
}

pub(crate) async fn exceptions<R: Reader>(
    reader: &R,
    filter: &ExceptionFilter,
) -> Result<Vec<ExceptionView>, StoreError> {
    let mut sql = reader.statement(
        "select @text(x.event_id) as event_id, x.position, x.state, x.attempts, x.last_status, x.last_error,
             @ms(x.first_failed_at) as first_failed_at, @ms(x.next_at) as next_at, @ms(x.changed_at) as changed_at
         from delivery_exceptions x where x.destination = ",
    );
    sql.text(&filter.destination).when_text(" and x.state = ", filter.state.as_deref());
    if let Some((after,)) = filter.after {
        sql.push(" and x.event_id < ").id(after);
    }
    // Ids begin with the time: the latest events first.
    sql.push(" order by x.event_id desc limit ").number(filter.limit.into());
    let bytes = |row: &ExceptionViewRow| 200 + row.last_error.as_ref().map_or(0, String::len);
    let rows = reader.fetch_page(sql, bytes).await?;
    let mut commands = commands(reader, rows.iter().map(|row| row.event_id)).await?;
    let view = |row: ExceptionViewRow| ExceptionView {
        event_id: row.event_id,
        position: row.position,
        command: commands.remove(&row.event_id),
        attempts: row.attempts,
        last_status: row.last_status,
        last_error: row.last_error,
        first_failed_at: row.first_failed_at.map(UnixMillis),
        next_at: (row.state != "dead").then_some(UnixMillis(row.next_at)),
        changed_at: UnixMillis(row.changed_at),
        state: row.state,
    };
    Ok(rows.into_iter().map(view).collect())
}

/// The commands of those events that are still stored. Each is looked up by the primary key.
async fn commands<R: Reader>(
    reader: &R,
    ids: impl Iterator<Item = Uuid>,
) -> Result<HashMap<Uuid, String>, StoreError> {
    let ids: Vec<Uuid> = ids.collect();
    let times = || ids.iter().map(|id| event_id::time_of(*id));
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return Ok(HashMap::new());
    };
    let wanted: Vec<_> = ids.iter().map(|id| json!([event_id::time_of(*id).0, id])).collect();
    let mut sql = reader.statement(
        "select item.value ->> 1, (select e.command from events e
             where e.event_time = @as_time(item.value ->> 0) and e.id = @as_id(item.value ->> 1)
                 and e.event_time >= ",
    );
    // The bounds let PostgreSQL plan for the partitions between them only.
    sql.time(first).push(" and e.event_time <= ").time(last).push(") from ");
    sql.rows(&json!(wanted).to_string());
    let rows: Vec<(String, Option<String>)> = reader.fetch(sql).await?;
    let known = |(id, command): (String, Option<String>)| Some((id.parse().ok()?, command?));
    Ok(rows.into_iter().filter_map(known).collect())
}

pub(crate) async fn event_deliveries<R: Reader>(
    reader: &R,
    event: &StoredEvent,
) -> Result<EventDeliveries, StoreError> {
    // The place first: what the forwarder does meanwhile, the rows read behind it tell.
    let positions = destinations(reader).await?;
    let least = positions.iter().map(|row| row.position).min();
    let place = match least {
        Some(least) => place::find(reader, event, least).await?,
        None => EventPlace::Unknown,
    };
    let destinations = destinations(reader).await?;
    let mut sql = reader.statement("select destination, ");
    sql.push(EXCEPTION_COLUMNS).push(" from delivery_exceptions where event_id = ").id(event.id);
    sql.push(" limit ").number(DESTINATIONS_MAX);
    let rows: Vec<NamedException> = reader.fetch(sql).await?;
    let named = |row: NamedException| (row.destination, DeliveryException::from(row.exception));
    Ok(EventDeliveries { destinations, exceptions: rows.into_iter().map(named).collect(), place })
}

pub(crate) async fn feed_figures<R: Reader>(reader: &R) -> Result<FeedFigures, StoreError> {
    let mut sql = reader.statement(
        "select (select coalesce(max(position) - min(position) + 1, 0) from feed),
             count(*), cast(coalesce(sum(@feed_events(ids)), 0) as bigint)
         from (select ids from feed order by position desc limit ",
    );
    sql.number(SAMPLE_ROWS).push(") as sample");
    let found: Option<(i64, i64, i64)> = reader.fetch_one(sql).await?;
    let (rows, sample_rows, sample_events) = found.unwrap_or_default();
    let events = match sample_rows {
        0 => 0,
        sample_rows if rows <= sample_rows => sample_events,
        sample_rows => sample_events.saturating_mul(rows) / sample_rows,
    };
    if !R::DIALECT.has_markers {
        return Ok(FeedFigures { unnumbered: 0, events });
    }
    let mut sql = reader.statement(
        "select cast(coalesce(sum(cardinality(ids)), 0) as bigint) from (select ids from feed_new limit ",
    );
    sql.number(MARKERS_MAX).push(") as markers");
    let unnumbered: Option<(i64,)> = reader.fetch_one(sql).await?;
    Ok(FeedFigures { unnumbered: unnumbered.unwrap_or_default().0, events })
}
