//! How much waits for a destination, as a row.

use crate::forwarding::model::Backlog;
use crate::sql::from_row::from_row;

/// What is selected `from destinations`, as a template. 200 rows of the feed are looked at to estimate a backlog.
pub(crate) const BACKLOG_COLUMNS: &str =
    "(select coalesce(max(position), 0) from feed) - position / 512 as feed_rows,
     (select count(*) from (select 1 from feed where feed.position > destinations.position / 512
         order by feed.position limit 200) as sample) as sample_rows,
     (select cast(coalesce(sum(@feed_events(ids)), 0) as bigint) from (
         select ids from feed where feed.position > destinations.position / 512
         order by feed.position limit 200) as sample) as sample_events,
     (select @clock - @ms(numbered_at) from feed where feed.position > destinations.position / 512
         order by feed.position limit 1) as lag_ms,
     (select count(*) from delivery_exceptions where destination = name and state <> 'dead') as waiting,
     (select count(*) from delivery_exceptions where destination = name and state = 'dead') as dead, skipped";

/// The row.
pub(crate) struct BacklogRow {
    feed_rows: i64,
    sample_rows: i64,
    sample_events: i64,
    lag_ms: Option<i64>,
    waiting: i64,
    dead: i64,
    skipped: i64,
}

from_row! { BacklogRow: feed_rows, sample_rows, sample_events, lag_ms, waiting, dead, skipped; }

impl From<BacklogRow> for Backlog {
    fn from(row: BacklogRow) -> Self {
        let events = match row.sample_rows {
            0 => 0,
            sample_rows if row.feed_rows <= sample_rows => row.sample_events,
            sample_rows => (row.sample_events / sample_rows).max(1).saturating_mul(row.feed_rows),
        };
        Self {
            events,
            lag_ms: row.lag_ms.unwrap_or_default().max(0),
            waiting: row.waiting,
            dead: row.dead,
            skipped: row.skipped,
        }
    }
}
