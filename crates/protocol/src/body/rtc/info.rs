//! `EventInfo`: what happened, by group. Every field is optional; see [`crate::body::call`].

use serde::{Deserialize, Serialize};

use crate::json::room_id::{RoomIdKind, TypedRoomId};
use crate::json::scalar::{AccountId, Count, Millis, RoomId, Seconds, TaskId};

/// A room and its users (group 1), and what they publish (group 2). Source: trtc.io/document/39558.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RoomEventInfo {
    /// The room. A text in the sample of 102, whose siblings have a number.
    pub room_id: Option<TypedRoomId>,
    /// When, in **s** since 1970.
    pub event_ts: Option<Seconds>,
    /// When, in ms since 1970; absent before 2022.
    pub event_ms_ts: Option<Millis>,
    /// Who; absent in 102. See [`RoomEventInfo::user`].
    pub user_id: Option<AccountId>,
    /// The same, by the name an old page gives it.
    #[serde(rename = "userID")]
    pub old_user_id: Option<AccountId>,
    /// Tells one entry or exit from another. Only for apps that had callbacks before 2021-07-30.
    pub unique_id: Option<Count>,
    /// 20 anchor, 21 audience. Of 105 the new role.
    pub role: Option<Count>,
    /// 1 Windows, 2 Android, 3 iOS, 4 Linux, 100 another; of 103 only.
    pub terminal_type: Option<Count>,
    /// 1 WebRTC, 2 mini program, 3 native SDK; of 103 only.
    pub user_type: Option<Count>,
    /// Why. Of 103: 1 voluntary, 2 network change, 3 timeout and retry, 4 cross-room call. Of 104: 1 voluntary, 2 timeout (about
    /// 90 s after the loss), 3 removed, 4 cross-room call over, 5 process killed. Of 202, 204 and 206: 0.
    pub reason: Option<Count>,
    /// The client's address; seen in the wild, on no page.
    pub client_ipv4: Option<String>,
}

impl RoomEventInfo {
    /// Who, under either name.
    #[must_use]
    pub fn user(&self) -> Option<&AccountId> {
        self.user_id.as_ref().or(self.old_user_id.as_ref())
    }
}

/// A task of the cloud in a room: recording, relay, AI, slicing, moderation, transcription. Sources: trtc.io/document/54914 (groups 3
/// and 8), 54913 (4), 66149 and 68331 (9), 73393 (10), 73394 (11), 80094 (14).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TaskInfo<P: Default> {
    /// The room; absent in group 8.
    pub room_id: Option<TypedRoomId>,
    /// 0 numeric, 1 string; of group 4.
    pub room_type: Option<Count>,
    /// 0 numeric, 1 string; of groups 9, 14 and 15.
    pub room_id_type: Option<Count>,
    /// When, in **s** since 1970; groups 3, 10 and 11, as a string in some samples.
    pub event_ts: Option<Seconds>,
    /// When, in ms since 1970.
    pub event_ms_ts: Option<Millis>,
    /// The same, by its name in the sample of 401. See [`TaskInfo::happened_at`].
    pub event_ts_ms: Option<Millis>,
    /// The robot or agent that does the task in the room; groups 3, 4, 10 and 11.
    pub user_id: Option<AccountId>,
    /// The same in group 14.
    pub robot_id: Option<AccountId>,
    /// Whose stream was checked (group 11), where it stands beside the payload. See [`TaskInfo::streamer`].
    pub streamer_user_id: Option<AccountId>,
    /// The same, by its name in group 10.
    pub stream_user_id: Option<AccountId>,
    /// The task. With a suffix `_StartTimeMs_<13 digits>` in 310 of a recorded web page: see [`task_key`].
    pub task_id: Option<TaskId>,
    /// The details.
    pub payload: Option<P>,
}

impl<P: Default> TaskInfo<P> {
    /// Whether the room is named by a number or a text: by the field that says so, else by the JSON type of its id.
    #[must_use]
    pub fn room_id_kind(&self) -> Option<RoomIdKind> {
        let stated = self.room_id_type.or(self.room_type);
        let stated = stated.and_then(|number| RoomIdKind::of_callback(number.0));
        stated.or_else(|| self.room_id.as_ref().map(|room| room.sent))
    }

    /// When it happened, under either name.
    #[must_use]
    pub fn happened_at(&self) -> Option<Millis> {
        self.event_ms_ts.or(self.event_ts_ms)
    }

    /// Whose stream was checked or sliced, where it stands beside the payload; under either name.
    #[must_use]
    pub fn streamer(&self) -> Option<&AccountId> {
        self.streamer_user_id.as_ref().or(self.stream_user_id.as_ref())
    }

    /// The account that does the task in the room.
    #[must_use]
    pub fn robot(&self) -> Option<&AccountId> {
        self.user_id.as_ref().or(self.robot_id.as_ref())
    }
}

/// A task's id without the suffix that 310 of a recorded web page has, so that its events meet. Source: trtc.io/document/72325.
#[must_use]
pub fn task_key(task_id: &str) -> &str {
    match task_id.rsplit_once("_StartTimeMs_") {
        Some((key, digits))
            if digits.len() == 13 && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            key
        }
        _ => task_id,
    }
}

/// A screenshot that was uploaded (601). Source: trtc.io/document/64802.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ScreenshotInfo {
    /// The event's own id, as the sample spells it; no other group has one. See [`ScreenshotInfo::id`].
    #[serde(rename = "eventID")]
    pub event_id: Option<String>,
    /// The same, as the page's table spells it.
    #[serde(rename = "eventId")]
    pub event_id_of_table: Option<String>,
    /// What the client gave as `extraInfo`.
    pub callback_data: Option<String>,
    /// Where the picture is.
    #[serde(rename = "pictureURL")]
    pub picture_url: Option<String>,
    /// 0 for success.
    pub code: Option<Count>,
    /// What went wrong.
    pub msg: Option<String>,
    /// The room. Whether it is named by a number is not known.
    #[serde(rename = "roomID")]
    pub room_id: Option<RoomId>,
    /// `BigStream` (camera) or `SubStream` (screen).
    pub stream_type: Option<String>,
    /// Whose picture it is.
    #[serde(rename = "userID")]
    pub user_id: Option<AccountId>,
    /// When it was taken, in ms since 1970.
    pub timestamp: Option<Millis>,
}

impl ScreenshotInfo {
    /// The event's own id, in either spelling.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.event_id.as_deref().or(self.event_id_of_table.as_deref())
    }
}

/// An online media stream that enters a room (701, 702). Source: trtc.io/document/62717.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IngestInfo {
    /// When, in ms since 1970; a string in the page's table.
    pub event_ms_ts: Option<Millis>,
    /// The task, as `StartStreamIngest` returned it.
    pub task_id: Option<TaskId>,
    /// Of 701: 0 started, 1 failed, 2 tried again. Of 702: 0 ended.
    pub status: Option<Count>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tasks_key_has_no_start_time() {
        for (sent, key) in [
            ("-m9.x+/y", "-m9.x+/y"),
            ("-m9_StartTimeMs_1622186275757", "-m9"),
            ("-m9_StartTimeMs_16221862757", "-m9_StartTimeMs_16221862757"),
            ("-m9_StartTimeMs_162218627575x", "-m9_StartTimeMs_162218627575x"),
            ("", ""),
        ] {
            assert_eq!(task_key(sent), key);
        }
    }
}
