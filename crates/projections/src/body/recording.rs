//! Projections of recorder events, for calls and live rooms alike: `recording_marks`.

use serde::Serialize;

use crate::change::{Change, Json, RecordingMark};
use crate::session::bounds::{FILES_BYTES_MAX, FILES_MAX, TEXT_BYTES_MAX, beginning};
use crate::value::{amount, json, text};
use protocol::Event;
use protocol::body::recording::{RecordedFile, RecordingEvent, RecordingPayload, VodFile};
use protocol::json::scalar::AccountId;

/// One file as `recording_marks.files` holds it. Times in ms since 1970.
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

/// One step of a recording task.
pub(crate) fn recording(
    event: &Event,
    room_id: Option<&str>,
    body: &RecordingEvent,
    changes: &mut Vec<Change>,
) {
    let Some(info) = &body.event_info else { return };
    let Some(task_id) = info.task_id.as_ref().and_then(|id| text(id.as_str())) else { return };
    let none = RecordingPayload::default();
    let payload = info.payload.as_ref().unwrap_or(&none);
    let event_type = body.event_type.map(|number| amount(number.0));
    let status = payload.status.map(|number| amount(number.0));
    let message = payload.errmsg.as_deref().or(payload.event_message.as_deref());
    let (files, cut) = files(payload);
    changes.push(Change::Recording(RecordingMark {
        app: event.app,
        task_id,
        at: event.event_time,
        event_id: event.id,
        call_id: event.call_id.clone(),
        room_id: room_id.map(str::to_owned),
        recorder: info.user_id.as_ref().and_then(|user| text(user.as_str())),
        event_group: body.event_group_id.map(|number| amount(number.0)),
        event_type,
        status,
        state: state(event_type, status, payload.leave_code.map(|number| amount(number.0))),
        files,
        cut: cut.then_some(true),
        message: message.and_then(text),
    }));
}

/// The task's state after an event; `None` where the event does not change it. Source: trtc.io/document/54914.
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

/// The files of an event up to the bound, and whether there were more.
fn files(payload: &RecordingPayload) -> (Option<Json>, bool) {
    let messages = payload.file_message.as_deref();
    let listed = payload.file_list.as_ref().filter(|_| messages.is_none());
    let files = messages
        .into_iter()
        .flatten()
        .map(recorded)
        .chain(listed.into_iter().flat_map(|list| &list.0).map(|name| named(name)))
        .chain(payload.file_name.as_deref().map(named))
        .chain(payload.tencent_vod.as_ref().map(on_demand));
    let (mut kept, mut bytes, mut cut) = (Vec::new(), 0, false);
    for file in files {
        let Some(file) = json(&file.bounded(&mut cut)) else { continue };
        bytes += file.get().len() + 1;
        if kept.len() == FILES_MAX || bytes > FILES_BYTES_MAX {
            cut = true;
            break;
        }
        kept.push(file);
    }
    (if kept.is_empty() { None } else { json(&kept) }, cut)
}

impl File<'_> {
    /// Cuts texts to their bounds; `cut` is set where one was longer.
    fn bounded(mut self, cut: &mut bool) -> Self {
        for text in
            [&mut self.name, &mut self.url, &mut self.file_id, &mut self.user, &mut self.track]
        {
            let Some(text) = text else { continue };
            let kept = beginning(text, TEXT_BYTES_MAX);
            *cut |= kept.len() < text.len();
            *text = kept;
        }
        self
    }
}

fn named(name: &str) -> File<'_> {
    File { name: Some(name), ..File::default() }
}

fn recorded(file: &RecordedFile) -> File<'_> {
    File {
        name: file.file_name.as_deref(),
        user: file.user_id.as_ref().map(AccountId::as_str).filter(|user| !user.is_empty()),
        track: file.track_type.as_deref(),
        from: file.start_time_stamp.map(|time| amount(time.0)),
        to: file.end_time_stamp.map(|time| amount(time.0)),
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
        from: file.start_time_stamp.map(|time| amount(time.0)),
        to: file.end_time_stamp.map(|time| amount(time.0)),
    }
}
