//! What forwarding sends, as `webhooks` of the API's description: for generators of receivers.

use serde_json::{Map, Value, json};

use forward::derived::DerivedType;
use forward::{derived_envelope, envelope};

/// Requests that are sent to destinations, each by its name: any event of the vendor, and each derived event.
pub(crate) fn webhooks() -> Value {
    let event = webhook("An event of the vendor was stored", &envelope::schema());
    let mut all = Map::from_iter([("event".to_owned(), event)]);
    for of in DerivedType::ALL {
        let schema = derived_envelope::schema(of, &row(of));
        all.insert(of.name().to_owned(), webhook(summary(of), &schema));
    }
    Value::Object(all)
}

fn summary(of: DerivedType) -> &'static str {
    match of {
        DerivedType::CallMissed => "Nobody accepted a call, and nobody declined it",
        DerivedType::CallEnded => "A call ended",
        DerivedType::RoomClosed => "A session of a room ended",
        DerivedType::LiveEnded => "A live session ended",
        DerivedType::RecordingReady => "The files of a recording are there",
    }
}

/// The schema of the row that it is about.
fn row(of: DerivedType) -> Value {
    let schema = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    match of {
        DerivedType::CallMissed | DerivedType::CallEnded => json!({"allOf": [schema("Call"), {
            "type": "object",
            "required": ["members", "lists_cut"],
            "properties": {
                "members": {"type": "array", "items": schema("Member")},
                "lists_cut": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Lists that have more entries than are given.",
                },
            },
        }]}),
        DerivedType::RoomClosed => schema("Room"),
        DerivedType::LiveEnded => schema("LiveRoom"),
        DerivedType::RecordingReady => schema("Recording"),
    }
}

fn webhook(summary: &str, schema: &Value) -> Value {
    let header = |name: &str, required: bool, about: &str| json!({"name": name, "in": "header", "required": required, "description": about, "schema": {"type": "string"}});
    json!({"post": {
        "summary": summary,
        "description": "Sent to the destinations of `[[forward]]`, signed by the rules of Standard Webhooks.",
        "security": [],
        "parameters": [
            header("webhook-id", true, "The `id` of the envelope."),
            header("webhook-timestamp", true, "When this attempt was signed, in seconds since 1970."),
            header(
                "webhook-signature",
                false,
                "For each secret `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, separated by blanks. Absent where the \
                 destination is `unsigned`.",
            ),
            header("trtc-destination", true, "The name of the destination."),
            header("trtc-attempt", true, "Which attempt it is, from 1."),
            header("trtc-replay", false, "`1` where somebody asked to send it again."),
        ],
        "requestBody": {"required": true, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "2XX": {"description": "It was taken. Answer only after you stored the id."},
            "410": {"description": "The destination is paused until somebody resumes it."},
            "default": {"description": "It is sent again, at once or later: see the guide of forwarding."},
        },
    }})
}
