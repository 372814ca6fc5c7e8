//! The envelope of a derived event.

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use protocol::UnixMillis;

use crate::derived::{Derived, DerivedType};
use crate::event_columns::EventColumns;

#[derive(Serialize)]
struct Head<'a> {
    r#type: &'a str,
    timestamp: UnixMillis,
    id: Uuid,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    app: i64,
    family: &'a str,
    call_id: Option<&'a str>,
    room_id: Option<&'a str>,
    session: Option<i64>,
    revision: i64,
    withdrawn: bool,
    derived_at: UnixMillis,
    position: i64,
}

/// The envelope of a derived event, as text of JSON. The order of members is fixed.
pub(crate) fn envelope(event: &EventColumns, derived: &Derived) -> String {
    let head = Head {
        r#type: derived.r#type.name(),
        timestamp: event.event_time,
        id: event.id,
        data: Data {
            app: event.app.as_i64(),
            family: &event.family,
            call_id: event.call_id.as_deref(),
            room_id: event.room_id.as_deref(),
            session: derived.session,
            revision: derived.revision,
            withdrawn: derived.withdrawn,
            derived_at: event.received_at,
            position: event.position,
        },
    };
    let mut text = serde_json::to_string(&head).expect("texts and numbers are always JSON");
    // The row is the last member of `data`, so that the two braces at the end wait for it.
    text.truncate(text.len() - 2);
    text.push_str(",\"");
    text.push_str(derived.r#type.member());
    text.push_str("\":");
    text.push_str(derived.row.as_deref().unwrap_or("null"));
    text.push_str("}}");
    text
}

/// The JSON schema of the envelope of a derived event of this type, for the API's document. `row`: the schema of the API's row.
#[must_use]
pub fn schema(of: DerivedType, row: &Value) -> Value {
    let text = |about: &str| json!({"type": ["string", "null"], "description": about});
    let time = |about: &str| json!({"type": "string", "format": "date-time", "description": about});
    let number = |about: &str| json!({"type": "integer", "format": "int64", "description": about});
    json!({
        "type": "object",
        "description": "A derived event, as it is forwarded. `webhook-id` is its `id`.",
        "required": ["type", "timestamp", "id", "data"],
        "properties": {
            "type": {"const": of.name()},
            "timestamp": time("When it ended or was finished."),
            "id": {
                "type": "string",
                "format": "uuid",
                "description": "The same over all tries; each revision has its own.",
            },
            "data": {
                "type": "object",
                "required": [
                    "app", "family", "call_id", "room_id", "session", "revision", "withdrawn", "derived_at", "position", of.member(),
                ],
                "properties": {
                    "app": number("The app's `SdkAppId`."),
                    "family": {"type": "string", "description": "call, room, live or `rtc_recording`."},
                    "call_id": text("The call."),
                    "room_id": text("The room."),
                    "session": {
                        "type": ["integer", "null"],
                        "format": "int64",
                        "description": "Of a room: which session.",
                    },
                    "revision": number("1, and one more whenever a late event changes the fact: the greatest holds."),
                    "withdrawn": {"type": "boolean", "description": "Whether the fact holds no longer."},
                    "derived_at": time("When it was derived."),
                    "position": number("It grows in the order of storing. Gaps are normal."),
                    (of.member()): {
                        "description": "The row as it is when this is sent; null where there is none any more.",
                        "oneOf": [row, {"type": "null"}],
                    },
                },
                "additionalProperties": false,
            },
        },
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_columns::Content;
    use protocol::AppId;

    fn sent(row: Option<&str>) -> String {
        let said = Derived {
            r#type: DerivedType::CallMissed,
            session: None,
            revision: 2,
            withdrawn: row.is_none(),
            row: row.map(str::to_owned),
        };
        let event = EventColumns {
            id: Uuid::parse_str("0198f300-0000-7000-8000-000000000001").unwrap(),
            position: 182_740,
            app: AppId::parse("1400000001").unwrap(),
            family: "call".to_owned(),
            command: DerivedType::CallMissed.name().to_owned(),
            command_sent: None,
            event_time: UnixMillis(1_795_943_259_235),
            received_at: UnixMillis(1_795_943_260_000),
            call_id: Some("0a8e".to_owned()),
            room_id: None,
            operator: None,
            client_ip: Some("192.0.2.1".to_owned()),
            platform: None,
            decode_error: None,
            content: Content::Derived(said.clone()),
        };
        envelope(&event, &said)
    }

    #[test]
    fn the_envelope_of_a_derived_event_is_these_bytes() {
        let head = concat!(
            r#"{"type":"trtc.call.missed","timestamp":"2026-11-29T09:07:39.235Z","#,
            r#""id":"0198f300-0000-7000-8000-000000000001","data":{"app":1400000001,"family":"call","#,
            r#""call_id":"0a8e","room_id":null,"session":null,"revision":2,"withdrawn":"#,
        );
        let rest = r#","derived_at":"2026-11-29T09:07:40.000Z","position":182740,"call":"#;
        let row = r#"{"call_id":"0a8e"}"#;
        assert_eq!(sent(Some(row)), format!("{head}false{rest}{row}}}}}"));
        assert_eq!(sent(None), format!("{head}true{rest}null}}}}"));
    }

    #[test]
    fn its_schema_has_every_member_and_no_other() {
        let schema = schema(DerivedType::CallMissed, &json!({}));
        let sent = sent(Some("{}"));
        let sent: Value = serde_json::from_str(&sent).unwrap();
        let keys = |value: &Value| -> Vec<String> {
            let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort_unstable();
            keys
        };
        assert_eq!(keys(&schema["properties"]), keys(&sent));
        let data = &schema["properties"]["data"];
        assert_eq!(keys(&data["properties"]), keys(&sent["data"]));
        let mut required: Vec<String> = serde_json::from_value(data["required"].clone()).unwrap();
        required.sort_unstable();
        assert_eq!(required, keys(&sent["data"]));
    }
}
