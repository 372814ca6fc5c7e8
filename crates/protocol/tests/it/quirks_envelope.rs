//! Quirks of the envelope and of the fields that many groups have.

use serde_json::{Value, json};
use trtc_callbacks_protocol::body::rtc::event::RtcBody;
use trtc_callbacks_protocol::body::rtc::info::task_key;
use trtc_callbacks_protocol::json::room_id::RoomIdKind;
use trtc_callbacks_protocol::json::scalar::{Count, Millis, Seconds};
use trtc_callbacks_protocol::{Event, UnixMillis};

use crate::support::{body_of, decode, event, fitting, info, key, payload, rtc, with, without};

fn read(body: &Value) -> Event {
    fitting(body.to_string())
}

fn timed(times: &str) -> Event {
    fitting(event(
        301,
        &format!(r#"{{"RoomId":"r","TaskId":"t",{times}"Payload":{{"Status":0}}}}"#),
    ))
}

const MS: i64 = 1_760_000_000_310;
const SECOND: i64 = 1_760_000_000_000;

#[test]
fn r01_callback_ts_or_callback_ms_ts() {
    let sent = |name: &str| match rtc(&read(&body_of(name))) {
        RtcBody::Ingest(body) => (body.callback_ts, body.callback_ms_ts, body.sent_at()),
        RtcBody::Ai(body) => (body.callback_ts, body.callback_ms_ts, body.sent_at()),
        other => panic!("{other:?}"),
    };
    let at = Some(Millis(1_701_937_900_012));
    assert_eq!(sent("701"), (None, at, at));
    let at = Some(Millis(1_687_770_730_166));
    assert_eq!(sent("901"), (at, None, at));
    // Where it is all there is, it is when the event was sent, under either name.
    for name in ["CallbackTs", "CallbackMsTs"] {
        let body = format!(
            r#"{{"EventGroupId":1,"EventType":103,"{name}":{MS},"EventInfo":{{"RoomId":1}}}}"#
        );
        let event = fitting(body);
        assert_eq!((event.event_time, event.timed), (UnixMillis(MS), false));
    }
}

#[test]
fn r02_event_type_may_be_missing() {
    let event = read(&body_of("901_notype"));
    assert_eq!((event.command.as_ref(), event.family.as_str()), ("unknown", "rtc_ai"));
    assert_eq!(event.command_sent.as_deref(), Some("9"));
    assert_eq!(payload!(Ai, event).status.unwrap().as_str(), "0");
}

#[test]
fn r03_the_group_of_the_body_counts() {
    for (name, group, family) in [("701", 7, "rtc_ingest"), ("901", 9, "rtc_ai")] {
        let body = body_of(name);
        assert_eq!(body["EventGroupId"], group);
        assert_eq!(read(&body).family.as_str(), family);
        // As the page's table has it: the type still tells.
        let event = read(&with(&body, "/EventGroupId", json!(4)));
        assert_eq!(event.family.as_str(), family);
        assert_eq!(event.command_sent, Some(format!("4.{name}")));
    }
}

#[test]
fn r04_event_ts_is_a_number_a_text_or_absent() {
    for (times, seconds) in [
        (r#""EventTs":1760000000,"#, Some(Seconds(1_760_000_000))),
        (r#""EventTs":"1760000000","#, Some(Seconds(1_760_000_000))),
        ("", None),
    ] {
        let event = timed(times);
        assert_eq!(info!(Recording, event).event_ts, seconds);
        assert_eq!(event.timed, seconds.is_some());
        assert!(!event.timed || event.event_time == UnixMillis(SECOND));
    }
}

#[test]
fn r05_event_ms_ts_has_many_forms_and_names() {
    for (times, expected) in [
        (r#""EventMsTs":1760000000310,"EventTs":1760000000,"#, MS),
        (r#""EventMsTs":"1760000000310","EventTs":1760000000,"#, MS),
        (r#""EventTsMs":1760000000310,"#, MS),
        (r#""EventTsMs":1760000000999,"EventMsTs":1760000000310,"#, MS),
        (r#""timestamp":1760000000310,"#, MS),
        (r#""EventTs":1760000000,"#, SECOND),
    ] {
        let event = timed(times);
        assert_eq!((event.event_time, event.timed), (UnixMillis(expected), true), "{times}");
    }
    let relay = info!(Relay, read(&body_of("401")));
    assert_eq!(relay.happened_at(), Some(Millis(1_622_186_275_913)));
    assert_eq!((relay.event_ms_ts, relay.event_ts_ms), (None, relay.happened_at()));
    let shot = info!(Screenshot, read(&body_of("601")));
    assert_eq!(shot.timestamp, Some(Millis(1_698_410_059_693)));
    let ingest = info!(Ingest, read(&body_of("702")));
    assert_eq!(ingest.event_ms_ts, Some(Millis(1_701_937_999_010)), "a text");
}

#[test]
fn r06_room_id_is_a_number_up_to_32_bits_or_a_text() {
    for (sent, id, kind) in [
        ("4294967295", "4294967295", RoomIdKind::Numeric),
        ("1", "1", RoomIdKind::Numeric),
        (r#""4294967295""#, "4294967295", RoomIdKind::String),
        (r#""live_Zimmer 7é""#, "live_Zimmer 7é", RoomIdKind::String),
    ] {
        let event =
            fitting(event(101, &format!(r#"{{"RoomId":{sent},"EventMsTs":{MS},"UserId":"u"}}"#)));
        assert_eq!(event.room_id.as_deref(), Some(id));
        let room = info!(Room, event).room_id.unwrap();
        assert_eq!((room.id.as_str(), room.sent), (id, kind));
    }
    let dismissed = info!(Room, read(&body_of("102"))).room_id.unwrap();
    let created = info!(Room, read(&body_of("101"))).room_id.unwrap();
    assert_eq!((dismissed.id, dismissed.sent), (created.id, RoomIdKind::String));
    assert_eq!(created.sent, RoomIdKind::Numeric);
}

#[test]
fn r07_task_id_is_a_text_or_number_with_any_letters_and_suffix() {
    for (sent, id) in [
        (
            r#""-npVqpdU7sBobiK1iskE3BwlLIebCMrbKUbnL4K-rO+8oZWQndib9uvO4D/eq9P1Na+sXGNGNuAE.*""#,
            "-npVqpdU7sBobiK1iskE3BwlLIebCMrbKUbnL4K-rO+8oZWQndib9uvO4D/eq9P1Na+sXGNGNuAE.*",
        ),
        ("12345678901234567890", "12345678901234567890"),
        (r#""-m9_StartTimeMs_1622186275757""#, "-m9_StartTimeMs_1622186275757"),
    ] {
        let body = with(&body_of("401"), "/EventInfo/TaskId", serde_json::from_str(sent).unwrap());
        assert_eq!(info!(Relay, read(&body)).task_id.unwrap().as_str(), id);
    }
    assert_eq!(task_key("-m9_StartTimeMs_1622186275757"), "-m9");
}

#[test]
fn r08_the_user_stands_under_many_names() {
    let operator = |name: &str| read(&body_of(name)).operator;
    for (name, expected) in [
        ("101", Some("test")),
        ("301", Some("xx")),
        ("401_err", Some("agent_1")),
        ("601", Some("dd")),
        ("102", None),
        ("701", None),
        ("801", None),
        ("901", None),
        ("904", Some("xxx")),
        ("1401", Some("trtc_partner_test_1")),
        ("1403_guess", Some("alice")),
        ("1501", None),
    ] {
        assert_eq!(operator(name).as_deref(), expected, "{name}");
    }
    let body = body_of("103");
    let user = body["EventInfo"]["UserId"].clone();
    let old = with(&without(&body, "/EventInfo/UserId"), "/EventInfo/userID", user.clone());
    let (old, new) = (read(&old), read(&body));
    assert_eq!(old.operator.as_deref(), user.as_str());
    assert_eq!(info!(Room, old).user(), info!(Room, new).user());
    assert_eq!(key(&old), key(&new), "one event in either spelling");
    let both = read(&with(&body, "/EventInfo/userID", json!("other")));
    assert_eq!(both.operator.as_deref(), user.as_str());
}

#[test]
fn r09_order_varies_and_unknown_fields_occur() {
    let ordered = fitting(event(
        301,
        &format!(r#"{{"EventMsTs":{MS},"TaskId":"t","Payload":{{"Status":0}}}}"#),
    ));
    let turned = fitting(format!(
        r#"{{"EventInfo":{{"Payload":{{"Status":0}},"TaskId":"t","EventMsTs":{MS}}},"CallbackTs":1,"EventType":301,"EventGroupId":3}}"#
    ));
    assert_eq!(ordered.id, turned.id);
    let new = r#"{"EventGroupId":3,"EventType":301,"New":{"A":[1]},"EventInfo":{"EventMsTs":1760000000310,"TaskId":"t","KitType":2,"ClientIpv6":"::1","Payload":{"Status":0,"New":null}}}"#;
    assert_eq!(info!(Recording, fitting(new)), info!(Recording, ordered));
    let seen = fitting(event(
        103,
        &format!(r#"{{"EventMsTs":{MS},"UserId":"u","ClientIpv4":"192.0.2.1"}}"#),
    ));
    assert_eq!(info!(Room, seen).client_ipv4.as_deref(), Some("192.0.2.1"));
}

#[test]
fn r10_group_6_is_flat_and_in_lower_camel_case() {
    let body = body_of("601");
    let event = read(&body);
    let shot = info!(Screenshot, event);
    let id = body["EventInfo"]["eventID"].as_str();
    assert_eq!(shot.id(), id);
    assert_eq!(shot.picture_url.as_deref(), body["EventInfo"]["pictureURL"].as_str());
    assert_eq!((event.room_id.as_deref(), event.operator.as_deref()), (Some("464884"), Some("dd")));
    assert_eq!((shot.callback_data.as_deref(), shot.code), (Some("test"), Some(Count(0))));
    assert_eq!(shot.stream_type.as_deref(), Some("BigStream"));
    let of_table = with(&without(&body, "/EventInfo/eventID"), "/EventInfo/eventId", json!(id));
    assert_eq!(info!(Screenshot, read(&of_table)).id(), id);
    let both = with(&body, "/EventInfo/eventId", json!("other"));
    assert_eq!(info!(Screenshot, read(&both)).id(), id);
}

#[test]
fn r11_group_7_has_its_status_in_event_info() {
    let event = read(&body_of("701"));
    let ingest = info!(Ingest, event);
    assert_eq!(ingest.status, Some(Count(0)));
    assert!(ingest.task_id.is_some());
    assert_eq!((event.room_id, event.operator), (None, None));
}

#[test]
fn r12_numbers_that_became_texts_name_the_same_type() {
    for name in ["101", "301", "905", "1104_audio"] {
        let body = body_of(name);
        let texts = ["/EventGroupId", "/EventType"].iter().fold(body.clone(), |body, field| {
            let number = body.pointer(field).unwrap().to_string();
            with(&body, field, json!(number))
        });
        let (sent, event) = (read(&body), read(&texts));
        assert_eq!(
            (&event.command, event.family, &event.command_sent),
            (&sent.command, sent.family, &sent.command_sent)
        );
        assert_eq!((event.id, event.body), (sent.id, sent.body), "{name}");
    }
}

#[test]
fn a_field_under_both_its_names_costs_nothing_else() {
    let both = |name: &str, field: &str| read(&with(&body_of(name), field, json!("other")));
    let speech = both("1403_guess", "/EventInfo/Payload/SpeakerUserId");
    assert_eq!(speech.operator.as_deref(), Some("other"), "the robot may be the UserId");
    let payload = payload!(Transcription, speech);
    assert_eq!(payload.speaker().unwrap().as_str(), "other");
    assert_eq!(
        (payload.user_id.unwrap().as_str(), payload.text.as_deref()),
        ("alice", Some("good morning"))
    );
    let checked = info!(Moderation, both("1104_audio", "/EventInfo/StreamUserId"));
    assert_eq!(checked.streamer().unwrap().as_str(), "SliceCustomUploadCase6-user0");
    let sliced = payload!(Slicing, both("1004_inner", "/EventInfo/Payload/StreamerUserId"));
    assert_eq!(sliced.streamer().unwrap().as_str(), "anchor1");
    // Of a time that stands there twice, too.
    let body = with(&body_of("401"), "/EventInfo/EventMsTs", json!(MS));
    let relay = decode(body.to_string());
    assert_eq!((relay.decode_error.as_deref(), relay.event_time), (None, UnixMillis(MS)));
    assert_eq!(info!(Relay, relay).happened_at(), Some(Millis(MS)));
}
