//! What the store knows of destinations.

use uuid::Uuid;

use crate::model::position::Position;
use crate::sql::from_row::{from_row, id};
use protocol::UnixMillis;

/// A row of `destinations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRow {
    /// Its identity.
    pub name: String,
    /// Every event up to here is delivered, not for it, gone, or an exception.
    pub position: Position,
    /// Grows with each change of the server that forwards.
    pub epoch: i64,
    /// The server that forwards.
    pub holder: Option<String>,
    /// For how long that one has still the right to, in ms; negative where it has it no longer.
    pub lease_ms: Option<i64>,
    /// A hash of the configuration in force.
    pub definition_hash: String,
    /// Since when it is known.
    pub created_at: UnixMillis,
    /// Its state, and since when.
    pub state: DestinationStateRow,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// What people asked of it.
    pub control: Control,
    /// What went out of its backlog before it was sent.
    pub skipped: Skipped,
    /// The database's clock.
    pub now: UnixMillis,
}

/// The state of a destination as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationStateRow {
    /// `running`, `failing`, `paused` or `misconfigured`.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when it does not run.
    pub failing_since: Option<UnixMillis>,
}

/// What people asked of a destination with the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Control {
    /// Whether somebody paused it.
    pub paused: bool,
    /// Counts requests to resume it.
    pub resume_requests: i64,
    /// Counts changes of its exceptions by others.
    pub exceptions_version: i64,
}

/// What went out of a destination's backlog before it was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many events.
    pub events: i64,
    /// When the first and the last of them were stored.
    pub span: Option<(UnixMillis, UnixMillis)>,
}

/// What an exception waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// Its next attempt.
    Waiting,
    /// Nothing: it is a dead letter.
    Dead,
    /// To be sent again, as somebody asked.
    Replay,
}

impl DeliveryState {
    /// Its name in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Dead => "dead",
            Self::Replay => "replay",
        }
    }

    fn of(text: &str) -> Self {
        match text {
            "dead" => Self::Dead,
            "replay" => Self::Replay,
            _ => Self::Waiting,
        }
    }
}

/// A row of `delivery_exceptions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryException {
    /// The event.
    pub event_id: Uuid,
    /// Its position in the feed.
    pub position: i64,
    /// A hash of its call, else its room.
    pub subject_hash: Option<i64>,
    /// Attempts that failed and count.
    pub attempts: u32,
    /// When it is tried again.
    pub next_at: UnixMillis,
    /// What it waits for.
    pub state: DeliveryState,
    /// The status of the last answer.
    pub last_status: Option<u16>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it failed first.
    pub first_failed_at: Option<UnixMillis>,
}

/// What is written of a destination in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationWrite {
    /// The cursor.
    pub position: i64,
    /// Exceptions that are new or changed.
    pub upserts: Vec<DeliveryException>,
    /// Exceptions that are no more.
    pub removals: Vec<Uuid>,
    /// The state, where it changed.
    pub state: Option<DestinationStateRow>,
    /// What went wrong last, where it is something else.
    pub last_error: Option<String>,
}

/// How much waits for a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Events behind its position: estimated where there are very many.
    pub events: i64,
    /// For how long the oldest of them has been stored, in ms.
    pub lag_ms: i64,
    /// Exceptions that wait, replays included.
    pub waiting: i64,
    /// Dead letters.
    pub dead: i64,
    /// Events that went out of the backlog before they were sent, so far.
    pub skipped: i64,
}

/// The columns of `destinations` in the order of [`Row`], as a template.
pub(crate) const COLUMNS: &str = "name, position, epoch, holder, @ms(lease_until) - @clock as lease_ms, definition_hash,
     @ms(created_at) as created_at, state, reason, @ms(failing_since) as failing_since, last_error,
     case when paused then 1 else 0 end as paused, resume_requests, exceptions_version, skipped, @ms(skipped_from) as skipped_from,
     @ms(skipped_until) as skipped_until, @clock as now";

/// A row of `destinations`.
pub(crate) struct Row {
    name: String,
    position: i64,
    epoch: i64,
    holder: Option<String>,
    lease_ms: Option<i64>,
    definition_hash: String,
    created_at: i64,
    state: String,
    reason: Option<String>,
    failing_since: Option<i64>,
    last_error: Option<String>,
    paused: i32,
    resume_requests: i64,
    exceptions_version: i64,
    skipped: i64,
    skipped_from: Option<i64>,
    skipped_until: Option<i64>,
    now: i64,
}

/// The columns of `delivery_exceptions` in the order of [`ExceptionRow`], as a template.
pub(crate) const EXCEPTION_COLUMNS: &str = "@text(event_id) as event_id, position, subject_hash, attempts,
     @ms(next_at) as next_at, state, last_status, last_error, @ms(first_failed_at) as first_failed_at";

/// A row of `delivery_exceptions`.
pub(crate) struct ExceptionRow {
    event_id: Uuid,
    position: i64,
    subject_hash: Option<i64>,
    attempts: i64,
    next_at: i64,
    state: String,
    last_status: Option<i64>,
    last_error: Option<String>,
    first_failed_at: Option<i64>,
}

from_row! {
    Row: name, position, epoch, holder, lease_ms, definition_hash, created_at, state, reason, failing_since, last_error,
        paused, resume_requests, exceptions_version, skipped, skipped_from, skipped_until, now;
    ExceptionRow: event_id = id, position, subject_hash, attempts, next_at, state, last_status, last_error,
        first_failed_at;
}

impl From<Row> for DestinationRow {
    fn from(row: Row) -> Self {
        let span = row.skipped_from.zip(row.skipped_until);
        Self {
            name: row.name,
            position: Position::of_number(row.position),
            epoch: row.epoch,
            holder: row.holder,
            lease_ms: row.lease_ms,
            definition_hash: row.definition_hash,
            created_at: UnixMillis(row.created_at),
            state: DestinationStateRow {
                state: row.state,
                reason: row.reason,
                failing_since: row.failing_since.map(UnixMillis),
            },
            last_error: row.last_error,
            control: Control {
                paused: row.paused != 0,
                resume_requests: row.resume_requests,
                exceptions_version: row.exceptions_version,
            },
            skipped: Skipped {
                events: row.skipped,
                span: span.map(|(from, until)| (UnixMillis(from), UnixMillis(until))),
            },
            now: UnixMillis(row.now),
        }
    }
}

impl From<ExceptionRow> for DeliveryException {
    fn from(row: ExceptionRow) -> Self {
        Self {
            event_id: row.event_id,
            position: row.position,
            subject_hash: row.subject_hash,
            attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            next_at: UnixMillis(row.next_at),
            state: DeliveryState::of(&row.state),
            last_status: row.last_status.and_then(|status| u16::try_from(status).ok()),
            last_error: row.last_error,
            first_failed_at: row.first_failed_at.map(UnixMillis),
        }
    }
}
