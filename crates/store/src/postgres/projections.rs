//! Writes changes of the read models to PostgreSQL: all tables by one statement.

use std::sync::{Arc, OnceLock};

use sqlx::postgres::{PgArguments, PgExecutor};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};
use uuid::Uuid;

use crate::postgres::arrays::{ArrayOf, Moment, Taken};
use crate::postgres::events;
use crate::sql::dialect::{POSTGRES, type_of};
use crate::sql::upsert;
use projections::table::{Column, Kind, Row, Table, Value};
use projections::{Batch, TABLES};
use protocol::Event;

/// Groups of tables that usually get rows together: one statement writes a group, as each statement costs a round
/// trip. In the order of [`TABLES`], within and between the groups.
const COMPANIES: [&[&str]; 8] = [
    &["merged_calls", "merged_call_members"],
    &["room_changes", "room_marks"],
    &["seat_marks", "gifts"],
    &["battle_marks", "metadata_marks", "recording_marks"],
    &["rtc_task_marks"],
    &["rtc_room_marks", "rtc_robots"],
    &["new_event_counts", "settle_queue"],
    &["rtc_settle_queue"],
];

/// A combination of [`COMPANIES`], and the statements that write its tables: one for few rows and one for many.
struct Shape {
    tables: Vec<&'static Table>,
    alone: [Arc<str>; 2],
    with_events: [Arc<str>; 2],
}

/// All combinations, indexed by the bits of their groups.
static SHAPES: [OnceLock<Shape>; 1 << COMPANIES.len()] =
    [const { OnceLock::new() }; 1 << COMPANIES.len()];

impl Shape {
    /// The combination for the tables that have rows.
    fn of(tables: &[(&'static Table, Vec<Row<'_>>)]) -> &'static Self {
        let has_rows = |name: &&str| tables.iter().any(|(table, _)| table.name == *name);
        let bit = |(place, company): (usize, &&[&str])| {
            usize::from(company.iter().any(&has_rows)) << place
        };
        let number: usize = COMPANIES.iter().enumerate().map(bit).sum();
        SHAPES[number].get_or_init(|| {
            let companies = COMPANIES.iter().enumerate();
            let names = companies.filter(|(place, _)| number >> place & 1 == 1);
            let names: Vec<&str> = names.flat_map(|(_, names)| *names).copied().collect();
            let tables = TABLES.into_iter().filter(|table| names.contains(&table.name));
            let tables: Vec<_> = tables.collect();
            let taken = [Taken::ByPlace, Taken::Unnested];
            let alone = taken.map(|taken| statement("", &tables, taken).into());
            let with_events = taken.map(|taken| statement_with_events(&tables, taken).into());
            Self { tables, alone, with_events }
        })
    }

    fn bind<'q>(
        &self,
        query: Query<'q, Postgres, PgArguments>,
        batch: &Batch<'q>,
    ) -> Query<'q, Postgres, PgArguments> {
        self.tables.iter().fold(query, |query, table| {
            let rows = batch.tables().iter().find(|(named, _)| named.name == table.name);
            bind_rows(query, table, rows.map_or(&[], |(_, rows)| rows))
        })
    }
}

fn longest(batch: &Batch<'_>) -> usize {
    batch.tables().iter().map(|(_, rows)| rows.len()).max().unwrap_or_default()
}

/// Writes the changes of many events, in the lock order of all writers.
pub(crate) async fn write(
    connection: impl PgExecutor<'_>,
    batch: &Batch<'_>,
) -> Result<(), sqlx::Error> {
    if batch.is_empty() {
        return Ok(());
    }
    let shape = Shape::of(batch.tables());
    let statement = shape.alone[Taken::of(longest(batch)) as usize].clone();
    shape.bind(sqlx::query(AssertSqlSafe(statement)), batch).execute(connection).await?;
    Ok(())
}

/// Writes events and their changes by one statement, which is a transaction of its own, or nothing when one of the
/// events is stored already. Returns whether it wrote them.
pub(crate) async fn write_with_events(
    connection: impl PgExecutor<'_>,
    events: &[&Event],
    batch: &Batch<'_>,
) -> Result<bool, sqlx::Error> {
    let shape = Shape::of(batch.tables());
    let rows = longest(batch).max(events.len());
    let statement = shape.with_events[Taken::of(rows) as usize].clone();
    let query = events::bind(sqlx::query(AssertSqlSafe(statement)), events);
    let done = shape.bind(query, batch).execute(connection).await?;
    Ok(done.rows_affected() > 0)
}

/// Inserts rows into a table, or into the one of the same columns with a prefix to its name, or merges them into
/// existing rows.
pub(crate) async fn insert(
    connection: impl PgExecutor<'_>,
    prefix: &str,
    table: &Table,
    rows: &[Row<'_>],
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(AssertSqlSafe(statement(prefix, &[table], Taken::Unnested)));
    bind_rows(query, table, rows).execute(connection).await?;
    Ok(())
}

fn bind_rows<'q>(
    query: Query<'q, Postgres, PgArguments>,
    table: &Table,
    rows: &[Row<'q>],
) -> Query<'q, Postgres, PgArguments> {
    table.columns.iter().enumerate().fold(query, |query, (place, column)| {
        bind(query, column.kind, rows.iter().map(|row| row[place]))
    })
}

/// Binds the values of a column as an array.
fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    kind: Kind,
    values: impl Iterator<Item = Value<'q>>,
) -> Query<'q, Postgres, PgArguments> {
    match kind {
        Kind::Number => query.bind(array::<i64>(values, |value| match value {
            Value::Number(number) => Some(number),
            _ => None,
        })),
        Kind::Truth => query.bind(array::<bool>(values, |value| match value {
            Value::Truth(truth) => Some(truth),
            _ => None,
        })),
        Kind::Time => query.bind(array::<Moment>(values, |value| match value {
            Value::Time(time) => Some(Moment(time)),
            _ => None,
        })),
        Kind::Id => query.bind(array::<Uuid>(values, |value| match value {
            Value::Id(id) => Some(id),
            _ => None,
        })),
        Kind::Text | Kind::Json => query.bind(array::<&'q str>(values, |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })),
        Kind::Slot => query,
    }
}

fn array<'q, T>(
    values: impl Iterator<Item = Value<'q>>,
    read: impl Fn(Value<'q>) -> Option<T>,
) -> Vec<Option<T>> {
    values.map(read).collect()
}

/// The statement that inserts rows into tables, or merges them into existing rows.
///
/// The server runs the main statement first and then the `with` items, the last one first (`ExecPostprocessPlan`): so
/// the tables are listed in the reverse of the lock order.
fn statement(prefix: &str, tables: &[&Table], taken: Taken) -> String {
    let inserts = insertions(prefix, tables, taken, 1, "");
    let Some((first, rest)) = inserts.split_first() else { return String::new() };
    let with: Vec<String> = rest.iter().rev().map(named).collect();
    let with = if with.is_empty() { String::new() } else { format!("with {} ", with.join(", ")) };
    format!("{with}{}", first.1)
}

/// As [`statement`], with the events before all tables, and only when all of them are new. Its affected rows are
/// those of events.
fn statement_with_events(tables: &[&Table], taken: Taken) -> String {
    let only = events::WHERE_ALL_NEW;
    let first = events::BOUND + 1;
    let inserts = insertions("", tables, taken, first, only);
    let mut with = vec![events::ALL_NEW.to_owned()];
    with.extend(inserts.iter().rev().map(named));
    with.push(events::MARKED.to_owned());
    format!("with {} {}{only}", with.join(", "), events::insertion(taken))
}

fn named((name, insert): &(&str, String)) -> String {
    format!("new_{name} as ({insert})")
}

/// One insert for each table, with parameters numbered from `first`, under a condition.
fn insertions(
    prefix: &str,
    tables: &[&Table],
    taken: Taken,
    mut first: usize,
    condition: &str,
) -> Vec<(&'static str, String)> {
    let insertion = |table: &&Table| {
        let Table { name, columns } = table;
        let given = columns.iter().filter(|column| upsert::is_bound(column));
        let given: Vec<ArrayOf> = given.map(array_of).collect();
        let (values, rows) = taken.out_of(&given, first);
        first += given.len();
        let mut values = values.into_iter();
        let selected = upsert::list(columns, |column| {
            let slot = if prefix.is_empty() { POSTGRES.slot } else { "0" };
            let value = upsert::is_bound(column).then(|| values.next()).flatten();
            value.unwrap_or_else(|| slot.to_owned())
        });
        let names = upsert::list(columns, |column| column.name.to_owned());
        let taken_up = upsert::on_conflict(&POSTGRES, table);
        let insert = format!(
            "insert into {prefix}{name} as {name} ({names}) select {selected} from {rows}{condition}{taken_up}"
        );
        (*name, insert)
    };
    tables.iter().map(insertion).collect()
}

fn array_of(column: &Column) -> ArrayOf {
    let bound = type_of(column.kind);
    let kept = if column.kind == Kind::Json { "json" } else { bound };
    ArrayOf { name: column.name, bound, kept }
}
