//! Envelopes of every fixture of the protocol.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forward::envelope::{ClientIp, envelope};
use forward::event_columns::EventColumns;
use protocol::event::Payload;
use protocol::{Delivery, Event, UnixMillis};
use serde_json::Value;

/// 2026-11-01 12:00 UTC, which is later than all samples.
pub(crate) const NOW: UnixMillis = UnixMillis(1_793_534_400_000);

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The columns of an event, its body as both stores give it back.
pub(crate) fn columns(event: Event, position: i64) -> EventColumns {
    let (payload, raw) = event.payload.columns();
    let stored = (payload.map(String::from), raw.map(<[u8]>::to_vec));
    EventColumns {
        id: event.id,
        position,
        app: event.app,
        family: event.family.as_str().to_owned(),
        command: event.command.into_owned(),
        command_sent: event.command_sent,
        event_time: event.event_time,
        received_at: event.received_at,
        call_id: event.call_id,
        room_id: event.room_id,
        operator: event.operator,
        client_ip: event.client_ip,
        platform: event.platform,
        decode_error: event.decode_error,
        payload: Payload::of_columns(stored.0, stored.1).unwrap(),
    }
}

#[test]
fn the_body_of_every_fixture_is_forwarded_byte_for_byte() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/fixtures");
    let (mut json, mut raw) = (0, 0);
    for file in files(&folder) {
        let delivery = Delivery::parse(&fs::read_to_string(&file).unwrap()).unwrap();
        let Some(event) = delivery.event(NOW) else { continue };
        let columns = columns(event, 512);
        let body = delivery.bytes().unwrap();
        let sent = envelope(&columns, ClientIp::Included);
        let name = file.display();
        // Without the body, which may hold numbers that no reader of ours takes.
        let (head, payload) = sent.split_once(r#","payload":"#).unwrap_or((&sent, ""));
        let is_json = !payload.is_empty();
        let head = if is_json { format!("{head}}}}}") } else { head.to_owned() };
        let read: Value = serde_json::from_str(&head).unwrap_or_else(|no| panic!("{name}: {no}"));
        assert_eq!(read["id"], columns.id.to_string(), "{name}");
        let command = &read["data"]["command"];
        let command = if command.is_null() { &read["type"] } else { command };
        assert_eq!(*command, columns.command, "{name}");
        assert_eq!(read["data"]["family"], columns.family, "{name}");
        if is_json {
            assert_eq!(payload.strip_suffix("}}").unwrap().as_bytes(), body, "{name}");
            json += 1;
        } else {
            let text = read["data"]["raw"].as_str().unwrap();
            assert_eq!(STANDARD.decode(text).unwrap(), body, "{name}");
            raw += 1;
        }
    }
    assert!(json > 100 && raw > 0, "{json} as JSON, {raw} as base64");
}
