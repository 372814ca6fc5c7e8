//! The pages of lists, as the stores give them.

use uuid::Uuid;

use crate::derived::model::DerivedEvent;
use crate::model::event::StoredEvent;
use crate::model::position::Position;
use crate::model::read_models::Visit;
use crate::model::recording::Recording;
use crate::model::rtc::task::RtcTask;
use crate::query::filters::DetailPlace;
use crate::query::limits::{FEED_BYTES_MAX, FEED_EVENTS_MAX};
use protocol::UnixMillis;

/// One page of a list of events; see [`ReadModels::event_page`](crate::ReadModels::event_page).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events; may be fewer than asked for, or none, though more come behind.
    pub events: Vec<StoredEvent>,
    /// Behind which place to go on: `after` of the next page. `None` at the end of the list.
    pub next: Option<(UnixMillis, Uuid)>,
}

/// One page of the visits within one session of a room; see [`ReadModels::visits`](crate::ReadModels::visits).
#[derive(Debug, Clone, Default)]
pub struct VisitPage {
    /// The visits; may be fewer than asked for, or none, though more come behind.
    pub visits: Vec<Visit>,
    /// Behind which place to go on: `after` of the next page. `None` at the end of the list.
    pub next: Option<DetailPlace>,
}

/// One page of the cloud tasks; see [`ReadModels::rtc_tasks`](crate::ReadModels::rtc_tasks).
#[derive(Debug, Clone, Default)]
pub struct RtcTaskPage {
    /// The tasks; may be fewer than asked for, or none, though more come behind.
    pub tasks: Vec<RtcTask>,
    /// Behind which place to go on: `after` of the next page. `None` at the end of the list.
    pub next: Option<(UnixMillis, Uuid)>,
}

/// One page of the recordings; see [`ReadModels::recording_page`](crate::ReadModels::recording_page).
#[derive(Debug, Clone, Default)]
pub struct RecordingPage {
    /// The recordings; may be fewer than asked for, or none, though more come behind.
    pub recordings: Vec<Recording>,
    /// Behind which place to go on: `after` of the next page. `None` at the end of the list.
    pub next: Option<(UnixMillis, Uuid)>,
}

/// A list without pages: the beginning of it.
#[derive(Debug, Clone)]
pub struct Details<T> {
    /// The rows, in the list's order.
    pub rows: Vec<T>,
    /// Whether there are more, which the events tell of.
    pub is_cut: bool,
}

/// How much of the feed a reader takes at once.
#[derive(Debug, Clone, Copy)]
pub struct FeedLimit {
    /// At most so many events, at least 1.
    pub events: u32,
    /// The page ends behind the event with which bodies come to so much. In bytes.
    pub bytes: usize,
}

impl Default for FeedLimit {
    fn default() -> Self {
        Self { events: FEED_EVENTS_MAX, bytes: FEED_BYTES_MAX }
    }
}

/// What stands after a position; see [`ReadModels::events_after`](crate::ReadModels::events_after).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedRead {
    /// The next events.
    Page(FeedPage),
    /// Nobody knows what stands after that position: it is no longer kept, or none of this store.
    Outside(FeedSpan),
}

/// Events in the order of storing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    /// The events; may be none though more come behind.
    pub events: Vec<(Position, StoredEvent)>,
    /// Derived events between them.
    pub derived: Vec<(Position, DerivedEvent)>,
    /// Those between them that were deleted meanwhile.
    pub gone: Vec<(Position, Uuid)>,
    /// Those between them whose rows are not as this program writes them: reading them again gives the same.
    pub unreadable: Vec<(Position, Uuid)>,
    /// The position after which to go on.
    pub next: Position,
    /// Whether these are all there are by now.
    pub is_end: bool,
}

impl FeedPage {
    /// Logs those that cannot be read, where a reader gets the others without them.
    pub fn log_unreadable(&self) {
        for (position, event) in &self.unreadable {
            tracing::error!(%event, %position, "an event cannot be read: readers do not get it");
        }
    }
}

/// The positions that a reader can go on after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedSpan {
    /// Before all events that have a position and are kept.
    pub start: Position,
    /// After all events that have a position.
    pub end: Position,
}
