//! Reads derived events by their ids.

use uuid::Uuid;

use crate::derived::model::{COLUMNS, DerivedEvent, Row};
use crate::error::StoreError;
use crate::sql::builder::Reader;

/// Those of these ids that are derived events.
pub(crate) async fn of_ids<R: Reader>(
    reader: &R,
    ids: impl Iterator<Item = Uuid>,
) -> Result<Vec<DerivedEvent>, StoreError> {
    let ids: Vec<String> = ids.map(|id| format!("[\"{id}\"]")).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = reader.statement("select ");
    sql.push(COLUMNS)
        .push(" from derived_events where id in (select @as_id(item.value ->> 0) from @rows(1))");
    sql.first(&format!("[{}]", ids.join(",")));
    let rows: Vec<Row> = reader.fetch(sql).await?;
    rows.into_iter().map(DerivedEvent::try_from).collect()
}
