//! An item of the live tail, as one of its subscribers receives it.

use std::sync::Arc;

use crate::store::StoredEvent;

/// What a listener meets.
#[derive(Debug, Clone)]
pub(crate) enum Arrival {
    /// An event.
    Event(Arc<StoredEvent>),
    /// Some were missed: the listener was too slow, or away for too long.
    Missed,
}
