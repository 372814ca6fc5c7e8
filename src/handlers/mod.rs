//! The typed handlers, pure: what each event changes in the read models.
//!
//! One function for each command, in its family's file. What they return goes into the store with the event itself, as
//! the rows of a [`Batch`].

mod batch;
pub mod change;
pub mod table;
mod tables;

pub use batch::Batch;
pub use change::Change;
pub use table::Table;
pub use tables::TABLES;

use change::EventCount;

use crate::callback::Event;
use crate::clock::UnixMillis;

/// What an event changes.
#[must_use]
pub fn changes(event: &Event) -> Vec<Change> {
    let lag_ms = event.received_at.0.saturating_sub(event.event_time.0).max(0);
    vec![Change::Count(EventCount {
        app: event.app,
        at: UnixMillis(event.event_time.0.div_euclid(60_000) * 60_000),
        command: event.command.to_string(),
        result: String::new(),
        family: event.family.as_str(),
        events: 1,
        lag_ms,
        lag_ms_max: lag_ms,
    })]
}
