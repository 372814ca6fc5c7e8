//! What readers see of destinations and of events that are exceptions.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::column_values::DELIVERY_STATES;
use crate::filter;
use crate::forwarding::model::{DeliveryException, DestinationRow};
use crate::model::position::Position;
use crate::query::conditions::ConditionKind;
use protocol::UnixMillis;

filter! {
    /// Which exceptions of a destination.
    #[derive(Debug, Clone, Default)]
    pub struct ExceptionFilter {
        /// Only this state: `waiting` for the next try, `dead` letters, or `replay`, to be sent again as somebody asked
        "state" "State" ConditionKind::OneOf(DELIVERY_STATES) => state: Option<String>,
    } and {
        /// The destination.
        destination: String,
        /// Behind this one: `event_id`.
        after: Option<(Uuid,)>,
        /// At most so many.
        limit: u32,
    }
}

/// An event that a destination has not got although its position is behind it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExceptionView {
    /// The event.
    pub event_id: Uuid,
    /// Its position in the order of storing.
    pub position: i64,
    /// Its command; null if the event was deleted.
    pub command: Option<String>,
    /// `waiting` for its next try, `dead`: given up, or `replay`: to be sent again, as somebody asked.
    pub state: String,
    /// Tries that failed and count.
    pub attempts: i64,
    /// Status of the last answer; null if there was none.
    pub last_status: Option<i64>,
    /// What went wrong last, with at most 1 KiB of the answer.
    pub last_error: Option<String>,
    /// When it failed first.
    pub first_failed_at: Option<UnixMillis>,
    /// When it is tried again; null for a dead letter.
    pub next_at: Option<UnixMillis>,
    /// When this was last written.
    pub changed_at: UnixMillis,
}

impl ExceptionView {
    pub(crate) fn place(&self) -> (Uuid,) {
        (self.event_id,)
    }

    pub(crate) fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        200 + text(&self.command) + text(&self.last_error)
    }
}

/// Where an event is in the feed, as far as somebody found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventPlace {
    /// At a position, which it got at that time by the database's clock.
    At(Position, UnixMillis),
    /// It has no position yet.
    Unnumbered,
    /// Not behind the position of any destination, so before all of them.
    Passed,
    /// It was not found: the feed is long, and the event was stored long after it was received.
    Unknown,
}

/// What the store knows of the ways of an event to destinations.
#[derive(Debug, Clone)]
pub struct EventDeliveries {
    /// All destinations.
    pub destinations: Vec<DestinationRow>,
    /// The destinations of which it is an exception.
    pub exceptions: Vec<(String, DeliveryException)>,
    /// Where it is in the feed.
    pub place: EventPlace,
}

/// How long the feed is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedFigures {
    /// Stored events without a position.
    pub unnumbered: i64,
    /// Events whose positions are kept: estimated where there are very many.
    pub events: i64,
}
