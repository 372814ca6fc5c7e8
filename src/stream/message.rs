//! An event as a message: the record of the spool, its head and checksum in headers and its body bare.

use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use uuid::Uuid;

use crate::store::{EventRecord, recorded_event};
use protocol::Event;

/// The version of the record's format.
const VERSION: &str = "Trtc-Record";
const VERSION_NOW: &str = "1";
const CHECKSUM: &str = "Trtc-Checksum";
const HEAD: &str = "Trtc-Head";
/// Stands in place of [`HEAD`] where the head is too long for a header: so many bytes of the payload, before the body, are it.
const HEAD_BYTES: &str = "Trtc-Head-Bytes";
/// The longest head in a header: a server takes 64 KiB of headers.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How much a message may be larger than its body: its headers, or a head as large as the query and the names in the body.
pub(crate) const OVERHEAD_BYTES: usize = 128 << 10;
/// Events are spread over so many subjects.
const SLOTS: u8 = 64;

/// The message of an event. Its id is the event's own, so that the stream takes a repeat once.
pub(crate) fn message_of(event: &Event) -> PublishMessage {
    let record = EventRecord::of(event);
    let message = PublishMessage::build()
        .message_id(event.id.to_string())
        .header(VERSION, VERSION_NOW)
        .header(CHECKSUM, hex::encode(record.checksum()));
    if record.head.len() <= HEAD_BYTES_MAX {
        message.header(HEAD, record.head).payload(record.body.to_vec().into())
    } else {
        let length = record.head.len().to_string();
        let payload = [record.head.as_bytes(), record.body].concat();
        message.header(HEAD_BYTES, length).payload(payload.into())
    }
}

/// The subject of an event, below this one.
pub(crate) fn subject_of(event: &Event, subject: &str) -> String {
    let [.., last] = event.id.into_bytes();
    format!("{subject}.{}", last % SLOTS)
}

/// The event of a message, or why it is none.
pub(crate) fn event_of(headers: Option<&HeaderMap>, payload: &[u8]) -> Result<Event, String> {
    let header = |name: &str| headers?.get(name).map(async_nats::HeaderValue::as_str);
    match header(VERSION) {
        Some(VERSION_NOW) => {}
        Some(other) => return Err(format!("its format `{other}` is not known here")),
        None => return Err(format!("it has no header {VERSION}: something else published it")),
    }
    let sum = header(CHECKSUM).and_then(|sum| hex::decode(sum).ok()).ok_or("it has no checksum")?;
    if let Some(head) = header(HEAD) {
        return recorded_event(head.as_bytes(), payload.to_vec(), &sum);
    }
    let length =
        header(HEAD_BYTES).and_then(|length| length.parse().ok()).ok_or("it has no head")?;
    let (head, body) = payload.split_at_checked(length).ok_or("its head is cut off")?;
    recorded_event(head, body.to_vec(), &sum)
}

/// The id of a message, where it is an event's.
pub(crate) fn id_of(headers: Option<&HeaderMap>) -> Option<Uuid> {
    headers?.get(async_nats::header::NATS_MESSAGE_ID)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::event::Payload;
    use protocol::{AppId, Body, Command, UnixMillis};

    fn event(room: &str, payload: Payload) -> Event {
        let row = Command::of_stored("", "Room.CallbackAfterDestroyRoom");
        Event {
            id: Uuid::from_u128(77),
            app: AppId::parse("1400000001").unwrap(),
            family: row.family,
            command: "Room.CallbackAfterDestroyRoom".into(),
            command_sent: None,
            kind: row.kind,
            event_time: UnixMillis(1),
            timed: true,
            unchecked: false,
            received_at: UnixMillis(2),
            call_id: None,
            room_id: Some(room.to_owned()),
            operator: None,
            client_ip: None,
            platform: None,
            request_id: None,
            query: Some("a=b%0d%0a".to_owned()),
            payload,
            body: Body::Untyped,
            decode_error: None,
            decode_panicked: false,
        }
    }

    fn headers(message: &PublishMessage) -> (HeaderMap, Vec<u8>) {
        let sent = message.clone().outbound_message("a");
        (sent.headers.unwrap(), sent.payload.to_vec())
    }

    #[test]
    fn an_event_comes_back_whole_whatever_it_holds() {
        let long = "\u{7f}é\r\n\"".repeat(20_000);
        for room in ["room", " \r\n\0\u{2028} ", long.as_str()] {
            for payload in [Payload::Json("{\"a\": 1}".into()), Payload::Raw(vec![0, 255, 13, 10])]
            {
                let event = event(room, payload);
                let (headers, payload) = headers(&message_of(&event));
                assert_eq!(event_of(Some(&headers), &payload), Ok(event.clone()));
                assert_eq!(id_of(Some(&headers)), Some(event.id));
                for (_, values) in headers.iter() {
                    let fits = |value: &str| !value.contains(['\r', '\n']) && value == value.trim();
                    assert!(values.iter().all(|value| fits(value.as_str())));
                }
                assert_eq!(subject_of(&event, "trtc.ingest"), "trtc.ingest.13");
            }
        }
    }

    #[test]
    fn what_is_no_record_is_said_so() {
        let event = event("room", Payload::Json("{}".into()));
        let (mut headers, payload) = headers(&message_of(&event));
        let said =
            |headers: Option<&HeaderMap>, payload: &[u8]| event_of(headers, payload).unwrap_err();
        assert!(said(Some(&headers), b"{ }").contains("checksum does not fit"));
        assert!(said(None, &payload).contains("no header Trtc-Record"));
        headers.insert(VERSION, "2");
        assert!(said(Some(&headers), &payload).contains("format `2`"));
        headers.insert(VERSION, VERSION_NOW);
        headers.insert(CHECKSUM, "x");
        assert!(said(Some(&headers), &payload).contains("no checksum"));
    }
}
