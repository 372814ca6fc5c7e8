//! Bodies that no sample shows: each is kept as it came, with a reason, and costs no more than its size.

use std::time::Instant;

use trtc_callbacks_protocol::event::Payload;
use trtc_callbacks_protocol::{Body, Event, UnixMillis, event_id};

use crate::support::{NOW, decode, decode_at, event, fitting, fixtures, info, key, payload};

/// As large as a body may be that the receiver takes.
const LARGEST: usize = 256 * 1024;

/// What holds for whatever is sent.
fn check(bytes: &[u8]) -> Event {
    let event = decode(bytes);
    assert!(!event.decode_panicked);
    assert_eq!(event.payload.as_bytes(), bytes);
    let again = decode(bytes);
    assert_eq!((again.id, event.id.get_version_num()), (event.id, 8));
    assert_eq!(event_id::time_of(event.id), event.event_time);
    assert_eq!(event.request_key().is_none(), event.timed);
    let mut restored = Event { body: Body::Untyped, ..event.clone() };
    restored.restore_body();
    assert_eq!(restored.body, event.body);
    event
}

/// Why it was not read whole.
fn reason(bytes: impl AsRef<[u8]>) -> String {
    check(bytes.as_ref()).decode_error.expect("it does not fit")
}

#[test]
fn what_is_no_json_object_is_kept_with_its_reason() {
    for (bytes, expected) in [
        (&b""[..], "the body is empty"),
        (b"hello", "not JSON: expected value at line 1 column 1"),
        (b"{\"EventGroupId\":1", "not JSON: EOF while parsing an object at line 1 column 17"),
        (b"\xff\xfe{}", "not UTF-8: byte 0 is no part of a letter"),
        (b"[{\"EventGroupId\":1}]", "expected an object"),
        (b"null", "expected an object"),
        (b"7", "expected an object"),
    ] {
        let event = check(bytes);
        assert_eq!(event.decode_error.as_deref(), Some(expected));
        assert_eq!(event.body, Body::Undecoded);
        assert_eq!((event.command.as_ref(), event.family.as_str()), ("unknown", "rtc_unknown"));
        assert_eq!((event.command_sent, event.event_time), (None, NOW));
    }
}

#[test]
fn a_byte_order_mark_makes_no_other_event() {
    for text in [r#"{"EventGroupId":1,"EventInfo":{}}"#, "[1]", "null"] {
        let marked = decode([b"\xef\xbb\xbf", text.as_bytes()].concat());
        assert_eq!((marked.id, marked.payload), (decode(text).id, Payload::Json(text.into())));
    }
}

#[test]
fn any_event_group_id_names_the_event_as_well_as_it_can() {
    let body = |group: &str, event_type: &str| {
        format!(r#"{{"EventGroupId":{group},"EventType":{event_type},"EventInfo":{{}}}}"#)
    };
    let huge = "1180591620717411303424";
    for (group, event_type, command, family, sent) in [
        (r#""1""#, "101", "EVENT_TYPE_CREATE_ROOM", "rtc_room", Some("1.101")),
        (r#""one""#, "101", "EVENT_TYPE_CREATE_ROOM", "rtc_room", Some("one.101")),
        (huge, "101", "EVENT_TYPE_CREATE_ROOM", "rtc_room", Some("1180591620717411303424.101")),
        (huge, "907", "EVENT_TYPE_907", "rtc_ai", Some("1180591620717411303424.907")),
        (
            huge,
            huge,
            "unknown",
            "rtc_unknown",
            Some("1180591620717411303424.1180591620717411303424"),
        ),
        ("[]", "{}", "unknown", "rtc_unknown", None),
        ("null", "null", "unknown", "rtc_unknown", None),
        (r#""""#, r#""""#, "unknown", "rtc_unknown", None),
        (r#""""#, "101", "EVENT_TYPE_CREATE_ROOM", "rtc_room", Some(".101")),
        ("5", "501", "EVENT_TYPE_501", "rtc_unknown", Some("5.501")),
        ("16", "1601", "EVENT_TYPE_1601", "rtc_unknown", Some("16.1601")),
        ("15", "1502", "EVENT_TYPE_1502", "rtc_ai_conversation", Some("15.1502")),
        ("3", "-301", "unknown", "rtc_recording", Some("3.-301")),
        ("3", "100000", "unknown", "rtc_recording", Some("3.100000")),
        (
            "-9223372036854775808",
            "9223372036854775807",
            "unknown",
            "rtc_unknown",
            Some("-9223372036854775808.9223372036854775807"),
        ),
    ] {
        let event = check(body(group, event_type).as_bytes());
        assert_eq!(
            (event.command.as_ref(), event.family.as_str(), event.command_sent.as_deref()),
            (command, family, sent),
            "{group} {event_type}"
        );
    }
    assert_eq!(
        reason(body(huge, "101")),
        "EventGroupId: expected a whole number, found another number"
    );
    assert_eq!(
        reason(body(r#""one""#, "101")),
        "EventGroupId: expected a whole number, found another text"
    );
}

#[test]
fn what_an_event_does_not_have_is_its_reason() {
    for (body, expected) in [
        ("{}", "EventGroupId: missing"),
        (r#"{"EventInfo":{}}"#, "EventGroupId: missing"),
        (r#"{"EventGroupId":1,"EventType":103}"#, "EventInfo: missing"),
        (
            r#"{"EventGroupId":1,"EventType":103,"EventInfo":[]}"#,
            "EventInfo: expected an object, found an array",
        ),
        (
            r#"{"CallbackCommand":"Call.CallbackAfterEndCall","EventGroupId":1,"EventInfo":{}}"#,
            "CallbackCommand: not expected in an event of the RTC Engine",
        ),
    ] {
        assert_eq!(reason(body), expected, "{body}");
    }
    let bare = check(br#"{"EventGroupId":1,"EventType":103,"CallbackTs":1760000000345}"#);
    assert_eq!((bare.event_time, bare.timed), (UnixMillis(1_760_000_000_345), false));
    let later = decode(r#"{"EventGroupId":1,"EventType":103,"CallbackTs":1760000010345}"#);
    assert_ne!(bare.id, later.id);
    assert_eq!(key(&bare), key(&later), "the same event, tried again");
}

#[test]
fn an_absurd_time_gives_way_to_the_next_and_the_last_is_arrival() {
    let sent = 1_760_000_000_345;
    for (times, expected) in [
        (r#""EventMsTs":0,"EventTs":1760000000"#, Some(1_760_000_000_000)),
        (r#""EventMsTs":9000000000000000000,"EventTs":"1760000000""#, Some(1_760_000_000_000)),
        (r#""EventMsTs":1760000000,"EventTs":0"#, Some(1_760_000_000_000)),
        (r#""EventMsTs":-1,"EventTs":9000000000000000000"#, None),
        (r#""EventMsTs":"","EventTs":null"#, None),
        (r#""EventMsTs":{},"EventTs":[]"#, None),
        (r#""EventMsTs":1e400,"EventTs":true"#, None),
    ] {
        let info = format!(r#"{{"RoomId":1,"UserId":"u",{times}}}"#);
        let event = check(event(104, &info).as_bytes());
        assert_eq!(event.timed, expected.is_some(), "{times}");
        assert_eq!(event.event_time.0, expected.unwrap_or(sent), "{times}");
    }
    for callback in ["0", "9000000000000000000", r#""soon""#, "{}"] {
        let body = format!(
            r#"{{"EventGroupId":1,"EventType":104,"CallbackTs":{callback},"EventInfo":{{}}}}"#
        );
        let event = check(body.as_bytes());
        assert_eq!((event.event_time, event.timed), (NOW, false), "{callback}");
        let later = decode_at(&body, UnixMillis(NOW.0 + 10_000));
        assert_ne!(event.id, later.id);
        assert_eq!(key(&event), key(&later), "{callback}");
    }
}

#[test]
fn a_room_id_that_is_none_is_absent_and_named() {
    for (sent, found) in [
        (r#"{"Id":1}"#, "an object"),
        ("[1]", "an array"),
        ("true", "a boolean"),
        ("1.5", "another number"),
    ] {
        let body =
            event(104, &format!(r#"{{"RoomId":{sent},"EventMsTs":1760000000310,"UserId":"u"}}"#));
        let event = check(body.as_bytes());
        let expected = format!("EventInfo.RoomId: expected a string or an integer, found {found}");
        assert_eq!(event.decode_error, Some(expected));
        assert_eq!((event.room_id.as_deref(), event.operator.as_deref()), (None, Some("u")));
        let info = info!(Room, event);
        assert!(info.room_id.is_none() && info.user_id.is_some());
    }
}

#[test]
fn a_recording_of_ten_thousand_files_is_read_whole() {
    let names: Vec<String> = (0..10_000).map(|number| format!("\"{number}.mp4\"")).collect();
    let body = |names: &[String]| {
        let info = format!(
            r#"{{"RoomId":"r","EventTs":1760000000,"TaskId":"t","Payload":{{"Status":0,"FileList":[{}]}}}}"#,
            names.join(",")
        );
        event(310, &info)
    };
    let whole = fitting(body(&names));
    assert_eq!(payload!(Recording, whole).file_list.unwrap().0.len(), 10_000);
    let turned: Vec<String> = names.iter().rev().cloned().collect();
    assert_eq!(decode(body(&turned)).id, whole.id, "the files in another order");
    assert_ne!(decode(body(&names[1..])).id, whole.id, "one file less");
}

#[test]
fn deep_nesting_is_kept_and_beyond_1000_levels_as_raw_bytes() {
    let nested = |levels: usize| {
        let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        event(
            1501,
            &format!(r#"{{"EventMsTs":1760000000310,"TaskId":"t","Payload":{{"X":{deep}}}}}"#),
        )
    };
    for levels in [30, 33, 100, 990] {
        let event = check(nested(levels).as_bytes());
        assert_eq!((event.decode_error.as_deref(), event.timed), (None, true), "{levels}");
    }
    for levels in [1000, 100_000] {
        let event = check(nested(levels).as_bytes());
        assert_eq!(event.decode_error.as_deref(), Some("nested deeper than 1000 levels"));
        assert!(matches!(event.payload, Payload::Raw(_)));
    }
}

#[test]
fn every_cut_and_every_changed_byte_of_a_fixture_is_kept() {
    for fixture in fixtures() {
        let bytes = fixture.body.as_bytes();
        for end in (0..bytes.len()).step_by(7) {
            check(&bytes[..end]);
        }
        for place in (0..bytes.len()).step_by(11) {
            for byte in [b'"', b'{', b'9', b'\\', 0, 0xff] {
                let mut changed = bytes.to_owned();
                changed[place] = byte;
                check(&changed);
            }
        }
    }
}

/// Bodies of about so many bytes, each of a form that a careless reader takes long for.
fn heavy(bytes: usize) -> Vec<(&'static str, String)> {
    let list = |element: &str| vec![element; bytes / (element.len() + 1)].join(",");
    let in_payload = |event_type: i64, payload: &str| {
        event(
            event_type,
            &format!(r#"{{"EventMsTs":1760000000310,"TaskId":"t","Payload":{{{payload}}}}}"#),
        )
    };
    let members: Vec<String> =
        (0..bytes / 14).map(|number| format!("\"m{number:06}\":1")).collect();
    let members = members.join(",");
    let quoted = serde_json::to_string(&format!(r#"{{"FileList":[{}]}}"#, list(r#""f""#))).unwrap();
    let levels = 30;
    let wide = format!("{}{}{}", r#"{"a":["#.repeat(levels), list("7"), "]}".repeat(levels));
    vec![
        (
            "members of the body",
            format!(r#"{{"EventGroupId":16,{members},"EventInfo":{{"EventMsTs":1760000000310}}}}"#),
        ),
        (
            "members of EventInfo",
            event(103, &format!(r#"{{"EventMsTs":1760000000310,{members}}}"#)),
        ),
        ("members of Payload", in_payload(301, &members)),
        (
            "one member again and again",
            event(103, &format!(r#"{{{},"EventMsTs":1760000000310}}"#, list(r#""RoomId":1"#))),
        ),
        ("files", in_payload(310, &format!(r#""FileList":[{}]"#, list(r#""file.mp4""#)))),
        (
            "details of files",
            in_payload(310, &format!(r#""FileMessage":[{}]"#, list(r#"{"FileName":"f"}"#))),
        ),
        (
            "details that do not fit",
            in_payload(310, &format!(r#""FileMessage":[{}]"#, list(r#"{"FileName":7}"#))),
        ),
        ("files that do not fit", in_payload(310, &format!(r#""FileList":[{}]"#, list("{}")))),
        (
            "findings",
            in_payload(1104, &format!(r#""CheckDetail":[{}]"#, list(r#"{"Label":"Ad"}"#))),
        ),
        ("a long text", in_payload(903, &format!(r#""Text":"{}""#, "x".repeat(bytes)))),
        ("escapes", in_payload(903, &format!(r#""Text":"{}""#, r"\ud83d".repeat(bytes / 6)))),
        (
            "a payload as text",
            event(310, &format!(r#"{{"EventMsTs":1760000000310,"Payload":{quoted}}}"#)),
        ),
        ("wide below many levels", in_payload(1501, &format!(r#""X":{wide}"#))),
        (
            "deep",
            in_payload(
                1501,
                &format!(r#""X":[{}]"#, list(&format!("{}{}", "[".repeat(900), "]".repeat(900)))),
            ),
        ),
        (
            "digits",
            event(
                103,
                &format!(r#"{{"EventMsTs":1760000000310,"UniqueId":{}}}"#, "7".repeat(bytes)),
            ),
        ),
        ("brackets in a text", in_payload(903, &format!(r#""Text":"{}""#, "[".repeat(bytes)))),
        ("no JSON", "[".repeat(bytes)),
    ]
}

#[test]
fn the_largest_bodies_are_kept() {
    for (form, body) in heavy(LARGEST) {
        println!("{form}");
        check(body.as_bytes());
    }
}

/// Quadratic reading would take 256 times as long for 16 times the bytes. Whatever else the machine does can only make a measurement
/// worse, so one of many that is good is enough.
#[test]
fn sixteen_times_the_bytes_take_at_most_64_times_as_long() {
    let time = |body: &str| {
        let begun = Instant::now();
        decode(body);
        begun.elapsed()
    };
    for ((form, small), (_, large)) in heavy(LARGEST / 16).into_iter().zip(heavy(LARGEST)) {
        let is_linear = (0..20).any(|_| time(&large) < time(&small) * 64);
        assert!(is_linear, "{form}");
    }
}
