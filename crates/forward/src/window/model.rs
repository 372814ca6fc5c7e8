//! What goes into the window and comes out of it.

use std::time::Duration;

use uuid::Uuid;

use crate::breaker::DestinationState;
use crate::destination::Destination;
use crate::destination::settings::OrderRule;
use crate::event_columns::EventColumns;
use crate::filter::Filter;
use crate::schedule::Schedule;
use crate::window::exception::{Exception, StateRow};

/// The most events that are read behind the cursor.
pub const WINDOW_EVENTS_MAX: usize = 2_000;
/// The most bytes that they may have together where there is one destination.
pub const WINDOW_BYTES_MAX: usize = 16 << 20;
/// So many events behind an event that is not done may be done before the cursor passes it.
pub const DONE_AHEAD_MAX: usize = 500;

/// What decides on what is sent when.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Which events are sent.
    pub filter: Filter,
    /// How many are sent at once.
    pub in_flight_max: u32,
    /// How many are sent per second; 0 for any number.
    pub rate_max: u32,
    /// What is sent in order.
    pub order: OrderRule,
    /// How long an event that fails may hold back later ones of its subject.
    pub order_wait: Duration,
    /// When an event that failed alone is tried again.
    pub schedule: Schedule,
    /// How many bytes the events in the window may have together; the last one read may exceed it.
    pub window_bytes: usize,
}

impl Rules {
    /// The rules of a destination.
    #[must_use]
    pub fn of(destination: &Destination) -> Self {
        Self {
            filter: destination.filter.clone(),
            in_flight_max: destination.in_flight_max,
            rate_max: destination.rate_max,
            order: destination.order,
            order_wait: destination.order_wait,
            schedule: destination.schedule.clone(),
            window_bytes: WINDOW_BYTES_MAX,
        }
    }
}

/// What the store knows of a destination when its forwarder starts.
#[derive(Debug, Clone)]
pub struct Start {
    /// The cursor.
    pub position: i64,
    /// All exceptions that wait, and the dead letters behind the cursor.
    pub exceptions: Vec<Exception>,
    /// How many dead letters there are in all.
    pub dead: usize,
    /// Its state.
    pub state: StateRow,
}

impl Start {
    /// A destination that begins at this position.
    #[must_use]
    pub fn at(position: i64) -> Self {
        let state = StateRow { state: DestinationState::Running, failing_since: None };
        Self { position, exceptions: Vec::new(), dead: 0, state }
    }
}

/// An event of the feed.
#[derive(Debug, Clone, Copy)]
pub struct FeedEvent<'a> {
    /// Its position.
    pub position: i64,
    /// Its id.
    pub id: Uuid,
    /// What is known of it.
    pub content: FeedContent<'a>,
}

/// What is known of an event of the feed.
#[derive(Debug, Clone, Copy)]
pub enum FeedContent<'a> {
    /// Its columns.
    Columns(&'a EventColumns),
    /// It was deleted meanwhile.
    Gone,
    /// It cannot be read, so nobody knows whether it passes the filter: whoever tries to send it says why it becomes a dead letter.
    Unreadable,
}

/// How much more may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// So many events.
    pub events: usize,
    /// So many bytes of bodies, until which to read on.
    pub bytes: usize,
}

/// An event that is to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Send {
    /// Its id.
    pub id: Uuid,
    /// Its position.
    pub position: i64,
    /// Which try it is, from 1 on.
    pub attempt: u32,
    /// Whether it is sent again because somebody asked.
    pub replay: bool,
}

/// Counts of events that are done, by result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Sent, and taken.
    pub delivered: u64,
    /// Not for this destination.
    pub filtered: u64,
    /// Deleted before they were sent.
    pub gone: u64,
    /// Given up.
    pub dead: u64,
}
