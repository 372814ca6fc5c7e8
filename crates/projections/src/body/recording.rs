//! Projections of recorder events, for calls, live rooms and the RTC Engine alike: `recording_marks`.

use serde::Serialize;

use crate::body::leave_code::leave_reason;
use crate::change::{Change, Json, RecordingMark};
use crate::session::bounds::{FILES_BYTES_MAX, FILES_MAX, TEXT_BYTES_MAX, beginning};
use crate::value::{amount, json, text};
use protocol::body::recording::{RecordedFile, RecordingEvent, RecordingPayload, VodFile};
use protocol::body::rtc::event::RtcEvent;
use protocol::body::rtc::info::{TaskInfo, task_key};
use protocol::json::scalar::{AccountId, Count, TaskId};
use protocol::{Event, Family};

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
    media: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<i64>,
}

/// One step of a recording task, as a command of the call or live family carries it.
pub(crate) fn recording(
    event: &Event,
    room_id: Option<&str>,
    body: &RecordingEvent,
    changes: &mut Vec<Change>,
) {
    let Some(info) = &body.event_info else { return };
    step(
        event,
        &Step {
            reporter: if event.family == Family::Call { "call" } else { "live" },
            room_id,
            group: body.event_group_id,
            event_type: body.event_type,
            task_id: info.task_id.as_ref(),
            recorder: info.user_id.as_ref(),
            payload: info.payload.as_ref(),
        },
        changes,
    );
}

/// The same as an event of the RTC Engine. A task that both report is one: its id tells it.
pub(crate) fn rtc_recording(
    event: &Event,
    body: &RtcEvent<TaskInfo<RecordingPayload>>,
    changes: &mut Vec<Change>,
) {
    let Some(info) = &body.event_info else { return };
    step(
        event,
        &Step {
            reporter: "rtc",
            room_id: event.room_id.as_deref(),
            group: body.event_group_id,
            event_type: body.event_type,
            task_id: info.task_id.as_ref(),
            recorder: info.user_id.as_ref(),
            payload: info.payload.as_ref(),
        },
        changes,
    );
}

/// What either dialect says of a step.
struct Step<'a> {
    reporter: &'static str,
    room_id: Option<&'a str>,
    group: Option<Count>,
    event_type: Option<Count>,
    task_id: Option<&'a TaskId>,
    recorder: Option<&'a AccountId>,
    payload: Option<&'a RecordingPayload>,
}

fn step(event: &Event, step: &Step<'_>, changes: &mut Vec<Change>) {
    let Some(task_id) = step.task_id.and_then(|id| text(task_key(id.as_str()))) else { return };
    let none = RecordingPayload::default();
    let payload = step.payload.unwrap_or(&none);
    let event_type = step.event_type.map(|number| amount(number.0));
    let leave_code = payload.leave_code.map(|number| amount(number.0));
    let status = payload.status.map(|number| amount(number.0));
    // The pages name the result of 305 either way.
    let status = if event_type == Some(305) { status.or(leave_code) } else { status };
    let messages = [&payload.errmsg, &payload.event_message, &payload.message];
    let message = messages.into_iter().find_map(Option::as_deref);
    let (files, cut) = files(payload);
    changes.push(Change::Recording(RecordingMark {
        app: event.app,
        task_id,
        at: event.event_time,
        event_id: event.id,
        call_id: event.call_id.clone(),
        room_id: step.room_id.map(str::to_owned),
        recorder: step.recorder.and_then(|user| text(user.as_str())),
        event_group: step.group.map(|number| amount(number.0)),
        event_type,
        status,
        state: state(event_type, status),
        files,
        cut: cut.then_some(true),
        message: message.and_then(text),
        reporter: step.reporter,
        end_reason: end_reason(event_type, status, leave_code),
        leave_code: leave_code.filter(|_| event_type == Some(302)),
    }));
}

/// The task's state after an event; `None` where the event does not change it. Source: trtc.io/document/54914.
fn state(event_type: Option<i64>, status: Option<i64>) -> Option<&'static str> {
    match (event_type?, status) {
        (301, Some(0)) | (801, Some(1)) => Some("started"),
        (301 | 312, Some(1)) | (310, Some(2)) | (801, Some(2 | 5)) => Some("failed"),
        (307, _) => Some("recording"),
        (302 | 802 | 804, _) => Some("stopped"),
        (303, Some(0)) => Some("uploading"),
        // 2: files that were stuck have been recovered and uploaded.
        (305, Some(0 | 2)) | (310 | 312, Some(0)) => Some("finished"),
        _ => None,
    }
}

/// Why recording ended; `None` where the event does not end it. Sources: trtc.io/document/54914, 72325.
fn end_reason(
    event_type: Option<i64>,
    status: Option<i64>,
    leave_code: Option<i64>,
) -> Option<&'static str> {
    match (event_type?, status) {
        (301, Some(1)) | (801, Some(2)) => Some("start_failed"),
        (302, _) => leave_code.map(leave_reason),
        (801, Some(5)) => Some("internal_error"),
        (802, _) => Some("stop_api"),
        (804, Some(1)) => Some("time_limit"),
        (804, Some(2)) => Some("video_too_large"),
        (804, _) => Some("unknown"),
        _ => None,
    }
}

/// The files of an event up to the bound, and whether there were more.
fn files(payload: &RecordingPayload) -> (Option<Json>, bool) {
    let messages = payload.file_message.as_deref();
    // 307 names a slice and its user as a flat 311 names a file, but no id and no cache file.
    let vod = payload.vod();
    let listed = payload.file_list.as_ref().filter(|_| messages.is_none());
    let files = messages
        .into_iter()
        .flatten()
        .map(recorded)
        .chain(listed.into_iter().flat_map(|list| &list.0).map(|name| named(name)))
        .chain(payload.file_name.as_deref().map(named))
        .chain(vod.as_ref().map(on_demand));
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
        for text in [
            &mut self.name,
            &mut self.url,
            &mut self.file_id,
            &mut self.user,
            &mut self.track,
            &mut self.media,
        ] {
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
        media: file.media_id.as_deref(),
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
        media: file.media_id.as_deref(),
        from: file.start_time_stamp.map(|time| amount(time.0)),
        to: file.end_time_stamp.map(|time| amount(time.0)),
    }
}
