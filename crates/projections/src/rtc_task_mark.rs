//! What an event says of a cloud task of the RTC Engine: a row of `rtc_task_marks`.

use uuid::Uuid;

use protocol::AppId;
use protocol::UnixMillis;

/// One event's data about a cloud task of the RTC Engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcTaskMark {
    /// The app.
    pub app: AppId,
    /// The task.
    pub task_id: String,
    /// The event's time.
    pub at: UnixMillis,
    /// The event.
    pub event_id: Uuid,
    /// The family without `rtc_`: `relay`, `ingest`, `ai`, `slicing`, `moderation`, `transcription` or `ai_conversation`.
    pub kind: &'static str,
    /// The vendor's number, such as 401.
    pub event_type: Option<i64>,
    /// The room.
    pub room_id: Option<String>,
    /// Of a room: `numeric` or `string`.
    pub room_id_kind: Option<&'static str>,
    /// The account that does the task in the room.
    pub robot: Option<String>,
    /// Of a relay: where the stream is pushed to.
    pub url: Option<String>,
    /// `None` where the event does not change the state.
    pub state: Option<RtcTaskState>,
    /// Why it ended or will end, in a word.
    pub end_reason: Option<&'static str>,
    /// The same as sent: `LeaveCode`.
    pub leave_code: Option<i64>,
    /// The code of an error.
    pub error_code: Option<String>,
    /// The same in words.
    pub error_message: Option<String>,
    /// What it counts as: `message`, `file`, `check`, or `hit` for a check that found something.
    pub counted: Option<&'static str>,
}

/// The state of a cloud task. Of one time the greatest is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words of the column")]
pub enum RtcTaskState {
    Started,
    Retrying,
    Running,
    Ready,
    Failed,
    Stopped,
}

impl RtcTaskState {
    /// The value of its column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Retrying => "retrying",
            Self::Running => "running",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Orders states of one time.
    pub(crate) fn rank(self) -> i64 {
        1 + self as i64
    }
}
