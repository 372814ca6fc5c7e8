//! Reads derived events by their ids.

use uuid::Uuid;

use crate::derived::model::{COLUMNS, DerivedEvent, Row};
use crate::error::StoreError;
use crate::sql::builder::Reader;
use crate::sql::from_row::{from_row, id, part_if_readable};

/// A derived event, or why its row is none.
struct Found {
    id: Uuid,
    row: Result<Row, sqlx::Error>,
}

from_row! { Found: id = id, row = part_if_readable; }

/// Those of these ids that are derived events; an error for each whose row cannot be read.
pub(crate) async fn of_ids<R: Reader>(
    reader: &R,
    ids: impl Iterator<Item = Uuid>,
) -> Result<Vec<(Uuid, Result<DerivedEvent, StoreError>)>, StoreError> {
    let ids: Vec<String> = ids.map(|id| format!("[\"{id}\"]")).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = reader.statement("select ");
    sql.push(COLUMNS)
        .push(" from derived_events where id in (select @as_id(item.value ->> 0) from @rows(1))");
    sql.first(&format!("[{}]", ids.join(",")));
    let rows: Vec<Found> = reader.fetch(sql).await?;
    let event = |row: Result<Row, _>| DerivedEvent::try_from(row.map_err(StoreError::Unavailable)?);
    Ok(rows.into_iter().map(|Found { id, row }| (id, event(row))).collect())
}
