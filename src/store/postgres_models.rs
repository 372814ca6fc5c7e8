//! How changes of the read models are written to PostgreSQL: one statement for each table.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgConnection, PgHasArrayType, PgTypeInfo};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Encode, Postgres, Type};
use uuid::Uuid;

use super::writing::{self, Dialect};
use crate::clock::UnixMillis;
use crate::handlers::Batch;
use crate::handlers::table::{Column, Kind, Row, Table, Value};

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
    // Of one connection, and so of one writer.
    shard: "pg_backend_pid() % 8",
    slot: "floor(extract(epoch from clock_timestamp()) / 2)::bigint",
    least: |old, new| format!("least({old}, {new})"),
    greatest: |kind, old, new| match kind {
        Kind::Truth => format!("{old} or {new}"),
        Kind::Text => format!(r#"greatest({old} collate "C", {new} collate "C")"#),
        _ => format!("greatest({old}, {new})"),
    },
    collate: r#" collate "C""#,
};

/// Writes what many events change, in the order in which every writer does.
pub(super) async fn write(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
) -> Result<(), sqlx::Error> {
    for (table, rows) in batch.tables() {
        insert(connection, "", table, rows).await?;
    }
    Ok(())
}

/// Adds rows to a table, or to one of the same columns whose name has a prefix, or merges them into those that are there.
pub(super) async fn insert(
    connection: &mut PgConnection,
    prefix: &str,
    table: &Table,
    rows: &[Row<'_>],
) -> Result<(), sqlx::Error> {
    let mut query = sqlx::query(AssertSqlSafe(statement(prefix, table)));
    for (place, column) in table.columns.iter().enumerate() {
        query = bind(query, column.kind, rows.iter().map(|row| row[place]));
    }
    query.execute(connection).await?;
    Ok(())
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
        Kind::Shard | Kind::Slot => query,
    }
}

fn array<'q, T>(
    values: impl Iterator<Item = Value<'q>>,
    read: impl Fn(Value<'q>) -> Option<T>,
) -> Vec<Option<T>> {
    values.map(read).collect()
}

/// The statement that adds rows to a table, or merges them into it.
fn statement(prefix: &str, table: &Table) -> String {
    let Table { name, columns } = table;
    let names = writing::list(columns, |column| column.name.to_owned());
    let bound: Vec<Column> = columns.iter().copied().filter(writing::is_bound).collect();
    let arrays: Vec<String> = bound
        .iter()
        .zip(1..)
        .map(|(column, number)| format!("${number}::{}[]", type_of(column.kind)))
        .collect();
    let selected = writing::list(columns, |column| match column.kind {
        Kind::Json => format!("{}::json", column.name),
        Kind::Shard => DIALECT.shard.to_owned(),
        Kind::Slot if prefix.is_empty() => DIALECT.slot.to_owned(),
        Kind::Slot => "0".to_owned(),
        _ => column.name.to_owned(),
    });
    format!(
        "insert into {prefix}{name} as {name} ({names}) select {selected} from unnest({}) as batch ({}) on conflict {}",
        arrays.join(", "),
        writing::list(&bound, |column| column.name.to_owned()),
        writing::on_conflict(&DIALECT, table),
    )
}

pub(super) fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Number | Kind::Shard | Kind::Slot => "bigint",
        Kind::Text | Kind::Json => "text",
        Kind::Truth => "boolean",
        Kind::Time => "timestamptz",
        Kind::Id => "uuid",
    }
}
