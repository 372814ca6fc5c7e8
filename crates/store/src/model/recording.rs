//! Recordings, as the API returns them.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::recording_file::RecordingFile;
use protocol::UnixMillis;

/// A recording task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Recording {
    /// The app.
    pub sdk_app_id: i64,
    /// The task.
    pub task_id: String,
    /// The call.
    pub call_id: Option<String>,
    /// The room.
    pub room_id: Option<String>,
    /// started, recording, stopped, uploading, finished or failed, by the latest event that has a state; null where none has.
    pub state: Option<String>,
    /// The vendor's error text, where there was an error.
    pub message: Option<String>,
    /// When it began: its earliest event.
    pub started_at: UnixMillis,
    /// When recording stopped, or did not start, else when it was finished; its files may come later. Null while it goes on.
    pub ended_at: Option<UnixMillis>,
    /// The latest time any event names for it.
    pub last_at: UnixMillis,
    /// Why it stopped: `stop_api`, `robot_removed_by_app`, `room_dismissed_by_app`, `robot_removed_by_server`,
    /// `room_dismissed_by_server`, `room_empty`, `room_timeout`, `robot_id_taken`, `start_failed`, `internal_error`,
    /// `time_limit`, `video_too_large` or unknown; null where no event has a reason.
    pub end_reason: Option<String>,
    /// The same as the vendor's `LeaveCode`.
    pub leave_code: Option<i64>,
    /// Account that records in the room.
    pub recorder: Option<String>,
    /// Whose events reported it: call, live, rtc.
    pub reporters: Vec<String>,
    /// The files, each once: the first 1000, within 256 KiB.
    pub files: Vec<RecordingFile>,
    /// Whether a file is left on the recorder: an event reported it, and none has reported its upload since.
    pub files_left: bool,
    /// Whether files or long names were left out. The events have all of them.
    pub files_cut: bool,
    /// Its earliest event's id.
    pub event_id: Uuid,
}

impl Recording {
    /// The memory it takes, approximately, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts = [
            &self.call_id,
            &self.room_id,
            &self.state,
            &self.message,
            &self.end_reason,
            &self.recorder,
        ];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        let reporters: usize = self.reporters.iter().map(String::len).sum();
        let files: usize = self.files.iter().map(RecordingFile::bytes).sum();
        size_of::<Self>() + self.task_id.len() + texts + reporters + files
    }
}

/// What one event reports of a recording task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecordingStep {
    /// When.
    pub at: UnixMillis,
    /// The event.
    pub event_id: Uuid,
    /// Whose event it is: call, live or rtc.
    pub reporter: Option<String>,
    /// The vendor's number: 301 to 312, or 801 to 804.
    pub event_type: Option<i64>,
    /// The vendor's constant of that number.
    pub event_name: Option<String>,
    /// The vendor's `Status`; of 305 also where it is sent as `LeaveCode`.
    pub status: Option<i64>,
    /// The state that follows; null where the event changes none.
    pub state: Option<String>,
    /// Why it ended, in a word.
    pub end_reason: Option<String>,
    /// The same as the vendor's `LeaveCode`.
    pub leave_code: Option<i64>,
    /// The vendor's text.
    pub message: Option<String>,
}

impl RecordingStep {
    /// The memory it takes, approximately, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.message.as_ref().map_or(0, String::len)
    }
}
