//! What makes two deliveries one event: a retry has another `CallbackTs`, and two real events never fold.

use std::collections::BTreeMap;
use std::fmt::Write;

use proptest::prelude::*;
use serde_json::{Value, json};
use trtc_callbacks_protocol::{Command, UnixMillis, event_id};

use crate::support::{NOW, body_of, decode, decode_at, event, fixtures, key, with, without};

/// What identifies every event, beside its app.
const COMMON: [&str; 7] = [
    "/EventGroupId",
    "/EventType",
    "/EventInfo/RoomId",
    "/EventInfo/UserId",
    "/EventInfo/TaskId",
    "/EventInfo/EventTs",
    "/EventInfo/EventMsTs",
];

/// What tells events of one type apart beside the common fields: fixtures of it, and the fields.
const DISCRIMINATORS: &[(&[&str], &[&str])] = &[
    (
        &["101", "102", "103", "103_old", "104", "105", "201", "202", "203", "204", "205", "206"],
        &["/EventInfo/UniqueId", "/EventInfo/Role", "/EventInfo/Reason"],
    ),
    (
        &[
            "301",
            "302",
            "303",
            "305_status",
            "305_leavecode",
            "306",
            "312",
            "901",
            "902",
            "909",
            "1001",
            "1002",
            "1003",
            "1005",
            "1101",
            "1102",
            "1103",
            "1105",
            "1401",
            "1402_guess",
        ],
        &["/EventInfo/Payload/Status", "/EventInfo/Payload/LeaveCode"],
    ),
    (&["304"], &["/EventInfo/Payload/FileList"]),
    (&["307", "307_str"], &["/EventInfo/Payload/FileName"]),
    (&["308", "1006", "1106"], &["/EventInfo/Payload/Code", "/EventInfo/Payload/Message"]),
    (&["309"], &["/EventInfo/Payload/Url"]),
    (
        &["310"],
        &[
            "/EventInfo/Payload/FileList/0",
            "/EventInfo/Payload/FileList/1",
            "/EventInfo/Payload/Status",
        ],
    ),
    (&["311_ok", "311_web"], &["/EventInfo/Payload/TencentVod/FileId"]),
    (&["311_flat"], &["/EventInfo/Payload/FileId"]),
    (&["311_fail"], &["/EventInfo/Payload/TencentVod/CacheFile"]),
    (&["401", "401_err"], &["/EventInfo/Payload/Url", "/EventInfo/Payload/Status"]),
    (&["401"], &["/EventInfo/EventTsMs"]),
    (
        &["601"],
        &["/EventInfo/eventID", "/EventInfo/roomID", "/EventInfo/userID", "/EventInfo/timestamp"],
    ),
    (&["701", "702"], &["/EventInfo/Status"]),
    (
        &["801", "802", "803", "804"],
        &["/EventInfo/Payload/Status", "/EventInfo/Payload/EventMessage"],
    ),
    (
        &["903", "1403_guess", "1404_guess"],
        &[
            "/EventInfo/Payload/UserId",
            "/EventInfo/Payload/RoundId",
            "/EventInfo/Payload/StartTimeMs",
            "/EventInfo/Payload/Text",
        ],
    ),
    (&["1403_guess", "1404_guess"], &["/EventInfo/RobotId", "/EventInfo/Payload/Sentence"]),
    (&["904", "905"], &["/EventInfo/Payload/UserId", "/EventInfo/Payload/RoundId"]),
    (
        &["906", "908"],
        &[
            "/EventInfo/Payload/Metric",
            "/EventInfo/Payload/Value",
            "/EventInfo/Payload/Tag/RoundId",
            "/EventInfo/Payload/Tag/Code",
        ],
    ),
    (&["1004_outer"], &["/EventInfo/Payload/FileName", "/EventInfo/StreamUserId"]),
    (&["1004_inner"], &["/EventInfo/Payload/Payload/FileName"]),
    (&["1104_audio", "1104_image"], &["/EventInfo/Payload/DataId", "/EventInfo/StreamerUserId"]),
    (
        &["1501", "901_notype"],
        &["/EventInfo/Payload/Status", "/EventInfo/Payload/Anything", "/EventInfo/RoomIdType"],
    ),
];

/// Each fixture with the fields that identify it.
fn identifying() -> Vec<(String, Value, Vec<&'static str>)> {
    let mut fields: BTreeMap<&str, Vec<&'static str>> = BTreeMap::new();
    for (names, discriminators) in DISCRIMINATORS {
        for name in *names {
            fields.entry(name).or_insert_with(|| COMMON.to_vec()).extend(*discriminators);
        }
    }
    let all: Vec<_> = fixtures()
        .into_iter()
        .map(|fixture| {
            let fields = fields.remove(fixture.name.as_str());
            let body = serde_json::from_str(&fixture.body).unwrap();
            (fixture.name.clone(), body, fields.unwrap_or_else(|| panic!("{}", fixture.name)))
        })
        .collect();
    assert!(fields.is_empty(), "{fields:?}");
    all
}

/// As text: a number and a string of the same digits are one value, but for rooms.
fn text(value: Option<&Value>) -> Option<String> {
    value.map(|value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned))
}

fn id(body: &Value) -> uuid::Uuid {
    key(&decode(body.to_string()))
}

#[test]
fn two_events_that_differ_in_one_identifying_field_are_two() {
    for (name, body, fields) in identifying() {
        for field in fields {
            let sent = body.pointer(field);
            for value in [json!("another"), json!(7), json!(1_760_000_000), json!("")] {
                if text(sent) == text(Some(&value)) {
                    continue;
                }
                let other = with(&body, field, value.clone());
                assert_ne!(id(&other), id(&body), "{name}: {field} = {value}");
            }
            if sent.is_some() {
                assert_ne!(id(&without(&body, field)), id(&body), "{name}: without {field}");
            }
        }
    }
}

#[test]
fn every_event_type_is_in_the_table_of_discriminators() {
    let mut shown: Vec<u16> = identifying()
        .iter()
        .filter_map(|(_, body, _)| Some(u16::try_from(body["EventType"].as_i64()?).unwrap()))
        .collect();
    shown.sort_unstable();
    shown.dedup();
    let mut known: Vec<u16> = Command::all().filter_map(|row| row.event_type).collect();
    known.sort_unstable();
    assert_eq!(shown, known);
}

#[test]
fn a_room_of_digits_is_another_room_than_the_number() {
    let body = body_of("103");
    let number = body["EventInfo"]["RoomId"].as_i64().unwrap();
    let texted = with(&body, "/EventInfo/RoomId", json!(number.to_string()));
    assert_ne!(id(&texted), id(&body));
}

#[test]
fn other_fields_as_numbers_or_texts_are_the_same_event() {
    let body = body_of("103");
    for field in [
        "/EventGroupId",
        "/EventType",
        "/EventInfo/EventTs",
        "/EventInfo/EventMsTs",
        "/EventInfo/Role",
    ] {
        let number = body.pointer(field).unwrap().as_i64().unwrap();
        assert_eq!(id(&with(&body, field, json!(number.to_string()))), id(&body), "{field}");
    }
}

#[test]
fn another_app_is_another_event() {
    use trtc_callbacks_protocol::{AppId, Delivery};
    let fixture = &fixtures()[0];
    let of = |app: &str| {
        let mut delivery: Delivery = fixture.delivery.clone();
        delivery.headers.insert("sdkappid".into(), AppId::parse(app).unwrap().to_string());
        delivery.event(NOW).unwrap().id
    };
    assert_ne!(of("1400000001"), of("1400000002"));
}

/// Every fixture as it is, and without a time of its own.
fn timed_and_untimed() -> Vec<(String, Value)> {
    let times = ["EventTs", "EventMsTs", "EventTsMs", "timestamp"];
    identifying()
        .into_iter()
        .flat_map(|(name, body, _)| {
            let untimed = times
                .iter()
                .fold(body.clone(), |body, time| without(&body, &format!("/EventInfo/{time}")));
            [(name.clone(), body), (format!("{name} without a time"), untimed)]
        })
        .collect()
}

#[test]
fn a_fixture_tried_again_at_another_time_is_the_same_event() {
    for (name, body) in timed_and_untimed() {
        let first = decode(body.to_string());
        for field in ["CallbackTs", "CallbackMsTs"] {
            for value in [json!(1_790_000_000_000_i64), json!("1790000000000"), json!(0), json!({})]
            {
                let again = with(&body, &format!("/{field}"), value);
                let again = decode_at(again.to_string(), UnixMillis(NOW.0 + 10_000));
                assert_eq!(event_id::content(again.id), event_id::content(first.id), "{name}");
                assert_eq!(again.timed, first.timed, "{name}");
                if first.timed {
                    assert_eq!(again.id, first.id, "{name}");
                }
            }
        }
    }
}

#[test]
fn events_without_a_time_are_told_by_their_whole_body() {
    for (name, body) in timed_and_untimed().into_iter().filter(|(name, _)| name.ends_with("time")) {
        let other = with(&body, "/EventInfo/Unknown", json!(1));
        assert_ne!(id(&other), id(&body), "{name}");
    }
    // A time that makes no sense is none.
    let body = |unknown: i64| {
        event(
            103,
            &format!(
                r#"{{"RoomId":1,"UserId":"u","EventMsTs":0,"EventTs":null,"Unknown":{unknown}}}"#
            ),
        )
    };
    assert_ne!(key(&decode(body(1))), key(&decode(body(2))));
}

#[test]
fn an_empty_id_does_not_identify() {
    for (name, empty, told_by) in [
        (
            "311_ok",
            "/EventInfo/Payload/TencentVod/FileId",
            "/EventInfo/Payload/TencentVod/CacheFile",
        ),
        ("311_flat", "/EventInfo/Payload/FileId", "/EventInfo/Payload/VideoUrl"),
        ("601", "/EventInfo/eventID", "/EventInfo/pictureURL"),
        ("1004_outer", "/EventInfo/Payload/FileName", "/EventInfo/Payload/Url"),
        ("1104_audio", "/EventInfo/Payload/DataId", "/EventInfo/Payload/Audio"),
        ("310", "/EventInfo/Payload/FileList", "/EventInfo/Payload/FileMessage/0/FileName"),
    ] {
        let value = if name == "310" { json!([]) } else { json!("") };
        let body = with(&body_of(name), empty, value);
        assert_ne!(id(&with(&body, told_by, json!("another"))), id(&body), "{name}");
    }
}

#[test]
fn a_payload_as_text_tells_events_apart_too() {
    let files = |name: &str| {
        let payload = json!({"Status": 0, "FileList": [name]}).to_string();
        with(&body_of("310"), "/EventInfo/Payload", json!(payload))
    };
    assert_ne!(id(&files("a.mp4")), id(&files("b.mp4")));
    let status = |status: i64| {
        let payload = json!({ "Status": status }).to_string();
        with(&body_of("301"), "/EventInfo/Payload", json!(payload))
    };
    assert_ne!(id(&status(0)), id(&status(1)));
}

#[test]
fn of_second_precision_two_equal_events_of_one_second_fold() {
    let entry = |second: i64, unique: &str| {
        let info = format!(r#"{{"RoomId":1,"EventTs":{second},"UserId":"u",{unique}"Role":21}}"#);
        id(&serde_json::from_str(&event(103, &info)).unwrap())
    };
    assert_eq!(entry(1_760_000_000, ""), entry(1_760_000_000, ""));
    assert_ne!(entry(1_760_000_000, ""), entry(1_760_000_001, ""));
    let (one, two) = (r#""UniqueId":1760000000100,"#, r#""UniqueId":1760000000900,"#);
    assert_ne!(entry(1_760_000_000, one), entry(1_760_000_000, two));
}

/// A JSON text that says the same as `value`, with members, white space and escapes as `dice` fall.
fn rewritten(value: &Value, dice: &mut impl FnMut(usize) -> usize, text: &mut String) {
    let space = |dice: &mut dyn FnMut(usize) -> usize, text: &mut String| {
        text.push_str(["", " ", "\n\t", "\r\n  "][dice(4)]);
    };
    space(dice, text);
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            for end in (1..members.len()).rev() {
                members.swap(end, dice(end + 1));
            }
            text.push('{');
            for (place, (name, value)) in members.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                space(dice, text);
                escaped(name, dice, text);
                space(dice, text);
                text.push(':');
                rewritten(value, dice, text);
            }
            text.push('}');
        }
        Value::Array(elements) => {
            text.push('[');
            for (place, value) in elements.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                rewritten(value, dice, text);
            }
            text.push(']');
        }
        Value::String(content) => escaped(content, dice, text),
        other => text.push_str(&other.to_string()),
    }
    space(dice, text);
}

fn escaped(content: &str, dice: &mut impl FnMut(usize) -> usize, text: &mut String) {
    text.push('"');
    for letter in content.chars() {
        if letter == '/' && dice(2) == 0 {
            text.push_str("\\/");
        } else if dice(4) == 0 || matches!(letter, '"' | '\\') || letter < ' ' {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                write!(text, "\\u{unit:04x}").unwrap();
            }
        } else {
            text.push(letter);
        }
    }
    text.push('"');
}

proptest! {
    #[test]
    fn another_value_of_any_identifying_field_is_another_event(
        fixture: prop::sample::Index,
        field: prop::sample::Index,
        value in prop_oneof![
            "\\PC{0,12}".prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (1_420_070_400_000_i64..1_793_534_400_000).prop_map(Value::from),
        ],
    ) {
        let all = identifying();
        let (name, body, fields) = fixture.get(&all);
        let field = field.get(fields);
        prop_assume!(text(body.pointer(field)) != text(Some(&value)));
        let other = with(body, field, value);
        prop_assert_ne!(id(&other), id(body), "{}: {}", name, field);
    }

    #[test]
    fn any_way_to_write_a_body_is_the_same_event(
        fixture: prop::sample::Index,
        seed: u64,
        user in "\\PC{0,6}[/\"\\\\é😀]?",
        callback_ts: i64,
    ) {
        let all = timed_and_untimed();
        let (name, body) = fixture.get(&all);
        let body = with(body, "/EventInfo/UserId", json!(user));
        let first = decode(body.to_string());
        let again = with(&body, "/CallbackTs", json!(callback_ts));
        let mut state = seed | 1;
        let mut dice = |sides: usize| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % sides as u64).unwrap()
        };
        let mut text = String::new();
        rewritten(&again, &mut dice, &mut text);
        let again = decode(&text);
        prop_assert_eq!(event_id::content(first.id), event_id::content(again.id), "{}: {}", name, &text);
        prop_assert!(!first.timed || first.id == again.id, "{}: {}", name, text);
        prop_assert_eq!((first.operator, first.room_id), (again.operator, again.room_id));
    }
}
