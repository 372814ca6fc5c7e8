//! Projections: pure functions from an event to its changes of the read models.
//!
//! `body` has one function for each command, in its family's file. Their changes are stored together with the event,
//! as the rows of a [`Batch`]. [`session`] computes the sessions of a room from all its facts, [`rtc`] those of the RTC
//! Engine's rooms.

pub(crate) mod batch;
pub(crate) mod body;
pub mod change;
pub mod describe;
pub mod rtc;
mod rtc_schema;
mod rtc_task_mark;
pub(crate) mod schema;
pub mod session;
pub mod table;
mod value;

use std::borrow::Cow;

use protocol::Event;
use protocol::UnixMillis;
use protocol::body::call::CallBody;
use protocol::body::decoded::Body;
use protocol::body::live::LiveBody;
use protocol::body::mic::MicBody;
use protocol::body::room::RoomBody;
use protocol::body::rtc::event::RtcBody;
use protocol::command::description::{Command, Family};
use protocol::event::contained;
use protocol::json::scalar::Known;

pub use crate::batch::Batch;
pub use crate::change::Change;
pub use crate::schema::TABLES;
pub use crate::table::Table;
pub use crate::value::{AMOUNT_MAX, CHANGES_MAX};

use crate::body::{battle, call, live, recording, room, rtc_task, seat};
use crate::change::EventCount;
use crate::rtc::mark::mark;
use crate::rtc::robot::robot;
use crate::value::word;

/// The length of a span of `new_event_counts`.
const MINUTE_MS: i64 = 60_000;

/// The changes of the read models by `event`: the first [`CHANGES_MAX`] of them, with no more entries of any list
/// considered. Every event is counted. An event whose body was not decoded, or of a command that no read model
/// covers, changes nothing else. Nor does an event whose projection panics: a bug there must not lose the event.
#[must_use]
pub fn changes(event: &Event) -> Vec<Change> {
    let mut changes = vec![Change::Count(count(event))];
    changes.extend(contained(|| of_body(event)).unwrap_or_default());
    changes.truncate(CHANGES_MAX);
    changes
}

fn of_body(event: &Event) -> Vec<Change> {
    let mut changes = Vec::new();
    match &event.body {
        Body::Call(body) => match body {
            CallBody::StartCall(body) => call::start_call(event, body, &mut changes),
            CallBody::EndCall(body) => call::end_call(event, body, &mut changes),
            CallBody::MemberChanged(body) => call::member_changed(event, body, &mut changes),
            CallBody::RecordChanged(body) => call::record_changed(event, body, &mut changes),
        },
        Body::Room(body) => match body {
            RoomBody::CreateRoom(body) => room::create_room(event, body, &mut changes),
            RoomBody::DestroyRoom(body) => room::destroy_room(event, body, &mut changes),
            RoomBody::UpdateRoomInfo(body) => room::update_room_info(event, body, &mut changes),
            RoomBody::MemberEnter(body) => room::member_enter(event, body, &mut changes),
            RoomBody::MemberLeave(body) => room::member_leave(event, body, &mut changes),
        },
        Body::Mic(MicBody::SeatInfoChanged(body)) => {
            seat::seat_info_changed(event, body, &mut changes);
        }
        Body::Live(body) => live_changes(event, body, &mut changes),
        Body::Rtc(body) => match &**body {
            RtcBody::Recording(body) | RtcBody::WebRecording(body) => {
                recording::rtc_recording(event, body, &mut changes);
            }
            RtcBody::Room(_) | RtcBody::Media(_) => {
                changes.extend(mark(event).map(Box::new).map(Change::RtcRoom));
            }
            body => rtc_task::rtc_task(event, body, &mut changes),
        },
        Body::Group(_) | Body::Follow(_) | Body::Untyped | Body::Undecoded => {}
    }
    changes.extend(robot(event).map(Change::RtcRobot));
    changes
}

fn live_changes(event: &Event, body: &LiveBody, changes: &mut Vec<Change>) {
    match body {
        LiveBody::CreateRoom(body) => live::create_room(event, body, changes),
        LiveBody::DestroyRoom(body) => live::destroy_room(event, body, changes),
        LiveBody::UpdateRoomInfo(body) => live::update_room_info(event, body, changes),
        LiveBody::SetMetadata(body) => live::set_metadata(event, body, changes),
        LiveBody::DelMetadata(body) => live::del_metadata(event, body, changes),
        LiveBody::MemberStateChanged(body) => live::member_state_changed(event, body, changes),
        LiveBody::ChangeOwner(body) => live::change_owner(event, body, changes),
        LiveBody::ModifyAdmin(body) => live::modify_admin(event, body, changes),
        LiveBody::CreateBattle(body) => battle::create_battle(event, body, changes),
        LiveBody::StartBattle(body) => battle::start_battle(event, body, changes),
        LiveBody::EndBattle(body) => battle::end_battle(event, body, changes),
        LiveBody::BeforeSendGift(body) => live::before_send_gift(event, body, changes),
        LiveBody::CloudRecordingChanged(body) => {
            recording::recording(event, event.room_id.as_deref(), body, changes);
        }
        // It concerns the app's quota and names no room.
        LiveBody::CreateRoomReachingThreshold(_) => {}
    }
}

fn count(event: &Event) -> EventCount {
    let result = match &event.body {
        Body::Call(CallBody::EndCall(body)) => {
            body.call_record.as_ref().and_then(|record| record.call_result.as_ref())
        }
        _ => None,
    };
    let result = match result {
        Some(Known::Value(_)) => word(result),
        // Unknown values are counted together: else a sender of invented values could create any number of sums.
        Some(Known::Other(text)) if !text.is_empty() => Some("other".to_owned()),
        _ => None,
    };
    let lag_ms =
        if event.timed { event.received_at.0.saturating_sub(event.event_time.0) } else { 0 };
    let lag_ms = lag_ms.max(0);
    EventCount {
        app: event.app,
        at: UnixMillis(event.event_time.0.div_euclid(MINUTE_MS) * MINUTE_MS),
        command: counted_as(event),
        result: result.unwrap_or_default(),
        family: event.family.as_str(),
        events: 1,
        lag_ms,
        lag_ms_max: lag_ms,
    }
}

/// The name under which an event is counted. Commands without a row in the registry are counted together by family:
/// else a sender of invented names could create any number of sums. The event itself keeps its exact command.
fn counted_as(event: &Event) -> String {
    match &event.command {
        Cow::Borrowed(name) => (*name).to_owned(),
        Cow::Owned(name) if Command::find(name).is_some() => name.clone(),
        Cow::Owned(_) if event.family == Family::Unknown => UNKNOWN.to_owned(),
        Cow::Owned(_) => format!("{}.*", event.family.as_str()),
    }
}

/// The counted name of commands without a family.
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use protocol::{AppId, Command, Delivery};

    /// As many distinct entries as a body of the default size limit holds.
    const MANY: usize = 5_000;

    /// Replaces each list by one of many entries.
    fn lengthen(value: &mut Value) {
        match value {
            Value::Array(elements) => {
                elements.iter_mut().for_each(lengthen);
                let element = elements.first().cloned().unwrap_or_else(|| json!("x"));
                *elements = (0..MANY).map(|number| numbered(&element, number)).collect();
            }
            Value::Object(members) => members.values_mut().for_each(lengthen),
            _ => {}
        }
    }

    /// A copy of `value` with its ids numbered, so that entries differ.
    fn numbered(value: &Value, number: usize) -> Value {
        match value {
            Value::String(_) => json!(format!("id-{number}")),
            Value::Number(_) => json!(number),
            Value::Object(members) => {
                let is_id = |key: &str| {
                    ["_Account", "Index", "Key", "RoomId"].iter().any(|end| key.ends_with(end))
                };
                let member = |(key, value): (&String, &Value)| {
                    let value = if is_id(key) { numbered(value, number) } else { value.clone() };
                    (key.clone(), value)
                };
                Value::Object(members.iter().map(member).collect())
            }
            other => other.clone(),
        }
    }

    #[test]
    fn no_list_gives_a_projection_more_than_its_share_of_changes() {
        let app = AppId::parse("1400000001").unwrap();
        let now = UnixMillis(1_793_534_400_000);
        let mut most = 0;
        for command in Command::all().filter(|command| command.is_typed()) {
            let mut sample = Delivery::sample(command, app);
            let mut body: Value = serde_json::from_slice(&sample.bytes().unwrap()).unwrap();
            lengthen(&mut body);
            (sample.body, sample.body_text) = (None, Some(body.to_string()));
            let event = sample.event(now).unwrap();
            assert_eq!(event.decode_error, None, "{}", command.name);
            // Before truncation: at most a call and the members of two lists.
            let made = of_body(&event);
            assert!(made.len() <= 1 + 2 * CHANGES_MAX, "{}: {}", command.name, made.len());
            let bytes: usize = made.iter().map(Change::bytes).sum();
            assert!(bytes <= 2_000 * CHANGES_MAX, "{}: {bytes} bytes", command.name);
            assert!(changes(&event).len() <= CHANGES_MAX, "{}", command.name);
            most = most.max(made.len());
        }
        assert!(most >= CHANGES_MAX, "the lists are long enough to be cut: {most}");
    }
}
