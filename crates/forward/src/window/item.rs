//! An event that is not done.

use std::time::Duration;

use protocol::UnixMillis;

use crate::answer::EventMeaning;
use crate::event_columns::Subject;
use crate::order::Place;
use crate::window::exception::{Exception, ExceptionState};

/// So many tries with answers that may be due to the event itself, before a later one of its subject may be the probe.
const SUSPECT_TRIES_MIN: u32 = 4;
/// So often others went well between two failures, before it is the event that fails.
pub(super) const BEATEN_MIN: u32 = 2;

/// What an event takes up beside its body: columns, of which none is long, and its places in the window.
pub(super) const EVENT_BYTES: usize = 1024;

/// An event that is not done.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) place: Place,
    pub(super) subject: Option<Subject>,
    pub(super) state: ItemState,
    /// Its size in the window; 0 once it has a row.
    pub(super) bytes: usize,
    /// Whether it is sent again because somebody asked.
    pub(super) replay: bool,
    /// Attempts that failed and count.
    pub(super) attempts: u32,
    /// All tries that failed, also those that cost no attempt.
    pub(super) tries: u32,
    /// Those of them whose answer may be due to the event itself.
    pub(super) suspect_tries: u32,
    /// Tries since its last attempt that counted, for the pause between them.
    pub(super) soft_tries: u32,
    /// How often others went well after it had failed, since its last attempt that counted.
    pub(super) beaten: u32,
    /// Attempts that were given back.
    pub(super) given_back: u32,
    pub(super) first_failed_at: Option<UnixMillis>,
    pub(super) last_status: Option<u16>,
    pub(super) last_error: Option<String>,
    pub(super) row: Row,
}

/// Where an event is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemState {
    /// It waits for its turn.
    Ready,
    /// It is sent; before that it failed, where there is a moment.
    InFlight(Option<UnixMillis>),
    /// It failed, and is tried again at this moment.
    Failing(UnixMillis),
    /// It is a dead letter, unless the failures turn out to be an outage.
    Dead,
}

/// Whether an event has a row among the exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    /// The cursor may not pass it.
    None,
    /// It will be written.
    New,
    /// The store may have it.
    Stored,
}

impl Item {
    pub(super) fn new(place: Place, subject: Option<Subject>, bytes: usize) -> Self {
        Self {
            place,
            subject,
            state: ItemState::Ready,
            bytes,
            replay: false,
            attempts: 0,
            tries: 0,
            suspect_tries: 0,
            soft_tries: 0,
            beaten: 0,
            given_back: 0,
            first_failed_at: None,
            last_status: None,
            last_error: None,
            row: Row::None,
        }
    }

    /// The event of a row. Where no attempt was used up, it is as if it had never been tried.
    pub(super) fn of_row(row: Exception) -> Self {
        let place = Place { position: row.position, id: row.id };
        let replay = row.state == ExceptionState::Replay;
        let state = match row.attempts {
            0 if !replay => ItemState::Ready,
            _ => ItemState::Failing(row.next_at),
        };
        Self {
            state,
            replay,
            attempts: row.attempts,
            tries: row.attempts,
            first_failed_at: row.first_failed_at,
            last_status: row.last_status,
            last_error: row.last_error,
            row: Row::Stored,
            ..Self::new(place, row.subject, 0)
        }
    }

    /// What is written down of it.
    pub(super) fn exception(&self, now: UnixMillis) -> Exception {
        let (state, next_at) = match self.state {
            ItemState::Dead => (ExceptionState::Dead, now),
            ItemState::Failing(next_at) => (ExceptionState::Waiting, next_at),
            ItemState::Ready | ItemState::InFlight(_) => (ExceptionState::Waiting, now),
        };
        let is_replay = self.replay && state == ExceptionState::Waiting;
        Exception {
            id: self.place.id,
            position: self.place.position,
            subject: self.subject,
            attempts: self.attempts,
            next_at,
            state: if is_replay { ExceptionState::Replay } else { state },
            last_status: self.last_status,
            last_error: self.last_error.clone(),
            first_failed_at: self.first_failed_at.filter(|_| self.attempts > 0),
        }
    }

    /// Whether this failure costs it an attempt. The first does where others go well meanwhile; after that it is known that the event
    /// fails by itself, unless the answer cannot be due to it.
    pub(super) fn fails_alone(
        &self,
        event: EventMeaning,
        order_wait: Duration,
        now: UnixMillis,
    ) -> bool {
        match event {
            EventMeaning::Waits { suspect } if self.attempts > 0 => suspect || self.beaten > 0,
            EventMeaning::Waits { .. } => {
                self.beaten >= BEATEN_MIN && self.has_waited(order_wait, now)
            }
            _ => true,
        }
    }

    /// Whether a later event of its subject may be the probe: it may be this one alone that fails.
    pub(super) fn may_be_passed_by_a_probe(&self, order_wait: Duration, now: UnixMillis) -> bool {
        self.suspect_tries >= SUSPECT_TRIES_MIN && self.has_waited(order_wait, now)
    }

    fn has_waited(&self, order_wait: Duration, now: UnixMillis) -> bool {
        self.first_failed_at.is_some_and(|first| first.plus(order_wait) <= now)
    }
}
