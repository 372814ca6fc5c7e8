//! An item of the live tail, as one of its subscribers receives it.

use std::sync::Arc;

use crate::store::{Position, StoredEvent};

/// An item of the live tail.
#[derive(Debug, Clone)]
pub(crate) enum Arrival {
    /// An event.
    Event(Position, Arc<StoredEvent>),
    /// Some events were skipped: the subscriber was away for so long that their positions are no longer kept.
    Missed,
}
