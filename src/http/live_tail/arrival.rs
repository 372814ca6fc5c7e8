//! An item of the live tail, as one of its subscribers receives it.

use std::sync::Arc;

use crate::store::StoredEvent;

/// An item of the live tail.
#[derive(Debug, Clone)]
pub(crate) enum Arrival {
    /// An event.
    Event(Arc<StoredEvent>),
    /// Some events were skipped: the subscriber was too slow, or away for too long.
    Missed,
}
