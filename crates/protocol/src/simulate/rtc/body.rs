//! Bodies of the RTC Engine's events, to the byte.

use serde_json::Value;

use crate::time::UnixMillis;

/// A body that was sent before, as it is sent again at `at`.
pub(crate) fn sent_at(body: &str, at: UnixMillis) -> String {
    let Ok(Value::Object(mut body)) = serde_json::from_str(body) else { return body.to_owned() };
    body.insert("CallbackTs".into(), at.0.into());
    written(&Value::Object(body))
}

/// A body as the vendor writes it: those of rooms and media have a line for each member and tabs before and behind its name, the
/// others stand on one line. It counts, since the signature is over the bytes.
pub(crate) fn written(body: &Value) -> String {
    let by_lines = body["EventGroupId"].as_u64().is_some_and(|group| group <= 2);
    if !by_lines {
        return body.to_string();
    }
    let mut text = String::new();
    write_lines(body, 1, &mut text);
    text
}

fn write_lines(value: &Value, level: usize, text: &mut String) {
    let Value::Object(members) = value else {
        text.push_str(&value.to_string());
        return;
    };
    text.push('{');
    for (place, (name, value)) in members.iter().enumerate() {
        text.push_str(if place == 0 { "\n" } else { ",\n" });
        text.push_str(&"\t".repeat(level));
        text.push_str(&Value::from(name.as_str()).to_string());
        text.push_str(":\t");
        write_lines(value, level + 1, text);
    }
    text.push('\n');
    text.push_str(&"\t".repeat(level - 1));
    text.push('}');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_of_rooms_are_written_as_the_vendor_does() {
        // The body of the vendor's first published signature, trtc.io/document/39558.
        let vendors = "{\n\t\"EventGroupId\":\t2,\n\t\"EventType\":\t204,\n\t\"CallbackTs\":\t1664209748188,\n\t\"EventInfo\":\t{\n\t\t\"RoomId\":\t8489,\n\t\t\"EventTs\":\t1664209748,\n\t\t\"EventMsTs\":\t1664209748180,\n\t\t\"UserId\":\t\"user_85034614\",\n\t\t\"Reason\":\t0\n\t}\n}";
        let body = written(&json!({
            "EventGroupId": 2,
            "EventType": 204,
            "CallbackTs": 1_664_209_748_188_i64,
            "EventInfo": {
                "RoomId": 8489,
                "EventTs": 1_664_209_748,
                "EventMsTs": 1_664_209_748_180_i64,
                "UserId": "user_85034614",
                "Reason": 0,
            },
        }));
        assert_eq!(body, vendors);
        let again = sent_at(&body, UnixMillis(1_664_209_758_190));
        assert_eq!(again, vendors.replace("1664209748188", "1664209758190"));
    }

    #[test]
    fn other_bodies_stand_on_one_line() {
        let body = r#"{"EventGroupId":3,"EventType":301,"CallbackTs":5,"EventInfo":{}}"#;
        assert_eq!(sent_at(body, UnixMillis(7)), body.replace(":5,", ":7,"));
    }
}
