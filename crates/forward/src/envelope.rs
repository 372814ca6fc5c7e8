//! The envelope: what is sent of a stored event, the same bytes over HTTP and NATS, and by `listen`.
//!
//! The vendor's body stands in it as it came, as text: a parsed value would lose digits of long integers and members of the same
//! name. A body that is not JSON stands there as base64, since the official libraries of Standard Webhooks disagree on bytes that are
//! not UTF-8. The order of members is fixed, so that the same event is always the same bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use uuid::Uuid;

use protocol::UnixMillis;
use protocol::event::Payload;

use crate::derived::PREFIX;
use crate::derived_envelope;
use crate::event_columns::{Content, EventColumns};

/// The type of events whose command has letters that a type may not have.
pub const UNKNOWN: &str = "unknown";

/// Whether the address of the user's device is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientIp {
    /// It is left out.
    #[default]
    Omitted,
    /// It is sent where it is known.
    Included,
}

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
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    command_sent: Option<&'a str>,
    received_at: UnixMillis,
    call_id: Option<&'a str>,
    room_id: Option<&'a str>,
    operator: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<&'a str>,
    platform: Option<&'a str>,
    decode_error: Option<&'a str>,
    position: Option<i64>,
}

/// The envelope of an event, as text of JSON.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "what it expects holds always")]
pub fn envelope(event: &EventColumns, client_ip: ClientIp) -> String {
    let payload = match &event.content {
        Content::Vendor(payload) => payload,
        Content::Derived(said) => return derived_envelope::envelope(event, said),
    };
    let r#type = event_type(&event.command);
    let head = Head {
        r#type,
        timestamp: event.event_time,
        id: event.id,
        data: Data {
            app: event.app.as_i64(),
            family: &event.family,
            command: (r#type == UNKNOWN).then_some(&event.command),
            command_sent: event.command_sent.as_deref(),
            received_at: event.received_at,
            call_id: event.call_id.as_deref(),
            room_id: event.room_id.as_deref(),
            operator: event.operator.as_deref(),
            client_ip: event.client_ip.as_deref().filter(|_| client_ip == ClientIp::Included),
            platform: event.platform.as_deref(),
            decode_error: event.decode_error.as_deref(),
            position: Some(event.position).filter(|position| *position > 0),
        },
    };
    let mut text = serde_json::to_string(&head).expect("texts and numbers are always JSON");
    // The body is the last member of `data`, so that the two braces at the end wait for it.
    text.truncate(text.len() - 2);
    match payload {
        // A store that was written to by hand may hold anything: one wrong body must not spoil the envelope.
        Payload::Json(body) if serde_json::from_str::<IgnoredAny>(body).is_ok() => {
            text.push_str(",\"payload\":");
            text.push_str(body);
        }
        other => {
            text.push_str(",\"raw\":\"");
            STANDARD.encode_string(other.as_bytes(), &mut text);
            text.push('"');
        }
    }
    text.push_str("}}");
    text
}

/// The type of the sample that `forward test` sends.
pub const SAMPLE_TYPE: &str = "trtc.test";

/// The type of an event of the vendor: its command, or [`UNKNOWN`] where the command has other characters than letters, digits, `_`
/// and `.`, or begins as the types of derived events do: nobody who sends a callback can make one of those. A sample says nothing that
/// could be made up.
#[must_use]
pub fn event_type(command: &str) -> &str {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let is_own = command.starts_with(PREFIX) && command != SAMPLE_TYPE;
    if !command.is_empty() && !is_own && command.bytes().all(is_usual) { command } else { UNKNOWN }
}

/// The JSON schema of the envelope, for the API's document.
#[must_use]
pub fn schema() -> Value {
    let text = |about: &str| json!({"type": ["string", "null"], "description": about});
    let time = |about: &str| json!({"type": "string", "format": "date-time", "description": about});
    json!({
        "type": "object",
        "description": "A stored event, as it is forwarded. `webhook-id` is its `id`.",
        "required": ["type", "timestamp", "id", "data"],
        "properties": {
            "type": {
                "type": "string",
                "pattern": "^[A-Za-z0-9_.]+$",
                "description": "The command, such as `Call.CallbackAfterEndCall` or `EVENT_TYPE_ENTER_ROOM`. \
                                `unknown` where it has other characters: then it stands in `data.command`.",
            },
            "timestamp": time("When the event happened. Order by it."),
            "id": {
                "type": "string",
                "format": "uuid",
                "description": "The same over all tries and replays: store it, to know an event that comes again.",
            },
            "data": {
                "type": "object",
                "required": [
                    "app", "family", "command_sent", "received_at", "call_id", "room_id", "operator", "platform",
                    "decode_error", "position",
                ],
                "oneOf": [{"required": ["payload"]}, {"required": ["raw"]}],
                "properties": {
                    "app": {"type": "integer", "format": "int64", "description": "The app's `SdkAppId`."},
                    "family": {"type": "string", "description": "The family of the command, such as `call`."},
                    "command": {"type": "string", "description": "The command, where `type` is `unknown`."},
                    "command_sent": text("The command as it was sent, where it differs."),
                    "received_at": time("When it was received."),
                    "call_id": text("The call."),
                    "room_id": text("The room."),
                    "operator": text("Who did it."),
                    "client_ip": {
                        "type": "string",
                        "description": "The address of the user's device. Sent where `include_client_ip` is set.",
                    },
                    "platform": text("The platform of the user's device."),
                    "decode_error": text("Why the body could not be read as what its command says."),
                    "position": {
                        "type": ["integer", "null"],
                        "format": "int64",
                        "description": "It grows in the order of storing. Gaps are normal. Null where `forward replay` \
                                        had the event sent again, and in a sample of `forward test`.",
                    },
                    "payload": {"description": "The body as the vendor sent it, byte for byte."},
                    "raw": {
                        "type": "string",
                        "contentEncoding": "base64",
                        "description": "The body as the vendor sent it, where it is not JSON.",
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
    use proptest::prelude::*;

    use super::*;
    use protocol::AppId;

    fn event(payload: Payload) -> EventColumns {
        EventColumns {
            id: Uuid::parse_str("0198f300-0000-8000-8000-000000000001").unwrap(),
            position: 182_736,
            app: AppId::parse("1400000001").unwrap(),
            family: "call".to_owned(),
            command: "Call.CallbackAfterEndCall".to_owned(),
            command_sent: None,
            event_time: UnixMillis(1_795_943_259_235),
            received_at: UnixMillis(1_795_943_260_000),
            call_id: Some("0a8e".to_owned()),
            room_id: Some("1808209309".to_owned()),
            operator: Some("kofi5".to_owned()),
            client_ip: Some("192.0.2.1".to_owned()),
            platform: Some("Android".to_owned()),
            decode_error: None,
            content: Content::Vendor(payload),
        }
    }

    fn json_body(text: &str) -> Payload {
        Payload::Json(text.to_owned())
    }

    #[test]
    fn an_envelope_is_these_bytes() {
        let body = r#"{ "Room": 144115212830834855999, "a":1,"a":2, "s":"\ud800" }"#;
        let sent = envelope(&event(json_body(body)), ClientIp::Omitted);
        let want = concat!(
            r#"{"type":"Call.CallbackAfterEndCall","timestamp":"2026-11-29T09:07:39.235Z","#,
            r#""id":"0198f300-0000-8000-8000-000000000001","data":{"app":1400000001,"family":"call","#,
            r#""command_sent":null,"received_at":"2026-11-29T09:07:40.000Z","call_id":"0a8e","#,
            r#""room_id":"1808209309","operator":"kofi5","platform":"Android","decode_error":null,"#,
            r#""position":182736,"payload":"#,
        );
        assert_eq!(sent, format!("{want}{body}}}}}"));
    }

    #[test]
    fn a_body_that_is_not_json_is_sent_as_base64() {
        let raw = envelope(&event(Payload::Raw(vec![0, 255, b'a'])), ClientIp::Omitted);
        assert!(raw.ends_with(r#","position":182736,"raw":"AP9h"}}"#), "{raw}");
        // Such as a store that was written to by hand may hold.
        for wrong in ["", "{", "{}}", "{},\"x\":1", "nul", "{\"a\":\"\n\"}"] {
            let sent = envelope(&event(json_body(wrong)), ClientIp::Omitted);
            let read: Value = serde_json::from_str(&sent).unwrap();
            let raw = STANDARD.decode(read["data"]["raw"].as_str().unwrap()).unwrap();
            assert_eq!(raw, wrong.as_bytes());
        }
    }

    #[test]
    fn a_body_1000_levels_deep_is_sent_as_it_is() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        assert!(envelope(&event(json_body(&deep)), ClientIp::Omitted).contains(&deep));
    }

    #[test]
    fn a_command_of_other_letters_is_unknown_and_stands_in_data() {
        for usual in ["Call.CallbackAfterEndCall", "EVENT_TYPE_ENTER_ROOM", "a", "9."] {
            assert_eq!(event_type(usual), usual);
        }
        for odd in ["", "a b", "Call-End", "Caf\u{e9}", "a\"", "a\n", "a/b", "trtc.call.ended"] {
            assert_eq!(event_type(odd), UNKNOWN);
            let odd_event = EventColumns { command: odd.to_owned(), ..event(json_body("{}")) };
            let read: Value =
                serde_json::from_str(&envelope(&odd_event, ClientIp::Omitted)).unwrap();
            assert_eq!((&read["type"], &read["data"]["command"]), (&json!(UNKNOWN), &json!(odd)));
        }
        let named = EventColumns { command: UNKNOWN.to_owned(), ..event(json_body("{}")) };
        let read: Value = serde_json::from_str(&envelope(&named, ClientIp::Omitted)).unwrap();
        assert_eq!(read["data"]["command"], UNKNOWN, "also where it is called so");
    }

    #[test]
    fn the_address_of_a_device_is_sent_only_where_it_is_wanted() {
        let known = event(json_body("{}"));
        assert!(!envelope(&known, ClientIp::Omitted).contains("client_ip"));
        assert!(envelope(&known, ClientIp::Included).contains(r#""client_ip":"192.0.2.1""#));
        let unknown = EventColumns { client_ip: None, ..known };
        assert!(!envelope(&unknown, ClientIp::Included).contains("client_ip"));
    }

    /// The members of an object, in the order of their names.
    fn names(object: &Value) -> Vec<&str> {
        let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_schema_has_every_member_and_no_other() {
        let schema = schema();
        let odd = EventColumns { command: "a b".to_owned(), ..event(json_body("{}")) };
        let full: Value = serde_json::from_str(&envelope(&odd, ClientIp::Included)).unwrap();
        assert_eq!(names(&schema["properties"]), names(&full));
        let data = &schema["properties"]["data"];
        let mut all = names(&full["data"]);
        all.push("raw");
        all.sort_unstable();
        assert_eq!(names(&data["properties"]), all);
        let usual = envelope(&event(json_body("{}")), ClientIp::Omitted);
        let usual: Value = serde_json::from_str(&usual).unwrap();
        let mut required: Vec<&str> = data["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        required.push("payload");
        required.sort_unstable();
        assert_eq!(required, names(&usual["data"]));
    }

    proptest! {
        #[test]
        fn any_columns_make_json_that_gives_them_back(
            texts in prop::array::uniform6(prop::option::of(any::<String>())),
            command in any::<String>(),
            raw in any::<Vec<u8>>(),
            position in prop::option::of(1..i64::MAX),
        ) {
            let [command_sent, call_id, room_id, operator, platform, decode_error] = texts;
            let event = EventColumns {
                position: position.unwrap_or(0),
                command, command_sent, call_id, room_id, operator, platform, decode_error,
                ..event(Payload::Raw(raw.clone()))
            };
            let read: Value = serde_json::from_str(&envelope(&event, ClientIp::Omitted)).unwrap();
            let data = &read["data"];
            prop_assert_eq!(&data["command_sent"], &json!(event.command_sent));
            prop_assert_eq!(&data["call_id"], &json!(event.call_id));
            prop_assert_eq!(&data["room_id"], &json!(event.room_id));
            prop_assert_eq!(&data["operator"], &json!(event.operator));
            prop_assert_eq!(&data["platform"], &json!(event.platform));
            prop_assert_eq!(&data["decode_error"], &json!(event.decode_error));
            prop_assert_eq!(&data["position"], &json!(position));
            prop_assert_eq!(STANDARD.decode(data["raw"].as_str().unwrap()).unwrap(), raw);
            let r#type = read["type"].as_str().unwrap();
            prop_assert!(r#type == UNKNOWN || r#type == event.command);
        }

        #[test]
        fn any_json_body_stands_in_its_envelope_byte_for_byte(
            blanks in prop::array::uniform2("[ \t\r\n]{0,3}"),
            text in any::<String>(),
            number in "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?",
        ) {
            let [before, after] = blanks;
            let body = format!("{before}{{\"t\": {},\"n\":{number}}}{after}", json!(text));
            let sent = envelope(&event(json_body(&body)), ClientIp::Omitted);
            let (_, rest) = sent.split_once("\"payload\":").unwrap();
            prop_assert_eq!(rest.strip_suffix("}}").unwrap(), body);
        }
    }
}
