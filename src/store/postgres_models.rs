//! How changes of the read models are written to PostgreSQL: all tables by one statement.

use std::sync::{Arc, OnceLock};

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgConnection, PgHasArrayType, PgTypeInfo};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Encode, Postgres, Type};
use uuid::Uuid;

use super::writing::{self, Dialect};
use crate::clock::UnixMillis;
use crate::handlers::table::{Column, Kind, Row, Table, Value};
use crate::handlers::{Batch, TABLES};

/// A moment as PostgreSQL sends it: µs since 2000.
struct Moment(UnixMillis);

/// 2000-01-01 in ms since 1970.
const EPOCH_MS: i64 = 946_684_800_000;

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = self.0.0.saturating_sub(EPOCH_MS).saturating_mul(1000);
        Encode::<Postgres>::encode(micros, buffer)
    }
}

pub(super) const DIALECT: Dialect = Dialect {
    slot: "floor(extract(epoch from clock_timestamp()) / 2)::bigint",
    least: |old, new| format!("least({old}, {new})"),
    greatest: |kind, old, new| match kind {
        Kind::Truth => format!("{old} or {new}"),
        Kind::Text => format!(r#"greatest({old} collate "C", {new} collate "C")"#),
        _ => format!("greatest({old}, {new})"),
    },
    collate: r#" collate "C""#,
};

/// Tables that mostly have rows together: one statement writes them, as each statement costs a round trip. In the order of
/// [`TABLES`], which is that of the lines here too.
const COMPANIES: [&[&str]; 5] = [
    &["merged_calls", "merged_call_members"],
    &["room_changes", "room_marks"],
    &["seat_marks", "gifts"],
    &["battle_marks", "metadata_marks", "recording_marks"],
    &["new_event_counts", "settle_queue"],
];

/// Some of [`COMPANIES`], and the statements that write their tables.
struct Shape {
    tables: Vec<&'static Table>,
    few: Arc<str>,
    many: Arc<str>,
}

/// How the values of a row are taken out of the arrays that columns are bound as.
#[derive(Clone, Copy)]
enum Taken {
    /// By their place in each array. To begin costs next to nothing, but each text is looked for from its array's first.
    ByPlace,
    /// All arrays side by side. To begin costs some µs for each array, of which all tables have a hundred.
    Unnested,
}

/// Up to how many rows of a table values are taken by their place: some more take as long either way.
const FEW: usize = 200;

/// All there are, by the bits of their number.
static SHAPES: [OnceLock<Shape>; 1 << COMPANIES.len()] =
    [const { OnceLock::new() }; 1 << COMPANIES.len()];

impl Shape {
    /// The one for tables that have rows.
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
            let [few, many] = [Taken::ByPlace, Taken::Unnested];
            let [few, many] = [few, many].map(|taken| statement("", &tables, taken).into());
            Self { tables, few, many }
        })
    }
}

/// Writes what many events change, in the order in which every writer does.
pub(super) async fn write(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
) -> Result<(), sqlx::Error> {
    if batch.is_empty() {
        return Ok(());
    }
    let shape = Shape::of(batch.tables());
    let longest = batch.tables().iter().map(|(_, rows)| rows.len()).max().unwrap_or_default();
    let statement = if longest <= FEW { &shape.few } else { &shape.many };
    let mut query = sqlx::query(AssertSqlSafe(statement.clone()));
    for table in &shape.tables {
        let rows = batch.tables().iter().find(|(named, _)| named.name == table.name);
        query = bind_rows(query, table, rows.map_or(&[], |(_, rows)| rows));
    }
    query.execute(connection).await?;
    Ok(())
}

/// Adds rows to a table, or to one of the same columns whose name has a prefix, or merges them into those that are there.
pub(super) async fn insert(
    connection: &mut PgConnection,
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

/// Binds a column's values as an array.
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

/// The statement that adds rows to tables, or merges them into those that are there.
///
/// The server runs the statement behind `with` first and then those before it, the last one first
/// (`ExecPostprocessPlan`): so the tables stand here in the reverse of the order in which their rows are locked.
fn statement(prefix: &str, tables: &[&Table], taken: Taken) -> String {
    let mut bound = 0;
    let mut inserts = Vec::new();
    for table in tables {
        inserts.push((table.name, insertion(prefix, table, taken, &mut bound)));
    }
    let Some((first, rest)) = inserts.split_first() else { return String::new() };
    let with: Vec<String> =
        rest.iter().rev().map(|(name, insert)| format!("new_{name} as ({insert})")).collect();
    let with = if with.is_empty() { String::new() } else { format!("with {} ", with.join(", ")) };
    format!("{with}{}", first.1)
}

/// What adds rows to one table, with its parameters numbered after those that are `bound` already.
fn insertion(prefix: &str, table: &Table, taken: Taken, bound: &mut usize) -> String {
    let Table { name, columns } = table;
    let names = writing::list(columns, |column| column.name.to_owned());
    let given: Vec<Column> = columns.iter().copied().filter(writing::is_bound).collect();
    let first = *bound + 1;
    *bound += given.len();
    let array = |place: usize, kind: Kind| format!("${place}::{}[]", type_of(kind));
    let mut place = first;
    let selected = writing::list(columns, |column| {
        if !writing::is_bound(column) {
            let slot = if prefix.is_empty() { DIALECT.slot } else { "0" };
            return slot.to_owned();
        }
        let value = match taken {
            Taken::ByPlace => format!("({})[place]", array(place, column.kind)),
            Taken::Unnested => column.name.to_owned(),
        };
        place += 1;
        if column.kind == Kind::Json { format!("{value}::json") } else { value }
    });
    let rows = match taken {
        Taken::ByPlace => {
            let kind = given.first().map_or(Kind::Number, |column| column.kind);
            format!("generate_subscripts({}, 1) as place", array(first, kind))
        }
        Taken::Unnested => {
            let arrays = given.iter().zip(first..).map(|(column, place)| array(place, column.kind));
            let arrays = arrays.collect::<Vec<_>>().join(", ");
            let given = writing::list(&given, |column| column.name.to_owned());
            format!("unnest({arrays}) as batch ({given})")
        }
    };
    let taken_up = writing::on_conflict(&DIALECT, table);
    format!(
        "insert into {prefix}{name} as {name} ({names}) select {selected} from {rows}{taken_up}"
    )
}

pub(super) fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Number | Kind::Slot => "bigint",
        Kind::Text | Kind::Json => "text",
        Kind::Truth => "boolean",
        Kind::Time => "timestamptz",
        Kind::Id => "uuid",
    }
}
