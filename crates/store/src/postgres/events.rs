//! Writes events to PostgreSQL.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use sqlx::postgres::{PgArguments, PgExecutor};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row};
use uuid::Uuid;

use crate::model::event::UNCHECKED;
use crate::postgres::arrays::{ArrayOf, Moment, Taken};
use protocol::Event;

/// The columns of `events`, in binding order.
const COLUMNS: [ArrayOf; 18] = [
    column("id", "uuid"),
    column("sdk_app_id", "bigint"),
    column("family", "text"),
    column("command", "text"),
    column("command_sent", "text"),
    column("event_time", "timestamptz"),
    column("received_at", "timestamptz"),
    column("call_id", "text"),
    column("room_id", "text"),
    column("operator", "text"),
    column("client_ip", "text"),
    column("platform", "text"),
    ArrayOf { name: "payload", bound: "text", kept: "json" },
    column("raw", "bytea"),
    column("decode_error", "text"),
    column("request_id", "text"),
    column("query", "text"),
    column("signature", "text"),
];

/// The number of parameters that [`bind`] binds.
pub(crate) const BOUND: usize = COLUMNS.len();

/// The common table expressions that begin a statement which writes only when all of its events are new: then
/// `all_new.yes` is true. The events are the first parameters.
///
/// A scalar subquery instead of `exists`, which the planner may turn into a scan of the whole table. Events are in the order
/// of their times: the bounds of the first and the last let PostgreSQL leave out all other partitions once, instead of
/// preparing each of them and leaving it out for each event. If they were in no order, one that is stored might be missed, and
/// the insert would fail because of its key.
pub(crate) const ALL_NEW: &str = "all_new as materialized (
     select not coalesce(bool_or((
         select true from events
         where event_time = ($6::timestamptz[])[place] and id = ($1::uuid[])[place]
             and event_time >= ($6::timestamptz[])[1] and event_time <= ($6::timestamptz[])[cardinality($1::uuid[])]
         limit 1)), false) as yes
     from generate_subscripts($1::uuid[], 1) as place)";
/// The condition that makes an `insert … select` depend on it.
pub(crate) const WHERE_ALL_NEW: &str = " where (select yes from all_new)";

/// The common table expression that marks these events as stored, for the feed.
pub(crate) const MARKED: &str = "marked as (
     insert into feed_new (ids)
     select ($1::uuid[])[first : first + 499] from generate_series(1, cardinality($1::uuid[]), 500) as first
     where (select yes from all_new))";

const fn column(name: &'static str, kind: &'static str) -> ArrayOf {
    ArrayOf { name, bound: kind, kept: kind }
}

/// The statement that inserts the events bound first.
pub(crate) fn insertion(taken: Taken) -> String {
    let (values, rows) = taken.out_of(&COLUMNS, 1);
    let names = COLUMNS.map(|column| column.name).join(", ");
    format!("insert into events ({names}) select {} from {rows}", values.join(", "))
}

/// Binds events, each column as an array.
pub(crate) fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    events: &[&'q Event],
) -> Query<'q, Postgres, PgArguments> {
    fn column<'q, T>(events: &[&'q Event], value: impl Fn(&'q Event) -> T) -> Vec<T> {
        events.iter().map(|event| value(event)).collect()
    }
    let (payloads, raws): (Vec<_>, Vec<_>) =
        events.iter().map(|event| event.payload.columns()).unzip();
    query
        .bind(column(events, |event| event.id))
        .bind(column(events, |event| event.app.as_i64()))
        .bind(column(events, |event| event.family.as_str()))
        .bind(column(events, |event| event.command.as_ref()))
        .bind(column(events, |event| event.command_sent.as_deref()))
        .bind(column(events, |event| Moment(event.event_time)))
        .bind(column(events, |event| Moment(event.received_at)))
        .bind(column(events, |event| event.call_id.as_deref()))
        .bind(column(events, |event| event.room_id.as_deref()))
        .bind(column(events, |event| event.operator.as_deref()))
        .bind(column(events, |event| event.client_ip.as_deref()))
        .bind(column(events, |event| event.platform.as_deref()))
        .bind(payloads)
        .bind(raws)
        .bind(column(events, |event| event.decode_error.as_deref()))
        .bind(column(events, |event| event.request_id.as_deref()))
        .bind(column(events, |event| event.query.as_deref()))
        .bind(column(events, |event| event.unchecked.then_some(UNCHECKED)))
}

/// Inserts the keys of events that are identified by their request, in order, so that two writers with the same keys
/// cannot deadlock. Returns the ids of events that are stored under another row already.
pub(crate) async fn request_keys(
    connection: impl PgExecutor<'_>,
    events: &[&Event],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let keyed = events.iter().filter_map(|event| Some((event.request_key()?, *event)));
    let mut keyed: Vec<(Uuid, &Event)> = keyed.collect();
    if keyed.is_empty() {
        return Ok(HashSet::new());
    }
    keyed.sort_by_key(|(key, _)| *key);
    let new: Vec<Uuid> = sqlx::query_scalar(
        "insert into request_keys (key, event_id, received_at)
         select key, event_id, received_at
         from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) as new (key, event_id, received_at)
         on conflict do nothing
         returning event_id",
    )
    .bind(keyed.iter().map(|(key, _)| *key).collect::<Vec<_>>())
    .bind(keyed.iter().map(|(_, event)| event.id).collect::<Vec<_>>())
    .bind(keyed.iter().map(|(_, event)| Moment(event.received_at)).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let mut known: HashSet<Uuid> = keyed.iter().map(|(_, event)| event.id).collect();
    for id in &new {
        known.remove(id);
    }
    Ok(known)
}

/// Inserts all events by one statement, which is a transaction of its own, and marks the new ones for the feed. Returns
/// their ids.
pub(crate) async fn insert(
    connection: impl PgExecutor<'_>,
    events: &[&Event],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    static STATEMENTS: LazyLock<[Arc<str>; 2]> = LazyLock::new(|| {
        [Taken::ByPlace, Taken::Unnested]
            .map(|taken| {
                let insertion = insertion(taken);
                let statement = format!(
                    "with new as ({insertion} on conflict do nothing returning id),
                     marker as (select array_agg(id) as ids from new),
                     marked as (
                         insert into feed_new (ids)
                         select ids[first : first + 499]
                         from marker cross join lateral generate_series(1, cardinality(ids), 500) as first)
                     select id from new"
                );
                statement.into()
            })
    });
    let statement = STATEMENTS[Taken::of(events.len()) as usize].clone();
    let new = bind(sqlx::query(AssertSqlSafe(statement)), events).fetch_all(connection).await?;
    new.iter().map(|row| row.try_get(0)).collect()
}
