//! `Payload`: the details of a task. That of recording is [`crate::body::recording::RecordingPayload`]. Every field is optional.

use serde::{Deserialize, Serialize};

use crate::json::forms::Many;
use crate::json::scalar::{AccountId, Code, Count, Millis, RawJson};

/// How a relay to a CDN is (401). Source: trtc.io/document/54913.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RelayPayload {
    /// Where the stream is pushed to.
    pub url: Option<String>,
    /// 0 idle, 1 connecting, 2 running, 3 recovering, 4 failed, 5 disconnecting.
    pub status: Option<Count>,
    /// Why it failed.
    pub error_code: Option<Count>,
    /// The same in words.
    pub error_msg: Option<String>,
}

/// An AI task and what was said in it (groups 9, 14 and 15). Sources: trtc.io/document/66149, 68331, 80094. The details of 1402 to 1404
/// and of group 15 are on no page that could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AiPayload {
    /// Of 901 and 1401: 0 started, 1 failed. Of 909: `session_ready`.
    pub status: Option<Code>,
    /// Why it ended: of 902 0 to 4, 98 and 99.
    pub leave_code: Option<Count>,
    /// Who spoke: a user, or the AI's robot. See [`AiPayload::speaker`].
    pub user_id: Option<AccountId>,
    /// The same, by the name it may have in group 14.
    pub speaker_user_id: Option<AccountId>,
    /// What was said.
    pub text: Option<String>,
    /// Where it begins, in ms: since the task's start where it is below 10^11, else since 1970.
    pub start_time_ms: Option<Millis>,
    /// Where it ends, likewise.
    pub end_time_ms: Option<Millis>,
    /// The round of question and answer.
    pub round_id: Option<String>,
    /// What was measured (906), or what failed (908).
    pub metric: Option<String>,
    /// The measured value: ms, or a number of times.
    pub value: Option<Count>,
    /// What the measurement is about.
    pub tag: Option<MetricTag>,
}

impl AiPayload {
    /// Who spoke, under either name.
    #[must_use]
    pub fn speaker(&self) -> Option<&AccountId> {
        self.speaker_user_id.as_ref().or(self.user_id.as_ref())
    }
}

/// What a measurement or a failure is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MetricTag {
    /// The round of question and answer.
    pub round_id: Option<String>,
    /// The failure's code (908).
    pub code: Option<Code>,
    /// The failure in words (908).
    pub message: Option<String>,
}

/// A slicing task and its files (group 10). Source: trtc.io/document/73393.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SlicingPayload {
    /// 0 for success.
    pub status: Option<Count>,
    /// Why it ended (1002), as of 302.
    pub leave_code: Option<Count>,
    /// Why an upload failed (1006).
    pub code: Option<Code>,
    /// The same in words.
    pub message: Option<String>,
    /// Whose stream was sliced (1004), where it does not stand beside the payload. See [`SlicingPayload::streamer`].
    pub stream_user_id: Option<AccountId>,
    /// The same, by its name in group 11.
    pub streamer_user_id: Option<AccountId>,
    /// The file (1004). The page does not print its name's field; this is a guess.
    pub file_name: Option<String>,
    /// The result of 1004 where the page's table nests it once more.
    pub payload: Option<SlicedFile>,
}

impl SlicingPayload {
    /// Whose stream was sliced, where it does not stand beside the payload; under either name.
    #[must_use]
    pub fn streamer(&self) -> Option<&AccountId> {
        self.stream_user_id.as_ref().or(self.streamer_user_id.as_ref())
    }
}

/// A picture or sound that was sliced from a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SlicedFile {
    /// Its name.
    pub file_name: Option<String>,
}

/// A moderation task and its results (group 11). Source: trtc.io/document/73394.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ModerationPayload {
    /// 0 for success.
    pub status: Option<Count>,
    /// Why it ended (1102), as of 302.
    pub leave_code: Option<Count>,
    /// Why results could not be sent (1106).
    pub code: Option<Code>,
    /// The same in words.
    pub message: Option<String>,
    /// The id of one check (1104).
    pub data_id: Option<String>,
    /// The request's id; may be empty.
    pub request_id: Option<String>,
    /// 1 sound, 2 picture.
    pub media_type: Option<Count>,
    /// 0 pass, 1 review, 2 block.
    pub suggest: Option<Count>,
    /// `Normal`, `Ad`, `Porn`, `Abuse`, …
    pub label: Option<String>,
    /// The label's subdivision.
    pub sub_label: Option<String>,
    /// The picture's path or URL.
    pub image: Option<String>,
    /// Text found in the picture.
    pub image_ocr: Option<String>,
    /// How sure, 0 to 100.
    pub rate: Option<Count>,
    /// The sound's URL.
    pub audio: Option<String>,
    /// What was said in it.
    pub audio_text: Option<String>,
    /// The single findings. A list in samples, an object in the table.
    pub check_detail: Option<Many<RawJson>>,
    /// Whose stream was checked, where it does not stand beside the payload. See [`ModerationPayload::streamer`].
    pub streamer_user_id: Option<AccountId>,
    /// The same, by its name in group 10.
    pub stream_user_id: Option<AccountId>,
}

impl ModerationPayload {
    /// Whose stream was checked, where it does not stand beside the payload; under either name.
    #[must_use]
    pub fn streamer(&self) -> Option<&AccountId> {
        self.streamer_user_id.as_ref().or(self.stream_user_id.as_ref())
    }
}
