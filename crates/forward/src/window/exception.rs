//! What is written down of single events, and of the destination.

use uuid::Uuid;

use protocol::UnixMillis;

use crate::breaker::DestinationState;
use crate::event_columns::Subject;

/// The most events that may wait for another attempt, those aside that are sent for the first time.
pub const WAITING_MAX: usize = 10_000;
/// The most dead letters of a destination.
pub const DEAD_MAX: usize = 100_000;
/// The most bytes of an error that are kept.
pub const ERROR_BYTES_MAX: usize = 1024;

/// A row of `delivery_exceptions`: an event that the cursor may pass although it is not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// The event.
    pub id: Uuid,
    /// Its position in the feed.
    pub position: i64,
    /// Its call or room.
    pub subject: Option<Subject>,
    /// How many attempts failed. 0: none was used up, but the cursor had to pass it.
    pub attempts: u32,
    /// When it is tried again.
    pub next_at: UnixMillis,
    /// What it waits for.
    pub state: ExceptionState,
    /// The status of the last answer.
    pub last_status: Option<u16>,
    /// What went wrong last, shortened.
    pub last_error: Option<String>,
    /// When it failed first; absent where no attempt was used up.
    pub first_failed_at: Option<UnixMillis>,
}

/// What an exception waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExceptionState {
    /// Its next attempt.
    Waiting,
    /// Nothing: it is a dead letter.
    Dead,
    /// To be sent again, as somebody asked.
    Replay,
}

impl ExceptionState {
    /// Its name in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Dead => "dead",
            Self::Replay => "replay",
        }
    }
}

/// What is to be written down, in one transaction: else a crash between two would lose events or keep them for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The cursor.
    pub position: i64,
    /// Exceptions that are new or changed.
    pub upserts: Vec<Exception>,
    /// Exceptions that are no more.
    pub removals: Vec<Uuid>,
    /// The destination's state, where it changed.
    pub state: Option<StateRow>,
}

/// The destination's state as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateRow {
    /// Whether it runs, fails or is paused.
    pub state: DestinationState,
    /// Since when it does not run.
    pub failing_since: Option<UnixMillis>,
}
