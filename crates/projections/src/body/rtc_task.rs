//! Projections of what the RTC Engine tells of cloud tasks, recordings aside: `rtc_task_marks`. What users say is not copied.

use crate::body::leave_code::leave_reason;
use crate::change::{Change, RtcTaskMark, RtcTaskState};
use crate::value::{amount, text};
use protocol::Event;
use protocol::body::rtc::event::{RtcBody, RtcEvent};
use protocol::body::rtc::info::{IngestInfo, TaskInfo, task_key};
use protocol::body::rtc::payload::{AiPayload, ModerationPayload, RelayPayload, SlicingPayload};
use protocol::json::room_id::RoomIdKind;
use protocol::json::scalar::{AccountId, Code, Count, TaskId};

/// One step of a cloud task; of recordings and of events that are of no task, nothing.
pub(crate) fn rtc_task(event: &Event, body: &RtcBody, changes: &mut Vec<Change>) {
    let mark = match body {
        RtcBody::Relay(body) => of_task(event, body, relay),
        RtcBody::Ingest(body) => of_ingest(event, body),
        RtcBody::Slicing(body) => of_task(event, body, slicing),
        RtcBody::Moderation(body) => of_task(event, body, moderation),
        RtcBody::Ai(body) | RtcBody::Transcription(body) | RtcBody::AiConversation(body) => {
            of_task(event, body, ai)
        }
        RtcBody::Room(_)
        | RtcBody::Media(_)
        | RtcBody::Recording(_)
        | RtcBody::Screenshot(_)
        | RtcBody::WebRecording(_) => None,
    };
    changes.extend(mark.map(Change::RtcTask));
}

/// A mark that holds the task's key only; `None` without a task.
fn mark(event: &Event, task_id: Option<&TaskId>, event_type: Option<Count>) -> Option<RtcTaskMark> {
    let family = event.family.as_str();
    Some(RtcTaskMark {
        app: event.app,
        task_id: text(task_key(task_id?.as_str()))?,
        at: event.event_time,
        event_id: event.id,
        kind: family.strip_prefix("rtc_").unwrap_or(family),
        event_type: event_type.map(|number| amount(number.0)),
        room_id: None,
        room_id_kind: None,
        robot: None,
        url: None,
        state: None,
        end_reason: None,
        leave_code: None,
        error_code: None,
        error_message: None,
        counted: None,
    })
}

fn of_task<P: Default>(
    event: &Event,
    body: &RtcEvent<TaskInfo<P>>,
    read: fn(&mut RtcTaskMark, &P),
) -> Option<RtcTaskMark> {
    let info = body.event_info.as_ref()?;
    let mut mark = mark(event, info.task_id.as_ref(), body.event_type)?;
    mark.room_id = info.room_id.as_ref().and_then(|room| text(&room.id));
    mark.room_id_kind = mark.room_id.as_ref().and(info.room_id_kind()).map(RoomIdKind::as_str);
    mark.robot = account(info.robot());
    if let Some(payload) = &info.payload {
        read(&mut mark, payload);
    }
    Some(mark)
}

/// Source: trtc.io/document/62717. Such an event names no room.
fn of_ingest(event: &Event, body: &RtcEvent<IngestInfo>) -> Option<RtcTaskMark> {
    let info = body.event_info.as_ref()?;
    let mut mark = mark(event, info.task_id.as_ref(), body.event_type)?;
    match (mark.event_type, info.status.map(|status| status.0)) {
        (Some(701), Some(0)) => mark.state = Some(RtcTaskState::Running),
        (Some(701), Some(1)) => start_failed(&mut mark),
        (Some(701), Some(2)) => mark.state = Some(RtcTaskState::Retrying),
        (Some(702), _) => mark.state = Some(RtcTaskState::Stopped),
        _ => {}
    }
    Some(mark)
}

/// Source: trtc.io/document/54913. The reason stands in the event before the one that ends it.
fn relay(mark: &mut RtcTaskMark, payload: &RelayPayload) {
    mark.url = payload.url.as_deref().and_then(text);
    let (state, reason) = match payload.status.map(|status| status.0) {
        Some(0) => (RtcTaskState::Stopped, None),
        Some(1) => (RtcTaskState::Started, None),
        Some(2) => (RtcTaskState::Running, None),
        Some(3) => (RtcTaskState::Retrying, None),
        Some(4) => (RtcTaskState::Failed, Some("connection_failed")),
        Some(5) => (RtcTaskState::Stopped, Some("removed")),
        _ => return error_of_relay(mark, payload),
    };
    (mark.state, mark.end_reason) = (Some(state), reason);
    error_of_relay(mark, payload);
}

fn error_of_relay(mark: &mut RtcTaskMark, payload: &RelayPayload) {
    // 0 is no error.
    let code = payload.error_code.filter(|code| code.0 != 0);
    mark.error_code = code.map(|code| code.0.to_string());
    mark.error_message = payload.error_msg.as_deref().and_then(text);
}

/// Source: trtc.io/document/73393.
fn slicing(mark: &mut RtcTaskMark, payload: &SlicingPayload) {
    match mark.event_type {
        Some(1001) => started(mark, payload.status),
        Some(1002) => stopped(mark, payload.leave_code),
        Some(1004) => mark.counted = Some("file"),
        Some(1006) => failed(mark, payload.code.as_ref(), payload.message.as_deref()),
        _ => {}
    }
}

/// Source: trtc.io/document/73394.
fn moderation(mark: &mut RtcTaskMark, payload: &ModerationPayload) {
    match mark.event_type {
        Some(1101) => started(mark, payload.status),
        Some(1102) => stopped(mark, payload.leave_code),
        Some(1104) => {
            let is_hit = payload.suggest.is_some_and(|suggest| suggest.0 > 0);
            mark.counted = Some(if is_hit { "hit" } else { "check" });
        }
        Some(1106) => failed(mark, payload.code.as_ref(), payload.message.as_deref()),
        _ => {}
    }
}

/// Sources: trtc.io/document/66149, 68331, 80094. Events whose numbers are on no page are read by what they hold.
fn ai(mark: &mut RtcTaskMark, payload: &AiPayload) {
    match mark.event_type {
        Some(901 | 909 | 1401) => started_or_ready(mark, payload.status.as_ref()),
        Some(902 | 1402) => stopped(mark, payload.leave_code),
        Some(903 | 1403) => mark.counted = Some("message"),
        // The account of the robot, which no other event of its group has.
        Some(905) => mark.robot = mark.robot.take().or_else(|| account(payload.user_id.as_ref())),
        Some(908) => {
            let tag = payload.tag.as_ref();
            let message = tag.and_then(|tag| tag.message.as_deref()).and_then(text);
            let message = message.or_else(|| payload.metric.as_deref().and_then(text));
            failed(mark, tag.and_then(|tag| tag.code.as_ref()), message.as_deref());
        }
        Some(904 | 906 | 1404) => {}
        _ if payload.leave_code.is_some() => stopped(mark, payload.leave_code),
        _ if payload.status.is_some() => started_or_ready(mark, payload.status.as_ref()),
        _ if payload.text.is_some() => mark.counted = Some("message"),
        _ => {}
    }
}

fn started_or_ready(mark: &mut RtcTaskMark, status: Option<&Code>) {
    match status.map(Code::as_str) {
        Some("session_ready") => mark.state = Some(RtcTaskState::Ready),
        status => started(mark, status.and_then(|status| status.parse().ok()).map(Count)),
    }
}

fn started(mark: &mut RtcTaskMark, status: Option<Count>) {
    match status {
        Some(Count(0)) => mark.state = Some(RtcTaskState::Started),
        Some(Count(1)) => start_failed(mark),
        _ => {}
    }
}

fn start_failed(mark: &mut RtcTaskMark) {
    (mark.state, mark.end_reason) = (Some(RtcTaskState::Failed), Some("start_failed"));
}

fn stopped(mark: &mut RtcTaskMark, leave_code: Option<Count>) {
    let reason = leave_code.map(|code| leave_reason(amount(code.0)));
    let is_failure = reason == Some("internal_error");
    mark.state = Some(if is_failure { RtcTaskState::Failed } else { RtcTaskState::Stopped });
    mark.end_reason = reason;
    mark.leave_code = leave_code.map(|code| amount(code.0));
}

/// An error that does not end the task.
fn failed(mark: &mut RtcTaskMark, code: Option<&Code>, message: Option<&str>) {
    mark.error_code = code.and_then(|code| text(code.as_str()));
    mark.error_message = message.and_then(text);
}

fn account(account: Option<&AccountId>) -> Option<String> {
    account.and_then(|account| text(account.as_str()))
}
