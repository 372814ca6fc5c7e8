//! How much waits for a destination, as a row.

use crate::forwarding::model::Backlog;
use crate::sql::from_row::{from_row, part};

/// What of a backlog is selected from a table `reader` with a position in the feed, as a template; see `FeedBacklogRow`. 200 rows of
/// the feed are looked at to estimate it.
macro_rules! feed_backlog_columns {
    () => {
        "(select coalesce(max(position), 0) from feed) - reader.position / 512 as feed_rows,
         (select count(*) from (select 1 from feed where feed.position > reader.position / 512
             order by feed.position limit 200) as sample) as sample_rows,
         (select cast(coalesce(sum(@feed_events(ids)), 0) as bigint) from (
             select ids from feed where feed.position > reader.position / 512
             order by feed.position limit 200) as sample) as sample_events,
         (select @clock - @ms(numbered_at) from feed where feed.position > reader.position / 512
             order by feed.position limit 1) as lag_ms"
    };
}
pub(crate) use feed_backlog_columns;

/// What is selected `from destinations as reader`, as a template.
pub(crate) const BACKLOG_COLUMNS: &str = concat!(
    feed_backlog_columns!(),
    ", (select count(*) from delivery_exceptions where destination = name and state <> 'dead') as waiting,
     (select count(*) from delivery_exceptions where destination = name and state = 'dead') as dead, skipped"
);

/// How much of the feed is behind a position.
pub(crate) struct FeedBacklogRow {
    feed_rows: i64,
    sample_rows: i64,
    sample_events: i64,
    lag_ms: Option<i64>,
}

/// The row.
pub(crate) struct BacklogRow {
    feed: FeedBacklogRow,
    waiting: i64,
    dead: i64,
    skipped: i64,
}

from_row! {
    FeedBacklogRow: feed_rows, sample_rows, sample_events, lag_ms;
    BacklogRow: feed = part, waiting, dead, skipped;
}

impl FeedBacklogRow {
    /// The number of events, estimated where there are very many.
    pub(crate) fn events(&self) -> i64 {
        match self.sample_rows {
            0 => 0,
            sample_rows if self.feed_rows <= sample_rows => self.sample_events,
            sample_rows => (self.sample_events / sample_rows).max(1).saturating_mul(self.feed_rows),
        }
    }

    /// For how long the first of them has had its position, in ms.
    pub(crate) fn lag_ms(&self) -> i64 {
        self.lag_ms.unwrap_or_default().max(0)
    }
}

impl From<BacklogRow> for Backlog {
    fn from(row: BacklogRow) -> Self {
        Self {
            events: row.feed.events(),
            lag_ms: row.feed.lag_ms(),
            waiting: row.waiting,
            dead: row.dead,
            skipped: row.skipped,
        }
    }
}
