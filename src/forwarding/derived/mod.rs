//! Derived events: a job follows the feed, notes which calls, rooms and recordings new events are about, and looks at their rows in the
//! read models a moment later. A row that holds a fact, and another one than before, makes a derived event, which gets a position in
//! the feed like any event.
//!
//! It runs where a destination of this server names derived events, and costs nobody else anything.

mod deriver;
pub(super) mod facts;
mod look;
mod revisions;
mod subjects;

pub(super) use deriver::Deriver;
