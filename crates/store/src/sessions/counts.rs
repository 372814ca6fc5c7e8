//! Aggregates counts of events: writers only append to `new_event_counts`, so that they do not wait for each other.

use crate::error::StoreError;
use crate::sessions::queue::SettlerConnection;
use crate::sql::connection::DbConnection;

/// The greatest sum: larger ones saturate.
const MAX: i64 = i64::MAX;

/// The key of `summed_event_counts`.
pub(crate) const SUM_KEY: &str = "sdk_app_id, width_s, at, command, result";
/// Maximum number of rows aggregated at once.
const ROWS_MAX: i64 = 50_000;

/// Sums of some rows by minute and by hour.
const SUMS: &str = "
    select sdk_app_id, 60 as width_s, at, command, result, max(family) as family,
        @sum(events) as events, @sum(lag_ms) as lag_ms, max(lag_ms_max) as lag_ms_max
    from taken group by sdk_app_id, at, command, result
    union all
    select sdk_app_id, 3600, @hour(at), command, result, max(family),
        @sum(events), @sum(lag_ms), max(lag_ms_max)
    from taken group by sdk_app_id, @hour(at), command, result";

/// Adds to a column of `summed_event_counts`, saturating. A correction may be negative.
fn more(column: &str) -> String {
    format!(
        "case when excluded.{column} > {MAX} - @greatest(summed.{column}, 0) then {MAX}
              else summed.{column} + excluded.{column} end"
    )
}

/// Adds rows to `summed_event_counts`: all columns, in order.
pub(crate) fn add(rows: &str) -> String {
    format!(
        "insert into summed_event_counts as summed ({SUM_KEY}, family, events, lag_ms, lag_ms_max)
         {rows}
         on conflict ({SUM_KEY}) do update set
             events = {},
             lag_ms = {},
             lag_ms_max = @greatest(summed.lag_ms_max, excluded.lag_ms_max)",
        more("events"),
        more("lag_ms")
    )
}

impl DbConnection {
    /// Aggregates new counts, at most `ROWS_MAX` rows.
    pub(crate) async fn add_counts(&mut self) -> Result<(), StoreError> {
        if self.is_postgres() {
            // One statement deletes and sums the same rows. It locks sums in the order of a rebuild.
            let sql = format!(
                "with taken as (
                     delete from new_event_counts
                     where ctid = any (array(select ctid from new_event_counts limit $1)) returning *)
                 {}",
                add(&format!(
                    "select * from ({SUMS}) as sums
                     order by sdk_app_id, width_s, at, command @bytewise, result @bytewise"
                ))
            );
            return self.execute(&sql, &[ROWS_MAX.into()]).await.map(|_| ());
        }
        let last =
            "select max(rowid) from (select rowid from new_event_counts order by rowid limit $1)";
        let last: Option<(Option<i64>,)> = self.row(last, &[ROWS_MAX.into()]).await?;
        let Some((Some(last),)) = last else { return Ok(()) };
        self.begin().await?;
        // SQLite requires a `where` before `on conflict`, which it would parse as a join condition otherwise.
        let sql = format!(
            "with taken as (select * from new_event_counts where rowid <= $1) {}",
            add(&format!("select * from ({SUMS}) as sums where true"))
        );
        self.execute(&sql, &[last.into()]).await?;
        self.execute("delete from new_event_counts where rowid <= $1", &[last.into()]).await?;
        self.commit().await
    }
}

impl SettlerConnection {
    /// Aggregates new counts, a bounded number of rows at a time.
    ///
    /// # Errors
    /// When the store refuses them.
    pub async fn add_counts(&mut self) -> Result<(), StoreError> {
        self.0.add_counts().await
    }
}
