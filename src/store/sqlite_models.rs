//! How changes of the read models are written to SQLite: row by row.

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Sqlite};

use super::writing::{self, Dialect};
use crate::handlers::Batch;
use crate::handlers::table::{Kind, Row, Table, Value};

pub(super) const DIALECT: Dialect = Dialect {
    slot: "unixepoch() / 2",
    // `min` and `max` are null where one value is.
    least: |old, new| format!("coalesce(min({old}, {new}), {old}, {new})"),
    greatest: |_, old, new| format!("coalesce(max({old}, {new}), {old}, {new})"),
    // Texts are compared so anyway.
    collate: "",
};

/// Writes what many events change.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    batch: &Batch<'_>,
) -> Result<(), sqlx::Error> {
    for (table, rows) in batch.tables() {
        insert(connection, "", table, rows).await?;
    }
    Ok(())
}

/// Adds rows to a table, or to one of the same columns whose name has a prefix, or merges them into those that are there.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    prefix: &str,
    table: &Table,
    rows: &[Row<'_>],
) -> Result<(), sqlx::Error> {
    let statement: std::sync::Arc<str> = statement(prefix, table).into();
    for row in rows {
        let mut query = sqlx::query(AssertSqlSafe(statement.clone()));
        for (column, value) in table.columns.iter().zip(row) {
            if writing::is_bound(column) {
                query = bind(query, *value);
            }
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    value: Value<'q>,
) -> Query<'q, Sqlite, SqliteArguments> {
    match value {
        Value::Null => query.bind(None::<i64>),
        Value::Number(number) => query.bind(number),
        Value::Truth(truth) => query.bind(truth),
        Value::Time(time) => query.bind(time.0),
        Value::Id(id) => query.bind(id.to_string()),
        Value::Text(text) => query.bind(text),
    }
}

/// The statement that adds a row to a table, or merges it into the one that is there.
fn statement(prefix: &str, table: &Table) -> String {
    let Table { name, columns } = table;
    let names = writing::list(columns, |column| column.name.to_owned());
    let values = writing::list(columns, |column| match column.kind {
        Kind::Slot if prefix.is_empty() => DIALECT.slot.to_owned(),
        Kind::Slot => "0".to_owned(),
        _ => "?".to_owned(),
    });
    let taken_up = writing::on_conflict(&DIALECT, table);
    format!("insert into {prefix}{name} as {name} ({names}) values ({values}){taken_up}")
}
