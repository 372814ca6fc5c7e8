//! Rows as structs, by the names of their columns.

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};
use uuid::Uuid;

use crate::error::is_undecodable;
use protocol::Command;

/// Reads structs from the rows of both databases, or of the one whose row is named first. Each field is the column of its
/// name; `field = function` reads it with that function.
///
/// It stands in for sqlx's derive, whose procedural macros compile both drivers, and SQLite itself, once more for the
/// build.
macro_rules! from_row {
    (@ $row:ident, $field:ident) => { sqlx::Row::try_get($row, stringify!($field)) };
    (@ $row:ident, $field:ident, $read:path) => { $read($row, stringify!($field)) };
    ($row:path => $($name:ident: $($field:ident $(= $read:path)?),+;)+) => {$(
        impl sqlx::FromRow<'_, $row> for $name {
            fn from_row(row: &$row) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: $crate::sql::from_row::from_row!(@ row, $field $(, $read)?)?,)+ })
            }
        }
    )+};
    ($($name:ident: $($field:ident $(= $read:path)?),+;)+) => {
        $crate::sql::from_row::from_row! {
            sqlx::postgres::PgRow => $($name: $($field $(= $read)?),+;)+
        }
        $crate::sql::from_row::from_row! {
            sqlx::sqlite::SqliteRow => $($name: $($field $(= $read)?),+;)+
        }
    };
}
pub(crate) use from_row;

/// An id, which both databases return as text.
pub(crate) fn id<'r, R: Row>(row: &'r R, column: &'static str) -> Result<Uuid, sqlx::Error>
where
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let text: String = row.try_get(column)?;
    text.parse().map_err(|error: uuid::Error| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: error.into(),
    })
}

/// A column that not every statement has.
pub(crate) fn if_selected<'r, R: Row, T>(
    row: &'r R,
    column: &'static str,
) -> Result<Option<T>, sqlx::Error>
where
    &'static str: ColumnIndex<R>,
    Option<T>: Decode<'r, R::Database> + Type<R::Database>,
{
    match row.try_get(column) {
        Err(sqlx::Error::ColumnNotFound(_)) => Ok(None),
        read => read,
    }
}

/// Words with commas between; none where the column is null.
pub(crate) fn words<'r, R: Row>(
    row: &'r R,
    column: &'static str,
) -> Result<Vec<String>, sqlx::Error>
where
    &'static str: ColumnIndex<R>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    let text: Option<String> = row.try_get(column)?;
    Ok(text.map_or_else(Vec::new, |text| text.split(',').map(str::to_owned).collect()))
}

/// A JSON list of texts; none where the column is null.
pub(crate) fn texts<'r, R: Row>(
    row: &'r R,
    column: &'static str,
) -> Result<Vec<String>, sqlx::Error>
where
    &'static str: ColumnIndex<R>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    let list: Option<String> = row.try_get(column)?;
    let Some(list) = list else { return Ok(Vec::new()) };
    serde_json::from_str(&list).map_err(|error| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: error.into(),
    })
}

/// What is read by another statement.
#[expect(clippy::unnecessary_wraps, reason = "readers of columns may fail")]
pub(crate) fn later<R: Row, T: Default>(_row: &R, _field: &'static str) -> Result<T, sqlx::Error> {
    Ok(T::default())
}

/// The vendor's constant of the column `event_type`.
pub(crate) fn event_name<'r, R: Row>(
    row: &'r R,
    _field: &'static str,
) -> Result<Option<String>, sqlx::Error>
where
    &'static str: ColumnIndex<R>,
    Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
{
    let number: Option<i64> = row.try_get("event_type")?;
    Ok(number.and_then(Command::of_event_type).map(|command| command.name.to_owned()))
}

/// A struct that is read from columns of the same row.
pub(crate) fn part<'r, R: Row, T: FromRow<'r, R>>(
    row: &'r R,
    _field: &'static str,
) -> Result<T, sqlx::Error> {
    T::from_row(row)
}

/// The same, or why what stands there is none: so one damaged row does not refuse all others of a statement.
pub(crate) fn part_if_readable<'r, R: Row, T: FromRow<'r, R>>(
    row: &'r R,
    _field: &'static str,
) -> Result<Result<T, sqlx::Error>, sqlx::Error> {
    match T::from_row(row) {
        Err(error) if is_undecodable(&error) => Ok(Err(error)),
        read => read.map(Ok),
    }
}
