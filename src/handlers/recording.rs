//! What the recorder's events change, of calls and of live rooms alike: `recording_marks`.

use serde::Serialize;

use super::change::{Change, RecordingMark};
use super::{json, text};
use crate::callback::Event;
use crate::callback::recording::{RecordedFile, RecordingEvent, RecordingPayload, VodFile};
use crate::callback::scalar::AccountId;

/// One file, as the tables have it. Times in ms since 1970.
#[derive(Default, Serialize)]
#[expect(clippy::struct_field_names, reason = "the vendor's name")]
struct File<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    track: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<i64>,
}

/// A recording task went on by one step.
pub(super) fn recording(
    event: &Event,
    room_id: Option<&str>,
    body: &RecordingEvent,
    changes: &mut Vec<Change>,
) {
    let Some(info) = &body.event_info else { return };
    let Some(task_id) = info.task_id.as_ref().and_then(|id| text(id.as_str())) else { return };
    let none = RecordingPayload::default();
    let payload = info.payload.as_ref().unwrap_or(&none);
    let event_type = body.event_type.map(|number| number.0);
    let status = payload.status.map(|number| number.0);
    let message = payload.errmsg.as_deref().or(payload.event_message.as_deref());
    let files = files(payload);
    changes.push(Change::Recording(RecordingMark {
        app: event.app,
        task_id,
        at: event.event_time,
        event_id: event.id,
        call_id: event.call_id.clone(),
        room_id: room_id.map(str::to_owned),
        recorder: info.user_id.as_ref().and_then(|user| text(user.as_str())),
        event_group: body.event_group_id.map(|number| number.0),
        event_type,
        status,
        state: state(event_type, status, payload.leave_code.map(|number| number.0)),
        files: if files.is_empty() { None } else { json(&files) },
        message: message.and_then(text),
    }));
}

/// What a step means for the task. Source: trtc.io/document/54914.
fn state(
    event_type: Option<i64>,
    status: Option<i64>,
    leave_code: Option<i64>,
) -> Option<&'static str> {
    match (event_type?, status.or(leave_code)) {
        (301, Some(0)) | (801, Some(1)) => Some("started"),
        (301 | 312, Some(1)) | (310, Some(2)) | (801, Some(2 | 5)) => Some("failed"),
        (307, _) => Some("recording"),
        (302 | 802, _) => Some("stopped"),
        (303, Some(0)) => Some("uploading"),
        // 2: files that were stuck have been recovered and uploaded.
        (305, Some(0 | 2)) | (310 | 312, Some(0)) => Some("finished"),
        _ => None,
    }
}

fn files(payload: &RecordingPayload) -> Vec<File<'_>> {
    let name = payload.file_name.as_deref();
    let mut files: Vec<_> = match &payload.file_message {
        Some(messages) => messages.iter().map(recorded).collect(),
        None => payload.file_list.iter().flat_map(|list| &list.0).map(|name| named(name)).collect(),
    };
    files.extend(name.map(named));
    files.extend(payload.tencent_vod.as_ref().map(on_demand));
    files
}

fn named(name: &str) -> File<'_> {
    File { name: Some(name), ..File::default() }
}

fn recorded(file: &RecordedFile) -> File<'_> {
    File {
        name: file.file_name.as_deref(),
        user: file.user_id.as_ref().map(AccountId::as_str).filter(|user| !user.is_empty()),
        track: file.track_type.as_deref(),
        from: file.start_time_stamp.map(|time| time.0),
        to: file.end_time_stamp.map(|time| time.0),
        ..File::default()
    }
}

fn on_demand(file: &VodFile) -> File<'_> {
    File {
        name: file.cache_file.as_deref(),
        url: file.video_url.as_deref(),
        file_id: file.file_id.as_deref(),
        user: file.user_id.as_ref().map(AccountId::as_str).filter(|user| !user.is_empty()),
        track: file.track_type.as_deref(),
        from: file.start_time_stamp.map(|time| time.0),
        to: file.end_time_stamp.map(|time| time.0),
    }
}
