//! Every fixture is read as it says.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use trtc_callbacks_protocol::{Command, Delivery, Dialect, Event};

use crate::support::{APP, Fixture, NOW, Stored, decode, fixtures, key, rtc};

fn stored(event: &Event) -> Stored {
    Stored {
        family: event.family.to_string(),
        command: event.command.to_string(),
        command_sent: event.command_sent.clone(),
        event_time: (event.event_time != NOW).then_some(event.event_time.0),
        call_id: event.call_id.clone(),
        room_id: event.room_id.clone(),
        operator: event.operator.clone(),
        client_ip: event.client_ip.clone(),
        platform: event.platform.clone(),
        id_version: event.id.get_version_num(),
        undecoded: event.decode_error.is_some(),
    }
}

#[test]
fn every_fixture_is_read_as_it_says() {
    for Fixture { name, body, stored: expected, .. } in fixtures() {
        let event = decode(&body);
        assert_eq!(stored(&event), expected, "{name}: {:?}", event.decode_error);
        assert_eq!(event.payload.as_bytes(), body.as_bytes(), "{name}");
        assert!(event.timed, "{name}");
        assert_eq!(event.family.dialect(), Dialect::RtcEngine, "{name}");
    }
}

#[test]
fn the_typed_body_of_a_fixture_has_every_value_of_it() {
    for Fixture { name, body, stored, .. } in fixtures() {
        let event = decode(&body);
        let body: Value = serde_json::from_str(&body).unwrap();
        let typed = serde_json::to_value(rtc(&event)).unwrap();
        let (group, typed) = typed.as_object().unwrap().iter().next().unwrap();
        let missing: Vec<String> = leaves(&body)
            .into_iter()
            .filter(|(pointer, leaf)| {
                // A single value may stand for a list.
                let found =
                    typed.pointer(&format!("{pointer}/0")).or(typed.pointer(pointer)).map(text);
                found.as_deref() != Some(leaf)
            })
            .map(|(pointer, _)| pointer)
            .collect();
        let placeholders = ["StartTimeStamp", "EndTimeStamp"]
            .map(|time| format!("/EventInfo/Payload/TencentVod/{time}"));
        let expected: &[String] = if stored.undecoded { &placeholders } else { &[] };
        assert_eq!(missing, expected, "{name} as {group}");
    }
}

/// Every value that holds no others, with its JSON pointer and its text.
fn leaves(body: &Value) -> Vec<(String, String)> {
    fn walk(value: &Value, here: &str, found: &mut Vec<(String, String)>) {
        match value {
            Value::Object(members) => {
                members
                    .iter()
                    .for_each(|(name, value)| walk(value, &format!("{here}/{name}"), found));
            }
            Value::Array(elements) => elements
                .iter()
                .enumerate()
                .for_each(|(index, value)| walk(value, &format!("{here}/{index}"), found)),
            leaf => found.push((here.to_owned(), text(leaf))),
        }
    }
    let mut found = Vec::new();
    walk(body, "", &mut found);
    found
}

/// A value's text, of a number and a string alike.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[test]
fn every_event_type_has_a_fixture_and_is_its_own_sample() {
    let app = trtc_callbacks_protocol::AppId::parse(APP).unwrap();
    let shown: BTreeSet<String> =
        fixtures().into_iter().map(|fixture| fixture.stored.command).collect();
    for row in Command::all().filter(|row| row.event_type.is_some()) {
        assert!(shown.contains(row.name), "{}", row.name);
        let sample = Delivery::sample(row, app);
        assert_eq!((sample.dialect, sample.app()), (Dialect::RtcEngine, Some(app)));
        assert_eq!(sample.event(NOW).unwrap().command, row.name);
    }
}

#[test]
fn all_fixtures_are_different_events() {
    let mut seen = HashMap::new();
    for Fixture { name, body, .. } in fixtures() {
        let event = decode(&body);
        if let Some(other) = seen.insert(event.id, name.clone()) {
            panic!("{name} and {other} have one id");
        }
    }
}

#[test]
fn a_fixture_is_the_same_event_after_its_way_through_a_line() {
    for Fixture { name, body, delivery, .. } in fixtures() {
        let event = decode(&body);
        for line in [Delivery::of_event(&event), delivery].map(|delivery| delivery.to_line()) {
            assert!(!line.contains('\n'), "{name}");
            let again = Delivery::parse(&line).unwrap().event(NOW).unwrap();
            assert_eq!(again, event, "{name}");
        }
    }
}

#[test]
fn the_body_of_a_fixture_is_restored_from_its_payload() {
    for Fixture { name, body, .. } in fixtures() {
        let event = decode(&body);
        let mut again = Event { body: trtc_callbacks_protocol::Body::Untyped, ..event.clone() };
        again.restore_body();
        assert_eq!(again, event, "{name}");
        assert_eq!(key(&again), key(&event), "{name}");
    }
}
