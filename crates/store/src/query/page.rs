//! The pages of lists, as the stores give them.

use uuid::Uuid;

use crate::model::event::StoredEvent;
use crate::model::read_models::Visit;
use crate::model::recording::Recording;
use crate::model::rtc_task::RtcTask;
use crate::query::filters::DetailPlace;
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
