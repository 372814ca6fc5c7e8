//! Rows of the read models in SQLite.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Sqlite};

use crate::sql::dialect::SQLITE;
use crate::sql::upsert;
use crate::sqlite::batch::{parts, values};
use projections::TABLES;
use projections::table::{Kind, Row, Table, Value};

/// Inserts rows into a table, or into the one of the same columns with a prefix to its name, or merges them into
/// existing rows.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    prefix: &str,
    table: &Table,
    rows: &[Row<'_>],
) -> Result<(), sqlx::Error> {
    for part in parts(rows) {
        let statement = statement(prefix, table, part.len()).into();
        insert_part(connection, statement, table, part).await?;
    }
    Ok(())
}

async fn insert_part(
    connection: &mut SqliteConnection,
    statement: Arc<str>,
    table: &Table,
    rows: &[Row<'_>],
) -> Result<(), sqlx::Error> {
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for row in rows {
        for (column, value) in table.columns.iter().zip(row) {
            if upsert::is_bound(column) {
                query = bind(query, *value);
            }
        }
    }
    query.execute(connection).await?;
    Ok(())
}

/// The statement for one row of one of [`TABLES`], made once.
pub(crate) fn statement_of(table: &Table) -> Arc<str> {
    static STATEMENTS: LazyLock<HashMap<&'static str, Arc<str>>> = LazyLock::new(|| {
        TABLES.into_iter().map(|table| (table.name, statement("", table, 1).into())).collect()
    });
    let made = STATEMENTS.get(table.name).cloned();
    made.unwrap_or_else(|| statement("", table, 1).into())
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

/// The statement that inserts this number of rows into a table, or merges them into existing rows.
fn statement(prefix: &str, table: &Table, rows: usize) -> String {
    let Table { name, columns } = table;
    let names = upsert::list(columns, |column| column.name.to_owned());
    let row = upsert::list(columns, |column| match column.kind {
        Kind::Slot if prefix.is_empty() => SQLITE.slot.to_owned(),
        Kind::Slot => "0".to_owned(),
        _ => "?".to_owned(),
    });
    let values = values(&row, rows);
    let taken_up = upsert::on_conflict(&SQLITE, table);
    format!("insert into {prefix}{name} as {name} ({names}) values {values}{taken_up}")
}
