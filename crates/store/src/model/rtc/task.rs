//! A cloud task of the RTC Engine, as the API returns it.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use protocol::UnixMillis;

/// A cloud task of the RTC Engine, recordings aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RtcTask {
    /// The app.
    pub sdk_app_id: i64,
    /// The task.
    pub task_id: String,
    /// relay, ingest, ai, slicing, moderation, transcription or `ai_conversation`.
    pub kind: String,
    /// The room; null for ingest, whose events name none.
    pub room_id: Option<String>,
    /// Whether the room is named by a number or a text: numeric or string.
    pub room_id_kind: Option<String>,
    /// Account that does the task in the room.
    pub robot: Option<String>,
    /// Of a relay: where its latest event says that the stream is pushed to.
    pub url: Option<String>,
    /// started, running, retrying, ready, stopped or failed, by the latest event that has a state; running where none has.
    pub state: String,
    /// The earliest event by which it started, runs or is ready.
    pub started_at: Option<UnixMillis>,
    /// When it stopped or failed; null while it has not.
    pub ended_at: Option<UnixMillis>,
    /// Why it ended: `stop_api`, `robot_removed_by_app`, `room_dismissed_by_app`, `robot_removed_by_server`,
    /// `room_dismissed_by_server`, `room_empty`, `room_timeout`, `robot_id_taken`, `internal_error`, `start_failed`,
    /// `connection_failed`, removed or unknown; null where no event has a reason.
    pub end_reason: Option<String>,
    /// The same as the vendor's `LeaveCode`.
    pub leave_code: Option<i64>,
    /// The code of its latest error.
    pub error_code: Option<String>,
    /// The same in words.
    pub error_message: Option<String>,
    /// Number of sentences that were recognised or said.
    pub messages: i64,
    /// Number of results of moderation.
    pub checks: i64,
    /// Number of those that ask for a review or a block.
    pub hits: i64,
    /// Number of files of slicing.
    pub files: i64,
    /// Its earliest event.
    pub first_at: UnixMillis,
    /// Its latest event.
    pub last_at: UnixMillis,
    /// The earliest event's id.
    pub event_id: Uuid,
}

/// What one event reports of a cloud task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RtcTaskStep {
    /// When.
    pub at: UnixMillis,
    /// The event.
    pub event_id: Uuid,
    /// The vendor's number, such as 401.
    pub event_type: Option<i64>,
    /// The vendor's constant of that number.
    pub event_name: Option<String>,
    /// Of a relay: where the stream is pushed to.
    pub url: Option<String>,
    /// The state that follows; null where the event changes none.
    pub state: Option<String>,
    /// Why it ended or will end, in a word.
    pub end_reason: Option<String>,
    /// The same as the vendor's `LeaveCode`.
    pub leave_code: Option<i64>,
    /// The code of an error.
    pub error_code: Option<String>,
    /// The same in words.
    pub error_message: Option<String>,
}

impl RtcTaskStep {
    /// The memory it takes, approximately, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [&self.url, &self.error_code, &self.error_message];
        size_of::<Self>() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}
