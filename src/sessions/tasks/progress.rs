//! Where a search is that goes through the events of tasks in turn, a part each time.

use crate::store::{MarkPlace, SettlerConnection, StoreError, TaskSearch};
use protocol::UnixMillis;
use uuid::Uuid;

/// How far a search has come. It begins anew at its end, since events may come late.
#[derive(Default)]
pub(crate) struct Progress {
    /// Behind which event it goes on.
    pub(crate) scanned: Option<MarkPlace>,
    /// Behind which listed task it goes on.
    pub(crate) listed: (i64, String),
}

impl Progress {
    /// The next part of the events from one time until another.
    pub(crate) async fn next(
        &mut self,
        store: &mut SettlerConnection,
        search: &TaskSearch,
        (from, until): (UnixMillis, UnixMillis),
    ) -> Result<(MarkPlace, MarkPlace), StoreError> {
        let begin = (from, Uuid::nil());
        let after = self.scanned.map_or(begin, |scanned| scanned.max(begin));
        self.scanned = store.task_marks_until(search, after, until).await?;
        Ok((after, self.scanned.unwrap_or((until, Uuid::nil()))))
    }

    /// Goes on behind the last of these listed tasks; from the first one where they were fewer than the most that are read.
    pub(crate) fn looked_at(&mut self, count: usize, most: u32, last: Option<(i64, &str)>) {
        let last = last.filter(|_| count >= most as usize);
        self.listed = last.map_or_else(Default::default, |(app, task)| (app, task.to_owned()));
    }
}
