//! A subscription to the live tail.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::http::live_tail::arrival::Arrival;
use crate::http::live_tail::bounds::CATCH_UP;
use crate::http::live_tail::tail::{Next, Seat, Tail};
use crate::http::problem::Problem;
use crate::store::{EventFilter, FeedPage, FeedRead, Position, StoredEvent};
use protocol::event::Payload;

/// A subscription to the live tail. It takes events from the buffer, or reads them from the store where they are no longer
/// in it.
pub(crate) struct Subscription {
    tail: Seat,
    filter: EventFilter,
    with_payload: bool,
    /// The position that it goes on after.
    after: Position,
    /// Events read from the store and not yet delivered, and where reading goes on.
    read: VecDeque<(Position, Arc<StoredEvent>)>,
    read_to: Position,
    /// Whether to tell that events were skipped.
    missed: bool,
    /// Which buffer the position was last compared with; none yet where nobody knows whether it is one of the feed.
    buffer: Option<u64>,
}

impl Subscription {
    /// Subscribes from a position on, or from now on.
    pub(crate) async fn open(
        tail: &Arc<Tail>,
        after: Option<Position>,
        filter: EventFilter,
        with_payload: bool,
    ) -> Result<Self, Problem> {
        let tail = tail.join().await?;
        let (buffer, end) = tail.end();
        let (read, read_to) = (VecDeque::new(), Position::default());
        let (after, buffer) = after.map_or((end, Some(buffer)), |after| (after, None));
        Ok(Self { tail, filter, with_payload, after, read, read_to, missed: false, buffer })
    }

    /// The position to resume after, with everything before it delivered.
    pub(crate) fn place(&self) -> Position {
        self.after
    }

    /// Reads events that are no longer in the buffer. `false`: there is nothing to read.
    pub(crate) async fn catch_up(&mut self) -> Result<bool, Problem> {
        if self.missed || !self.read.is_empty() || !self.is_behind() {
            return Ok(false);
        }
        let ((buffer, _), before) = (self.tail.end(), self.after);
        match self.tail.read(self.after, CATCH_UP).await? {
            FeedRead::Page(page) => self.take(page),
            FeedRead::Outside(span) => {
                self.missed = true;
                self.after = if self.after > span.end { span.end } else { span.start };
            }
        }
        self.buffer = Some(buffer);
        Ok(self.after != before || self.missed || !self.read.is_empty())
    }

    fn is_behind(&self) -> bool {
        matches!(self.tail.next(self.buffer, self.after), Next::Behind)
    }

    fn take(&mut self, page: FeedPage) {
        for (position, mut event) in page.events {
            if self.filter.matches(&event) {
                if !self.with_payload {
                    event.payload = Payload::Raw(Vec::new());
                }
                self.read.push_back((position, Arc::new(event)));
            }
        }
        self.read_to = page.next;
        if self.read.is_empty() {
            self.after = self.read_to;
        }
    }

    /// The next item; `None` if there is none yet, or it is still to be read.
    pub(crate) fn ready(&mut self) -> Option<Arrival> {
        if std::mem::take(&mut self.missed) {
            return Some(Arrival::Missed);
        }
        if let Some((position, event)) = self.read.pop_front() {
            self.after = if self.read.is_empty() { self.read_to } else { position };
            return Some(Arrival::Event(position, event));
        }
        loop {
            match self.tail.next(self.buffer, self.after) {
                Next::Event(position, event) => {
                    self.after = position;
                    if self.filter.matches(&event) {
                        return Some(Arrival::Event(position, event));
                    }
                }
                Next::End(end) => {
                    self.after = end;
                    return None;
                }
                Next::Behind => return None,
            }
        }
    }

    /// Waits until there may be new events.
    pub(crate) async fn more(&self) {
        self.tail.more(self.buffer, self.after).await;
    }
}
