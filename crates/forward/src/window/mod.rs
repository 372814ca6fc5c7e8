//! The pure core of a forwarder: events of the feed, answers and moments go in; what to send and what to write down comes out.
//!
//! A loop around [`Window`] does the rest: it reads the feed behind [`Window::read_position`] while there is [`Window::room`], sends what
//! [`Window::sends`] says, reports how each try ended to [`Window::ended`], writes what [`Window::write`] says in one transaction, and
//! sleeps until [`Window::wake_at`] or the next answer. It owns the bodies; the window knows ids, positions and subjects.
//!
//! # Who is to blame
//!
//! An answer such as 400 speaks of the event: it costs the event an attempt, and the event goes on its retry schedule. One such as 500
//! may speak of either. So the event stays in the window, is tried again after 1, 2, 4 … s, and later events of its subject wait for it.
//! When it has failed three times with other events delivered in between, and `order_wait` has passed since the first, it is the event:
//! that costs it an attempt, and later ones pass it. An event that failed by itself once is believed to do so again.
//!
//! When several events failed in a row, the breaker is open, and a probe with an event that had never failed fails too, it is the
//! destination: attempts that these failures cost are given back (three times to one event at most, so that every one ends), and the
//! events wait at their places, so that order is kept over an outage. While the breaker is open no failure costs an attempt.
//!
//! The probe is the oldest event among those that were tried least: an event that is poison for the destination must not be the only
//! probe for ever. For the same reason every other probe may be a later event of a subject, once all before it have been tried often
//! enough and for longer than `order_wait`. It never may where there was no connection or a 429, since that is no event's fault.
//!
//! # Replays
//!
//! Events that somebody wants again are sent beside the others, and never count for or against the destination: see `replays.rs`.
//!
//! # What a crash costs
//!
//! The cursor and the exceptions are written together, so no event is lost; those that were delivered since the last write are sent
//! again. Where the front of the window stays undone while [`DONE_AHEAD_MAX`] events behind it are done, it gets a row among the
//! exceptions without an attempt used up, so that the cursor goes on: that bounds what is sent twice.

pub mod core;
pub mod cursor;
pub mod exception;
mod item;
pub mod model;
mod outcome;
mod pace;
mod probe;
mod replays;
mod writing;

pub use self::core::Window;
pub use self::cursor::Cursor;
pub use self::exception::{Exception, ExceptionState, StateRow, Write};
pub use self::model::{
    DONE_AHEAD_MAX, FeedContent, FeedEvent, Room, Rules, Send, Start, Tallies, WINDOW_BYTES_MAX,
    WINDOW_EVENTS_MAX,
};
pub use self::outcome::Outcome;
