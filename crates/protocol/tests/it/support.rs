//! The fixtures, and reading one body as an event of the RTC Engine.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use trtc_callbacks_protocol::body::rtc::event::RtcBody;
use trtc_callbacks_protocol::{AppId, Apps, Body, Delivery, Event, Query, UnixMillis};

pub(crate) const APP: &str = "1400000001";
/// 2026-11-01 12:00 UTC, which is later than all samples.
pub(crate) const NOW: UnixMillis = UnixMillis(1_793_534_400_000);

/// A fixture: a body, and what is to be read in it.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) delivery: Delivery,
    pub(crate) body: String,
    pub(crate) stored: Stored,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    pub(crate) family: String,
    pub(crate) command: String,
    pub(crate) command_sent: Option<String>,
    /// ms; absent where the received time stands in for it.
    pub(crate) event_time: Option<i64>,
    pub(crate) call_id: Option<String>,
    pub(crate) room_id: Option<String>,
    pub(crate) operator: Option<String>,
    pub(crate) client_ip: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) id_version: usize,
    pub(crate) undecoded: bool,
}

/// Every fixture of this dialect, in the order of its name.
pub(crate) fn fixtures() -> Vec<Fixture> {
    #[derive(Deserialize)]
    struct Rest {
        stored: Stored,
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rtc");
    let mut fixtures: Vec<Fixture> = folder
        .read_dir()
        .unwrap()
        .map(|entry| {
            let file = entry.unwrap().path();
            let text = fs::read_to_string(&file).unwrap();
            let rest: Rest = serde_json::from_str(&text).unwrap();
            let delivery = Delivery::parse(&text).unwrap();
            let body = String::from_utf8(delivery.bytes().unwrap()).unwrap();
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            Fixture { name, delivery, body, stored: rest.stored }
        })
        .collect();
    fixtures.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(fixtures.len() >= 66, "only {} fixtures", fixtures.len());
    fixtures
}

/// The fixture of this name, as a value that can be changed.
pub(crate) fn body_of(name: &str) -> Value {
    let fixture = fixtures().into_iter().find(|fixture| fixture.name == name);
    serde_json::from_str(&fixture.unwrap_or_else(|| panic!("there is no {name}")).body).unwrap()
}

pub(crate) fn decode(body: impl AsRef<[u8]>) -> Event {
    decode_at(body, NOW)
}

pub(crate) fn decode_at(body: impl AsRef<[u8]>, now: UnixMillis) -> Event {
    let app = AppId::parse(APP).unwrap();
    let apps = Apps::new().with(app, Vec::new());
    let verified = apps.verify_rtc(app, [], body.as_ref(), Query::default()).unwrap();
    Event::decode(&verified, body.as_ref(), now)
}

/// The event of a body of which every part fits.
pub(crate) fn fitting(body: impl AsRef<[u8]>) -> Event {
    let event = decode(body);
    assert_eq!(event.decode_error, None, "{:?}", event.payload);
    event
}

/// What stands in `EventInfo`, of the one group of [`RtcBody`] that is named.
macro_rules! info {
    ($group:ident, $event:expr) => {
        match crate::support::rtc(&$event) {
            trtc_callbacks_protocol::body::rtc::event::RtcBody::$group(body) => {
                body.event_info.clone().expect("it has EventInfo")
            }
            other => panic!("not of this group: {other:?}"),
        }
    };
}
pub(crate) use info;

/// The details of a task, of the one group of [`RtcBody`] that is named.
macro_rules! payload {
    ($group:ident, $event:expr) => {
        crate::support::info!($group, $event).payload.expect("it has a payload")
    };
}
pub(crate) use payload;

pub(crate) fn rtc(event: &Event) -> &RtcBody {
    match &event.body {
        Body::Rtc(body) => body,
        other => panic!("not of this dialect: {other:?}"),
    }
}

/// What tells a repeat: the id, or of an event without a time the content of its id.
pub(crate) fn key(event: &Event) -> uuid::Uuid {
    event.request_key().unwrap_or(event.id)
}

/// A body with `value` at a JSON pointer, whose parent is there.
pub(crate) fn with(body: &Value, pointer: &str, value: Value) -> Value {
    let mut body = body.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap_or_else(|| panic!("nothing holds {pointer}"));
    match parent {
        Value::Object(members) => _ = members.insert(name.to_owned(), value),
        Value::Array(elements) => elements[name.parse::<usize>().unwrap()] = value,
        other => panic!("{pointer} cannot stand in {other}"),
    }
    body
}

/// A body without what stands at a JSON pointer.
pub(crate) fn without(body: &Value, pointer: &str) -> Value {
    let mut body = body.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match body.pointer_mut(parent) {
        Some(Value::Object(members)) => _ = members.shift_remove(name),
        Some(Value::Array(elements)) => _ = elements.remove(name.parse().unwrap()),
        _ => {}
    }
    body
}

/// An event in `EventInfo` of a group and type, sent at a fixed time.
pub(crate) fn event(event_type: i64, info: &str) -> String {
    let group = event_type / 100;
    format!(
        r#"{{"EventGroupId":{group},"EventType":{event_type},"CallbackTs":1760000000345,"EventInfo":{info}}}"#
    )
}
