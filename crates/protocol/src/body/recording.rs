//! The recorder's own events, which `Call.CallbackAfterRecordChanged` carries nested and
//! `Live.CallbackAfterCloudRecordingChanged` carries as its body.
//!
//! Their shapes differ by `EventType`; all fields of all of them stand here, each optional.
//! Source: trtc.io/document/54914.

use serde::{Deserialize, Serialize};

use crate::json::forms::Many;
use crate::json::scalar::{AccountId, Code, Count, Millis, RoomId, Seconds, TaskId};

/// An event of cloud recording (group 3) or of web page recording (group 8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RecordingEvent {
    /// 3 for cloud recording, 8 for web page recording.
    pub event_group_id: Option<Count>,
    /// 301 to 312 in group 3, 801 to 804 in group 8.
    pub event_type: Option<Count>,
    /// When the vendor sent it, in ms since 1970.
    pub callback_ts: Option<Millis>,
    /// The same, by the name some pages give it. See [`RecordingEvent::sent_at`].
    pub callback_ms_ts: Option<Millis>,
    /// Not documented; 2 in the sample of the call family.
    pub kit_type: Option<Count>,
    /// What happened.
    pub event_info: Option<RecordingInfo>,
}

impl RecordingEvent {
    /// When the vendor sent it, under either name.
    #[must_use]
    pub fn sent_at(&self) -> Option<Millis> {
        self.callback_ts.or(self.callback_ms_ts)
    }
}

/// What happened to a recording task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RecordingInfo {
    /// The recorded room; absent in web page recording.
    pub room_id: Option<RoomId>,
    /// When, in **s** since 1970; a string in the samples of 301 and 302.
    pub event_ts: Option<Seconds>,
    /// When, in ms since 1970.
    pub event_ms_ts: Option<Millis>,
    /// The same, by the name some pages give it. See [`RecordingInfo::happened_at`].
    pub event_ts_ms: Option<Millis>,
    /// The recorder's own account in the room.
    pub user_id: Option<AccountId>,
    /// The recording task.
    pub task_id: Option<TaskId>,
    /// The details.
    pub payload: Option<RecordingPayload>,
}

impl RecordingInfo {
    /// When it happened, under either name.
    #[must_use]
    pub fn happened_at(&self) -> Option<Millis> {
        self.event_ms_ts.or(self.event_ts_ms)
    }
}

/// The details of a recording event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RecordingPayload {
    /// In group 3: 0 for success; what else there is depends on the event type.
    pub status: Option<Count>,
    /// Why the task stopped (302) or whether all files were uploaded (305).
    pub leave_code: Option<Count>,
    /// Names of files: one in 304, a list in 310.
    pub file_list: Option<Many<String>>,
    /// The first slice's name (307).
    pub file_name: Option<String>,
    /// The files of 310 in detail.
    pub file_message: Option<Vec<RecordedFile>>,
    /// What the video-on-demand service has (311), nested in samples.
    pub tencent_vod: Option<VodFile>,
    /// The recorded user (307, and 311 where it is flat).
    pub user_id: Option<AccountId>,
    /// `audio`, `video` or `audio_video`.
    pub track_type: Option<String>,
    /// The first slice's time (307), in ms since 1970; a string in the sample.
    pub begin_time_stamp: Option<Millis>,
    /// What went wrong (311, where `Status` is not 0).
    pub errmsg: Option<String>,
    /// The image that could not be read (309).
    pub url: Option<String>,
    /// Why the storage refused an upload (308).
    pub code: Option<Code>,
    /// The same in words (308).
    pub message: Option<String>,
    /// In words (group 8).
    pub event_message: Option<String>,
    /// `main`, `aux` or `mix` (311 where it is flat).
    pub media_id: Option<String>,
    /// The file's id at the video-on-demand service (311 where it is flat).
    pub file_id: Option<String>,
    /// Where it can be played (311 where it is flat).
    pub video_url: Option<String>,
    /// The file's name on the recorder (311 where it is flat).
    pub cache_file: Option<String>,
    /// Where the file begins, in ms since 1970 (311 where it is flat).
    pub start_time_stamp: Option<Millis>,
    /// Where the file ends, in ms since 1970, in **s** in old copies (311 where it is flat).
    pub end_time_stamp: Option<Millis>,
}

impl RecordingPayload {
    /// The file at the video-on-demand service (311): nested, as in samples, or flat, as in the page's table. `None` where there is
    /// none.
    #[must_use]
    pub fn vod(&self) -> Option<VodFile> {
        if self.tencent_vod.is_some() {
            return self.tencent_vod.clone();
        }
        (self.file_id.is_some() || self.cache_file.is_some()).then(|| VodFile {
            user_id: self.user_id.clone(),
            track_type: self.track_type.clone(),
            media_id: self.media_id.clone(),
            file_id: self.file_id.clone(),
            video_url: self.video_url.clone(),
            cache_file: self.cache_file.clone(),
            start_time_stamp: self.start_time_stamp.or(self.begin_time_stamp).map(in_millis),
            end_time_stamp: self.end_time_stamp.map(in_millis),
        })
    }
}

/// Old copies of the page have some of these times in s.
fn in_millis(time: Millis) -> Millis {
    if time.0.abs() < 100_000_000_000 { Millis(time.0.saturating_mul(1000)) } else { time }
}

/// One recorded file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RecordedFile {
    /// Its name.
    pub file_name: Option<String>,
    /// The recorded user; empty in mixed mode.
    pub user_id: Option<AccountId>,
    /// `audio`, `video` or `audio_video`.
    pub track_type: Option<String>,
    /// `main`, `aux` or `mix`.
    pub media_id: Option<String>,
    /// Where it begins, in ms since 1970.
    pub start_time_stamp: Option<Millis>,
    /// Where it ends, in ms since 1970.
    pub end_time_stamp: Option<Millis>,
}

/// One file in the vendor's video-on-demand service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VodFile {
    /// The recorded user.
    pub user_id: Option<AccountId>,
    /// `audio`, `video` or `audio_video`.
    pub track_type: Option<String>,
    /// `main`, `aux` or `mix`.
    pub media_id: Option<String>,
    /// The file's id there.
    pub file_id: Option<String>,
    /// Where it can be played.
    pub video_url: Option<String>,
    /// The file's name on the recorder.
    pub cache_file: Option<String>,
    /// Where it begins, in ms since 1970.
    pub start_time_stamp: Option<Millis>,
    /// Where it ends, in ms since 1970.
    pub end_time_stamp: Option<Millis>,
}
