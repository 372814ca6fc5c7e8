//! The format of a spooled event: a JSON head, the body as received, and a checksum over both.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use protocol::UnixMillis;
use protocol::event::Payload;
use protocol::{AppId, Body, Command, Dialect, Event};

/// The contents of the spool in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Number of events.
    pub events: u64,
    /// Their size in the file, in bytes.
    pub bytes: u64,
}

/// A record that was read.
#[derive(Debug)]
pub struct Spooled {
    /// Its position: lower is older.
    pub place: i64,
    /// The event, or why its record is corrupt.
    pub event: Result<Event, String>,
}

/// The stored form of an event: of the spool, and of the stream of scale-out mode.
#[derive(Debug)]
pub struct Record<'a> {
    /// Its columns, as JSON on one line.
    pub head: String,
    /// Its body as received.
    pub body: &'a [u8],
}

/// An event's columns without its body.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    id: Uuid,
    sdk_app_id: Cow<'a, str>,
    command: Cow<'a, str>,
    /// Where the command does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_sent: Option<Cow<'a, str>>,
    /// ms since 1970, as is the next one.
    event_time: i64,
    timed: bool,
    received_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unchecked: bool,
    /// Whether the body is [`Payload::Json`].
    json: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    decode_error: Option<Cow<'a, str>>,
}

impl<'a> Record<'a> {
    /// The record of an event.
    #[must_use]
    pub fn of(event: &'a Event) -> Self {
        fn text(value: Option<&String>) -> Option<Cow<'_, str>> {
            value.map(|value| Cow::Borrowed(value.as_str()))
        }
        let head = Head {
            id: event.id,
            sdk_app_id: event.app.to_string().into(),
            command: event.command.as_ref().into(),
            family: (event.family.dialect() == Dialect::RtcEngine)
                .then(|| event.family.as_str().into()),
            command_sent: text(event.command_sent.as_ref()),
            event_time: event.event_time.0,
            timed: event.timed,
            received_at: event.received_at.0,
            call_id: text(event.call_id.as_ref()),
            room_id: text(event.room_id.as_ref()),
            operator: text(event.operator.as_ref()),
            client_ip: text(event.client_ip.as_ref()),
            platform: text(event.platform.as_ref()),
            request_id: text(event.request_id.as_ref()),
            query: text(event.query.as_ref()),
            unchecked: event.unchecked,
            json: matches!(event.payload, Payload::Json(_)),
            decode_error: text(event.decode_error.as_ref()),
        };
        // Texts and numbers always serialize.
        let head = serde_json::to_string(&head).unwrap_or_default();
        Self { head, body: event.payload.as_bytes() }
    }

    /// The checksum over head and body.
    #[must_use]
    pub fn checksum(&self) -> [u8; 32] {
        checksum(self.head.as_bytes(), self.body)
    }
}

fn checksum(head: &[u8], body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((head.len() as u64).to_be_bytes());
    hash.update(head);
    hash.update(body);
    hash.finalize().into()
}

/// A record's columns: position, head, body, checksum. As bytes, since a corrupt one may hold anything.
pub(crate) type Columns = (i64, Vec<u8>, Vec<u8>, Vec<u8>);

/// Decodes a record and verifies its checksum.
pub(crate) fn spooled((place, head, body, sum): Columns) -> Spooled {
    Spooled { place, event: recorded_event(&head, body, &sum) }
}

/// The event of a record, of which the checksum is verified.
///
/// # Errors
/// Why the record is corrupt.
pub fn recorded_event(head: &[u8], body: Vec<u8>, sum: &[u8]) -> Result<Event, String> {
    if checksum(head, &body) == sum {
        event(head, body)
    } else {
        Err("its checksum does not fit".to_owned())
    }
}

fn event(head: &[u8], body: Vec<u8>) -> Result<Event, String> {
    let head: Head<'_> = serde_json::from_slice(head).map_err(|error| error.to_string())?;
    let row = Command::of_stored(head.family.as_deref().unwrap_or_default(), &head.command);
    let owned = |value: Option<Cow<'_, str>>| value.map(Cow::into_owned);
    Ok(Event {
        id: head.id,
        app: AppId::parse(&head.sdk_app_id).ok_or("its app is no id")?,
        family: row.family,
        command: head.command.into_owned().into(),
        command_sent: owned(head.command_sent),
        kind: row.kind,
        event_time: UnixMillis(head.event_time),
        timed: head.timed,
        unchecked: head.unchecked,
        received_at: UnixMillis(head.received_at),
        call_id: owned(head.call_id),
        room_id: owned(head.room_id),
        operator: owned(head.operator),
        client_ip: owned(head.client_ip),
        platform: owned(head.platform),
        request_id: owned(head.request_id),
        query: owned(head.query),
        payload: if head.json {
            Payload::Json(String::from_utf8(body).map_err(|error| error.to_string())?)
        } else {
            Payload::Raw(body)
        },
        body: Body::Untyped,
        decode_error: owned(head.decode_error),
        decode_panicked: false,
    })
}
