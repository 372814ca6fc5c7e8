//! The apps that a table of read models has rows of.

use crate::error::StoreError;
use crate::sql::builder::Reader;

/// The apps of a table whose index begins with the app: one look into it for each.
pub(crate) async fn apps<R: Reader>(
    reader: &R,
    table: &'static str,
) -> Result<Vec<i64>, StoreError> {
    let mut sql = reader.statement("with recursive apps (id) as (select min(sdk_app_id) from ");
    sql.push(table).push(" union all select (select min(sdk_app_id) from ").push(table);
    sql.push(" where sdk_app_id > apps.id) from apps where apps.id is not null)");
    sql.push(" select id from apps where id is not null");
    let rows: Vec<(i64,)> = reader.fetch(sql).await?;
    Ok(rows.into_iter().map(|(app,)| app).collect())
}
