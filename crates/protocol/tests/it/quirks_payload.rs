//! Quirks of the details, by group.

use serde_json::{Value, json};
use trtc_callbacks_protocol::body::recording::VodFile;
use trtc_callbacks_protocol::body::rtc::info::task_key;
use trtc_callbacks_protocol::json::room_id::RoomIdKind;
use trtc_callbacks_protocol::json::scalar::{Count, Millis};
use trtc_callbacks_protocol::{AppId, Apps, Body, Command, Event, Query, UnixMillis};

use crate::support::{
    APP, NOW, body_of, decode, event, fitting, info, key, payload, with, without,
};

fn read(body: &Value) -> Event {
    fitting(body.to_string())
}

/// An event of a task with these details.
fn task(event_type: i64, payload: &str) -> Event {
    fitting(event(
        event_type,
        &format!(r#"{{"RoomId":"r","EventMsTs":1760000000310,"TaskId":"t","Payload":{payload}}}"#),
    ))
}

#[test]
fn r13_305_says_status_or_leave_code() {
    let (status, code) = (task(305, r#"{"Status":1}"#), task(305, r#"{"LeaveCode":1}"#));
    assert_eq!(payload!(Recording, status).status, Some(Count(1)));
    assert_eq!(payload!(Recording, code).leave_code, Some(Count(1)));
    assert_ne!(status.id, task(305, r#"{"Status":2}"#).id);
    assert_ne!(code.id, task(305, r#"{"LeaveCode":2}"#).id);
}

#[test]
fn r14_file_list_is_a_text_or_a_list() {
    let files = |event: Event| payload!(Recording, event).file_list.unwrap().0;
    assert_eq!(files(task(304, r#"{"FileList":"a.m3u8"}"#)), ["a.m3u8"]);
    assert_eq!(files(task(310, r#"{"FileList":["a.mp4","b.mp4"]}"#)), ["a.mp4", "b.mp4"]);
    assert_eq!(
        task(304, r#"{"FileList":"a.m3u8"}"#).id,
        task(304, r#"{"FileList":["a.m3u8"]}"#).id
    );
}

#[test]
fn r15_307_begins_at_a_number_or_a_text() {
    for sent in ["1622186279153", r#""1622186279153""#] {
        let event = task(307, &format!(r#"{{"FileName":"a.ts","BeginTimeStamp":{sent}}}"#));
        assert_eq!(payload!(Recording, event).begin_time_stamp, Some(Millis(1_622_186_279_153)));
    }
}

#[test]
fn r16_311_is_nested_or_flat_and_its_times_are_ms_or_s() {
    let vod = |name: &str| payload!(Recording, decode(body_of(name).to_string())).vod().unwrap();
    let times = |file: &VodFile| (file.start_time_stamp, file.end_time_stamp);
    let nested = vod("311_ok");
    assert_eq!(times(&nested), (Some(Millis(1_622_186_279_153)), Some(Millis(1_622_186_282_153))));
    let flat = vod("311_flat");
    assert_eq!(times(&flat), (Some(Millis(1_622_186_279_000)), Some(Millis(1_622_186_811_000))));
    assert_eq!((flat.file_id, flat.video_url), (nested.file_id.clone(), nested.video_url.clone()));
    let failed = vod("311_fail");
    assert_eq!((failed.file_id, failed.media_id, failed.video_url), (None, None, None));
    assert_eq!(failed.cache_file.as_deref(), Some("xxx.mp4"));
    // Times that are none cost nothing else.
    let placeholders = decode(body_of("311_web").to_string());
    let reason = placeholders.decode_error.as_deref().unwrap();
    assert_eq!(
        reason,
        "EventInfo.Payload.TencentVod.StartTimeStamp: expected a whole number, found another text; \
        EventInfo.Payload.TencentVod.EndTimeStamp: expected a whole number, found another text"
    );
    let web = payload!(Recording, placeholders).vod().unwrap();
    assert_eq!((times(&web), web.file_id), ((None, None), nested.file_id));
    for (sent, expected) in [("99999999999", 99_999_999_999_000), ("100000000000", 100_000_000_000)]
    {
        let event = task(
            311,
            &format!(r#"{{"FileId":"f","StartTimeStamp":{sent},"EndTimeStamp":"{sent}"}}"#),
        );
        let file = payload!(Recording, event).vod().unwrap();
        assert_eq!(times(&file), (Some(Millis(expected)), Some(Millis(expected))));
    }
}

#[test]
fn r17_status_is_a_number_but_of_909_a_word() {
    let ready = payload!(Ai, read(&body_of("909"))).status.unwrap();
    assert_eq!(ready.as_str(), "session_ready");
    assert_eq!(payload!(Ai, read(&body_of("901"))).status.unwrap().as_str(), "0");
    // Success is 0 in other groups, and 1 in group 8.
    assert_eq!(payload!(Recording, read(&body_of("303"))).status, Some(Count(0)));
    let page = payload!(WebRecording, read(&body_of("801")));
    assert_eq!((page.status, page.event_message.as_deref()), (Some(Count(1)), Some("Success")));
}

#[test]
fn r18_code_is_a_word_or_a_number() {
    let refused = task(308, r#"{"Code":"InvalidParameter","Message":"AccessKey invalid"}"#);
    assert_eq!(payload!(Recording, refused).code.unwrap().as_str(), "InvalidParameter");
    assert_eq!(payload!(Slicing, read(&body_of("1006"))).code.unwrap().as_str(), "10002");
    assert_eq!(payload!(Moderation, read(&body_of("1106"))).code.unwrap().as_str(), "10002");
    let error = payload!(Ai, read(&body_of("908"))).tag.unwrap();
    assert_eq!(error.code.unwrap().as_str(), "0");
}

#[test]
fn r19_any_leave_code_is_kept_as_sent() {
    for code in [0, 1, 2, 3, 4, 98, 99, 100, 101, 12_345] {
        let of = |event_type| task(event_type, &format!(r#"{{"LeaveCode":{code}}}"#));
        let expected = Some(Count(code));
        assert_eq!(payload!(Recording, of(302)).leave_code, expected);
        assert_eq!(payload!(Ai, of(902)).leave_code, expected);
        assert_eq!(payload!(Slicing, of(1002)).leave_code, expected);
        assert_eq!(payload!(Moderation, of(1102)).leave_code, expected);
    }
}

#[test]
fn r20_times_that_contradict_each_other_are_all_kept() {
    // Later than it was sent, by 1 ms and by months.
    for (name, time) in [("701", 1_701_937_900_013), ("1104_audio", 1_735_872_251_524)] {
        let event = read(&body_of(name));
        assert_eq!((event.event_time, event.timed), (UnixMillis(time), true), "{name}");
    }
    // The two times of group 3 are hours apart, and one is the same in all events of a task.
    let event = read(&body_of("312"));
    let info = info!(Recording, event);
    assert_eq!(event.event_time, UnixMillis(1_622_186_275_757));
    assert_eq!(
        (info.event_ms_ts.unwrap().0, info.event_ts.unwrap().0),
        (1_622_186_275_757, 1_622_191_965)
    );
    let later = read(&with(&body_of("312"), "/EventInfo/EventTs", json!(1_622_191_966)));
    assert_ne!(event.id, later.id, "both times tell it");
}

#[test]
fn r21_303_is_the_upload_and_308_is_known() {
    let name = |number| Command::of_event_type(number).unwrap().name;
    assert_eq!(name(303), "EVENT_TYPE_CLOUD_RECORDING_UPLOAD_START");
    assert_eq!(name(306), "EVENT_TYPE_CLOUD_RECORDING_FAILOVER");
    assert_eq!(name(308), "EVENT_TYPE_CLOUD_RECORDING_UPLOAD_ERROR");
}

#[test]
fn r22_findings_are_a_list_or_one_and_two_names_say_streamer() {
    let finding = r#"{"Label":"Ad","Suggest":2,"AudioSegments":{},"ImageLocation":{"X":0.5}}"#;
    for sent in [finding.to_owned(), format!("[{finding}]")] {
        let event = task(1104, &format!(r#"{{"DataId":"1","CheckDetail":{sent}}}"#));
        let findings = payload!(Moderation, event).check_detail.unwrap().0;
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].as_str(), finding);
    }
    for name in ["StreamerUserId", "StreamUserId"] {
        for event_type in [1004, 1104] {
            let beside = fitting(event(
                event_type,
                &format!(r#"{{"EventMsTs":1760000000310,"{name}":"a","Payload":{{}}}}"#),
            ));
            let inside = task(event_type, &format!(r#"{{"{name}":"a"}}"#));
            let (beside, inside) = if event_type == 1004 {
                (
                    info!(Slicing, beside).streamer().cloned(),
                    payload!(Slicing, inside).streamer().cloned(),
                )
            } else {
                (
                    info!(Moderation, beside).streamer().cloned(),
                    payload!(Moderation, inside).streamer().cloned(),
                )
            };
            assert_eq!((beside.unwrap().as_str(), inside.unwrap().as_str()), ("a", "a"), "{name}");
        }
    }
    let file = |name: &str| {
        let payload = payload!(Slicing, read(&body_of(name)));
        payload.file_name.or(payload.payload.and_then(|inner| inner.file_name)).unwrap()
    };
    assert_eq!((file("1004_outer").as_str(), file("1004_inner").as_str()), ("a.png", "b.png"));
}

#[test]
fn r23_an_empty_text_is_a_value_and_no_column() {
    let checked = payload!(Moderation, read(&body_of("1104_audio")));
    assert_eq!(checked.request_id.as_deref(), Some(""));
    let mixed = task(310, r#"{"FileMessage":[{"FileName":"a.mp4","UserId":""}]}"#);
    let files = payload!(Recording, mixed).file_message.unwrap();
    assert_eq!(
        files[0].user_id.as_ref().unwrap().as_str(),
        "",
        "the stream of all, not of nobody known"
    );
    let said = read(&body_of("903"));
    assert_eq!(
        (said.operator.as_deref(), payload!(Ai, said).user_id.unwrap().as_str()),
        (None, "")
    );
}

#[test]
fn r24_constants_are_spelled_as_the_vendor_does() {
    let name = |number| Command::of_event_type(number).unwrap().name;
    assert_eq!((name(205), name(206)), ("EVENT_TYPE_START_ASSIT", "EVENT_TYPE_STOP_ASSIT"));
    assert_eq!(name(1101), "EVENT_TYPE_CLOUD_Moderation_START");
    for (heading, number) in [
        ("EVENT_TYPE_CLOUD_Moderation_FILE_INFO", 1104),
        ("EVENT_TYPE_CLOUD_Moderation_SEND_ERROR", 1106),
    ] {
        assert_eq!(Command::find(heading).unwrap().name, name(number));
        assert_eq!(Command::meant(heading).unwrap(), name(number));
    }
}

#[test]
fn r25_a_failure_has_any_metric() {
    for metric in ["llm_error", "asr_latency", "something_new"] {
        let event =
            task(908, &format!(r#"{{"Metric":"{metric}","Tag":{{"RoundId":"r","Code":30200}}}}"#));
        assert_eq!(payload!(Ai, event).metric.as_deref(), Some(metric));
    }
}

#[test]
fn r26_times_of_speech_are_kept_relative_or_absolute() {
    for (from, to) in [(1234, 1269), (1_687_770_730_000, 1_687_770_730_166)] {
        let event = task(903, &format!(r#"{{"StartTimeMs":{from},"EndTimeMs":"{to}"}}"#));
        let said = payload!(Ai, event);
        assert_eq!((said.start_time_ms, said.end_time_ms), (Some(Millis(from)), Some(Millis(to))));
    }
}

#[test]
fn r27_801_has_one_name_whatever_its_status() {
    let all: Vec<Event> =
        (1..=5).map(|status| task(801, &format!(r#"{{"Status":{status}}}"#))).collect();
    for (event, status) in all.iter().zip(1..) {
        assert_eq!(event.command, "EVENT_TYPE_WEB_RECORDER_START");
        assert_eq!(payload!(WebRecording, event).status, Some(Count(status)));
        assert_eq!(all.iter().filter(|other| other.id == event.id).count(), 1);
    }
}

#[test]
fn r28_a_relay_state_that_repeats_is_another_event() {
    for status in [1, 3] {
        let at = |time: i64| {
            let body = with(&body_of("401"), "/EventInfo/EventTsMs", json!(time));
            read(&with(&body, "/EventInfo/Payload/Status", json!(status)))
        };
        assert_ne!(at(1_622_186_275_913).id, at(1_622_186_280_913).id);
    }
}

#[test]
fn r30_reason_0_of_a_stop_is_kept() {
    for name in ["202", "204", "206"] {
        assert_eq!(info!(Media, read(&body_of(name))).reason, Some(Count(0)), "{name}");
    }
    assert_eq!(info!(Media, read(&without(&body_of("202"), "/EventInfo/Reason"))).reason, None);
}

#[test]
fn r33_room_123_is_not_room_text_123_and_a_kind_may_be_stated() {
    let room = |sent: &str| {
        let event = fitting(event(
            103,
            &format!(r#"{{"RoomId":{sent},"EventMsTs":1760000000310,"UserId":"u"}}"#),
        ));
        (event.id, info!(Room, event).room_id.unwrap())
    };
    let (number, text) = (room("123"), room(r#""123""#));
    assert!(number.0 != text.0 && number.1 != text.1);
    assert_eq!(number.1.id, text.1.id);
    // Groups 4, 9, 14 and 15 say so in a field, whatever the type of the id.
    let kind = |name: &str, field: &str, value: Value| {
        let body = with(&body_of(name), field, value);
        let event = read(&body);
        match event.family.as_str() {
            "rtc_relay" => info!(Relay, event).room_id_kind(),
            "rtc_ai" => info!(Ai, event).room_id_kind(),
            "rtc_transcription" => info!(Transcription, event).room_id_kind(),
            _ => info!(AiConversation, event).room_id_kind(),
        }
    };
    for (name, field) in [
        ("401", "/EventInfo/RoomType"),
        ("901", "/EventInfo/RoomIdType"),
        ("1401", "/EventInfo/RoomIdType"),
        ("1501", "/EventInfo/RoomIdType"),
    ] {
        assert_eq!(kind(name, field, json!(0)), Some(RoomIdKind::Numeric), "{name}");
        assert_eq!(kind(name, field, json!("1")), Some(RoomIdKind::String), "{name}");
        assert_eq!(
            kind(name, field, json!(2)),
            Some(RoomIdKind::String),
            "{name}: a text was sent"
        );
    }
}

#[test]
fn r35_unique_id_tells_entries_apart_and_may_be_absent() {
    let body = body_of("103_old");
    assert!(info!(Room, read(&body)).unique_id.is_some());
    let other = with(&body, "/EventInfo/UniqueId", json!(1));
    let none = without(&body, "/EventInfo/UniqueId");
    let keys = [&body, &other, &none].map(|body| key(&read(body)));
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
}

#[test]
fn r36_the_robot_of_a_task_is_named() {
    assert_eq!(info!(Recording, read(&body_of("301"))).robot().unwrap().as_str(), "xx");
    assert_eq!(info!(Relay, read(&body_of("401_err"))).robot().unwrap().as_str(), "agent_1");
    assert_eq!(info!(Slicing, read(&body_of("1001"))).robot().unwrap().as_str(), "slice_robot");
    assert_eq!(info!(Moderation, read(&body_of("1101"))).robot().unwrap().as_str(), "inspect");
    assert_eq!(
        info!(Transcription, read(&body_of("1401"))).robot().unwrap().as_str(),
        "trtc_partner_test_1"
    );
}

#[test]
fn r37_one_task_is_reported_in_two_dialects_and_two_groups() {
    let own = event(
        301,
        r#"{"RoomId":"7","EventMsTs":1774425607077,"TaskId":"-m9","Payload":{"Status":0}}"#,
    );
    let embed = format!(
        r#"{{"CallbackCommand":"Call.CallbackAfterRecordChanged","CallId":"c","Callback":{own}}}"#
    );
    let app = AppId::parse(APP).unwrap();
    let query =
        Query::parse(&format!("SdkAppid={APP}&CallbackCommand=Call.CallbackAfterRecordChanged"));
    let verified = Apps::new().with(app, Vec::new()).verify(query, NOW).unwrap();
    let embedded = Event::decode(&verified, embed.as_bytes(), NOW);
    let own = fitting(own);
    assert_ne!(own.id, embedded.id, "two reports");
    let task = |name: &str| info!(Recording, read(&body_of(name))).task_id.unwrap();
    let text = serde_json::to_string(&embedded.body).unwrap();
    assert!(matches!(embedded.body, Body::Call(_)) && text.contains(r#""TaskId":"-m9""#), "{text}");
    assert_eq!(info!(Recording, own).task_id.unwrap().as_str(), "-m9");
    // Of a recorded web page: groups 8 and 3.
    let page = info!(WebRecording, read(&body_of("801"))).task_id.unwrap();
    let file = format!("{page}_StartTimeMs_1622186275757");
    let file = read(&with(&body_of("310"), "/EventInfo/TaskId", json!(file)));
    assert_eq!(task_key(info!(Recording, file).task_id.unwrap().as_str()), page.as_str());
    assert_eq!(task("310").as_str(), "xx");
}
