//! The envelope of the RTC Engine's events, and which body is in it.

use serde::{Deserialize, Serialize};

use crate::body::recording::RecordingPayload;
use crate::body::rtc::info::{IngestInfo, RoomEventInfo, ScreenshotInfo, TaskInfo};
use crate::body::rtc::payload::{AiPayload, ModerationPayload, RelayPayload, SlicingPayload};
use crate::json::scalar::{Count, Millis};

/// A decoded event of the RTC Engine, by group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum RtcBody {
    /// Group 1: rooms, and who enters and leaves them.
    Room(RtcEvent<RoomEventInfo>),
    /// Group 2: who publishes camera, microphone and screen.
    Media(RtcEvent<RoomEventInfo>),
    /// Group 3: cloud recording.
    Recording(RtcEvent<TaskInfo<RecordingPayload>>),
    /// Group 4: relay to a CDN.
    Relay(RtcEvent<TaskInfo<RelayPayload>>),
    /// Group 6: screenshots.
    Screenshot(RtcEvent<ScreenshotInfo>),
    /// Group 7: online media streams that enter a room.
    Ingest(RtcEvent<IngestInfo>),
    /// Group 8: recorded web pages.
    WebRecording(RtcEvent<TaskInfo<RecordingPayload>>),
    /// Group 9: AI conversation and speech to text, version 1.
    Ai(RtcEvent<TaskInfo<AiPayload>>),
    /// Group 10: slicing.
    Slicing(RtcEvent<TaskInfo<SlicingPayload>>),
    /// Group 11: moderation.
    Moderation(RtcEvent<TaskInfo<ModerationPayload>>),
    /// Group 14: transcription and translation, version 2.
    Transcription(RtcEvent<TaskInfo<AiPayload>>),
    /// Group 15: AI conversation, version 2.
    AiConversation(RtcEvent<TaskInfo<AiPayload>>),
}

/// What every event of the RTC Engine has. Source: trtc.io/document/39558.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RtcEvent<I: Default> {
    /// 1 to 15, see [`crate::Family::of_group`]; a string from some proxies.
    pub event_group_id: Option<Count>,
    /// As a rule the group times 100 plus a small number; absent in one sample of group 9.
    pub event_type: Option<Count>,
    /// When the vendor sent it, in ms since 1970: each try has its own.
    pub callback_ts: Option<Millis>,
    /// The same by its name in group 7.
    pub callback_ms_ts: Option<Millis>,
    /// What happened.
    pub event_info: Option<I>,
}

impl<I: Default> RtcEvent<I> {
    /// When the vendor sent it, under either name.
    #[must_use]
    pub fn sent_at(&self) -> Option<Millis> {
        self.callback_ts.or(self.callback_ms_ts)
    }
}
