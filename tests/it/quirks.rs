//! The 32 contradictions of the vendor's pages, samples and captured traffic, each with what this server makes of it.

use std::collections::HashSet;
use std::time::Duration;

use protocol::UnixMillis;
use protocol::body::battle::BattleEnd;
use protocol::body::call::{ActionType, CallBody as Call, MediaType, RoomIdType};
use protocol::body::follow::{FollowBody as Follow, Followed};
use protocol::body::live::{AdminChange, DestroyCause, LiveBody as Live, Member, Presence};
use protocol::body::mic::{MicBody as Mic, Seat};
use protocol::body::recording::RecordingEvent;
use protocol::body::room::{RoomBody as Room, RoomType};
use protocol::event::Payload;
use protocol::json::forms::{Many, Nested};
use protocol::json::scalar::{Count, Flag, Known, Millis, Seconds};
use protocol::query::Platform;
use protocol::{
    AppId, Apps, Body, Command, Delivery, Event, Family, Kind, Query, Rejection, event_id,
    response, verify,
};
use serde_json::{Value, json};

/// 2026-11-01.
const RECEIVED: UnixMillis = UnixMillis(1_793_491_200_000);
/// The query of a request that names its command in the body alone.
const APP: &str = "SdkAppid=1400000001";
const DESTROY_ROOM: &str = "Room.CallbackAfterDestroyRoom";

fn apps(tokens: &[&str]) -> Apps {
    let app = AppId::parse("1400000001").expect("an app's id");
    Apps::new().with(app, tokens.iter().map(|token| (*token).into()).collect())
}

/// What becomes of one request. Whatever that is, the body's bytes are kept.
fn decode(query: &str, body: &str) -> Event {
    decode_at(RECEIVED, query, body.as_bytes())
}

fn decode_at(received_at: UnixMillis, query: &str, body: &[u8]) -> Event {
    let verified = apps(&[]).verify(Query::parse(query), received_at).expect("our app");
    let event = Event::decode(&verified, body, received_at);
    assert_eq!(event.payload.as_bytes(), body);
    event
}

/// The event of a body that names its command and has these members, written as JSON without the braces.
fn told(command: &str, members: &str) -> Event {
    let event = decode(APP, &format!(r#"{{"CallbackCommand":"{command}",{members}}}"#));
    assert_eq!(event.command, command);
    event
}

macro_rules! fixture {
    ($name:literal) => {{
        let file = include_str!(concat!("../../crates/protocol/fixtures/", $name, ".json"));
        let delivery = Delivery::parse(file).unwrap();
        decode_at(RECEIVED, &delivery.query, &delivery.bytes().unwrap())
    }};
}

/// The typed body of an event.
macro_rules! typed {
    ($event:expr, $family:ident::$command:ident) => {
        match $event {
            Event { body: Body::$family($family::$command(body)), decode_error: None, .. } => body,
            other => panic!("{:?} {:?}", other.body, other.decode_error),
        }
    };
}

fn recording(event: Event) -> RecordingEvent {
    match event.body {
        Body::Call(Call::RecordChanged(body)) => *body.callback.expect("a recorder's event"),
        Body::Live(Live::CloudRecordingChanged(body)) => *body,
        body => panic!("{body:?} {:?}", event.decode_error),
    }
}

#[test]
fn quirk_01_the_query_command_may_differ_from_the_body() {
    let event = fixture!("live/del_metadata_query_says_set");
    assert_eq!(event.command, "Live.CallbackAfterDelMetadata");
    assert_eq!(event.command_sent.as_deref(), Some("Live.CallbackAfterSetMetadata"));
    let body = typed!(event, Live::DelMetadata);
    assert_eq!(body.keys, Some(Many(vec!["song".into(), "poll".into()])));
    let event = fixture!("live/before_send_gift_query_says_battle");
    assert_eq!(event.command_sent.as_deref(), Some("Live.CallbackAfterCreateBattle"));
    let gift = typed!(event, Live::BeforeSendGift).gift_water.unwrap();
    assert_eq!(gift.gift_id, Some("rocket".into()));
    for named in ["", r#""CallbackCommand":"","#, r#""CallbackCommand":null,"#] {
        let body = format!(r#"{{{named}"RoomId":"weekly-review"}}"#);
        let event = decode(&format!("{APP}&CallbackCommand={DESTROY_ROOM}"), &body);
        assert_eq!((&*event.command, &event.command_sent), (DESTROY_ROOM, &None), "{named}");
        assert_eq!(typed!(event, Room::DestroyRoom).room_id, Some("weekly-review".into()));
    }
}

/// Both names are one command, in query and body alike; the alias is recorded where the body has it.
fn assert_twins(canonical: &str, alias: &str) {
    let plain = told(canonical, r#""RoomId":"r","EventTime":1768248670111,"CallbackTs":1"#);
    assert_eq!((plain.decode_error, plain.family), (None, Family::of(canonical)));
    assert_ne!(plain.body, Body::Untyped);
    for (query, body, sent) in
        [(alias, canonical, None), (alias, alias, Some(alias)), (canonical, alias, Some(alias))]
    {
        let json = String::from_utf8_lossy(plain.payload.as_bytes()).replace(canonical, body);
        let event = decode(&format!("{APP}&CallbackCommand={query}"), &json);
        assert_eq!((&*event.command, event.family), (canonical, plain.family), "{query} {body}");
        assert_eq!(event.command_sent.as_deref(), sent, "{query} {body}");
        assert_eq!(event.body, plain.body, "{query} {body}");
    }
}

#[test]
fn quirk_02_the_live_member_state_command_may_lack_after() {
    assert_twins("Live.CallbackAfterMemberStateChanged", "Live.CallbackMemberStateChanged");
}

#[test]
fn quirk_03_the_room_update_command_may_lack_after() {
    assert_twins("Room.CallbackAfterUpdateRoomInfo", "Room.CallbackUpdateRoomInfo");
}

#[test]
fn quirk_04_live_recordings_may_have_the_follow_prefix() {
    let name = "CallbackAfterCloudRecordingChanged";
    assert_twins(&format!("Live.{name}"), &format!("Follow.{name}"));
}

#[test]
fn quirk_05_one_seat_command_serves_conferences_and_live_rooms() {
    let conference = fixture!("mic/seat_info_changed_room");
    let live = fixture!("mic/seat_info_changed_live");
    assert_eq!((conference.family, conference.operator.as_deref()), (Family::Mic, Some("bob")));
    assert_eq!((live.family, live.operator.as_deref()), (Family::Mic, None));
    assert_eq!(typed!(conference, Mic::SeatInfoChanged).operator_account, Some("bob".into()));
    assert_eq!(typed!(live, Mic::SeatInfoChanged).operator_account, None);
}

#[test]
fn quirk_06_query_keys_come_in_several_cases_and_names() {
    for query in [
        "SdkAppid=1400000001&CallbackCommand=#&contenttype=json&OptPlatform=Web",
        "SdkAppId=1400000001&WebhookCommand=#&contenttype=JSON&OPTPLATFORM=Web",
        "SDKAppID=1400000001&callbackcommand=#&ContentType=JSON&OptPlatform=Web",
        "sdkappid=1400000001&command=#&contenttype=json&optplatform=Web",
    ] {
        let event = decode(&query.replace('#', DESTROY_ROOM), r#"{"RoomId":"weekly-review"}"#);
        assert_eq!((&*event.command, event.platform.as_deref()), (DESTROY_ROOM, Some("Web")));
        assert_eq!(typed!(event, Room::DestroyRoom).room_id, Some("weekly-review".into()));
    }
}

#[test]
fn quirk_07_one_platform_has_several_spellings() {
    let read = |spelling: &str| {
        let query = format!("{APP}&OptPlatform={spelling}");
        assert_eq!(decode(&query, "{}").platform.as_deref(), Some(spelling));
        Query::parse(&query).platform_known()
    };
    for (spellings, wanted) in [
        ("iOS|IOS", Platform::Ios),
        ("Mac|macOS|MacOS", Platform::Mac),
        ("RESTAPI|rest_api", Platform::RestApi),
        ("miniProgram", Platform::MiniProgram),
    ] {
        let same = |spelling| read(spelling) == Some(Known::Value(wanted));
        assert!(spellings.split('|').all(same), "{spellings}");
    }
    assert_eq!(read("Harmony_OS"), Some(Known::Other("Harmony_OS".into())));
}

#[test]
fn quirk_08_the_administrators_op_type_is_not_the_battles() {
    let both = r#""opType":"delete","OpType":1"#;
    let admin = typed!(told("Live.CallbackAfterModifyAdmin", both), Live::ModifyAdmin);
    assert_eq!(admin.op_type, Some(Known::Value(AdminChange::Delete)));
    let battle = typed!(told("Live.CallbackAfterEndBattle", both), Live::EndBattle);
    assert_eq!(battle.op_type, Some(Known::Value(BattleEnd::OwnersLeft)));
}

#[test]
fn quirk_09_one_action_in_a_call_has_several_spellings() {
    let read = |spelling: &str| {
        let members = format!(r#""ChangedUserList":[{{"ActionType":"{spelling}"}}]"#);
        let event = told("Call.CallbackAfterMemberChanged", &members);
        let body = typed!(event, Call::MemberChanged);
        body.changed_user_list.unwrap().remove(0).action_type
    };
    for (spellings, wanted) in [
        ("Accept|Answer", ActionType::Accept),
        ("Reject", ActionType::Reject),
        ("NotAnswer", ActionType::NotAnswer),
        ("Hangup|HangUp|Hang Up", ActionType::HangUp),
        ("Join", ActionType::Join),
        ("Offline", ActionType::Offline),
        ("Invite|Invited", ActionType::Invite),
        ("Cancel_Invite|Canncel_Invite", ActionType::CancelInvite),
    ] {
        let same = |spelling| read(spelling) == Some(Known::Value(wanted));
        assert!(spellings.split('|').all(same), "{spellings}");
    }
    assert_eq!(read("Hold_On"), Some(Known::Other("Hold_On".into())));
}

#[test]
fn quirk_10_the_medium_of_a_call_has_two_names() {
    for name in ["CallMediaType", "MediaType"] {
        let start = format!(r#""CallInfo":{{"{name}":"Audio"}}"#);
        let info = typed!(told("Call.CallbackAfterStartCall", &start), Call::StartCall).call_info;
        assert_eq!(info.unwrap().medium(), Some(&Known::Value(MediaType::Audio)), "{name}");
        let end = format!(r#""CallRecord":{{"{name}":"Video"}}"#);
        let record = typed!(told("Call.CallbackAfterEndCall", &end), Call::EndCall).call_record;
        assert_eq!(record.unwrap().medium(), Some(&Known::Value(MediaType::Video)), "{name}");
    }
}

#[test]
fn quirk_11_room_types_of_tables_and_samples_differ() {
    for (spelling, wanted) in [
        ("Meeting", Some(Known::Value(RoomType::Meeting))),
        ("conference", Some(Known::Value(RoomType::Meeting))),
        ("Live", Some(Known::Value(RoomType::Live))),
    ] {
        let info = format!(r#""RoomInfo":{{"RoomType":"{spelling}"}}"#);
        let room = typed!(told("Room.CallbackAfterCreateRoom", &info), Room::CreateRoom);
        assert_eq!(room.room_info.unwrap().room_type, wanted, "{spelling}");
        let live = typed!(told("Live.CallbackAfterCreateRoom", &info), Live::CreateRoom);
        assert_eq!(live.room_info.unwrap().room_type, wanted, "{spelling}");
    }
}

/// `#` stands for an id: as an integer it is read as the same text, with every digit.
fn assert_integer_is_text((command, members): (&str, &str), digits: &str) -> Event {
    let quoted = format!("\"{digits}\"");
    let text = told(command, &members.replace('#', &quoted));
    let integer = told(command, &members.replace('#', digits));
    assert_eq!(integer.decode_error, None, "{command}");
    assert_eq!((&integer.body, &integer.operator), (&text.body, &text.operator), "{command}");
    let read = serde_json::to_string(&integer.body).expect("JSON");
    assert_eq!(read.matches(&quoted).count(), members.matches('#').count(), "{command}: {read}");
    integer
}

#[test]
fn quirk_12_account_ids_may_be_integers_beyond_2_53() {
    let cases = [
        ("Call.CallbackAfterStartCall", r#""UserList":[{"User_Account":#,"Status":"Calling"}]"#),
        ("Call.CallbackAfterEndCall", r#""CallRecord":{"CalleeList_Account":[#]}"#),
        ("Room.CallbackAfterMemberEnter", r#""Operator_Account":#,"MemberList_Account":[#,#]"#),
        ("Live.CallbackAfterMemberStateChanged", r#""MemberList":[{"Member_Account":#}]"#),
        ("Live.CallbackAfterModifyAdmin", r#""Operator_Account":#,"Admin_Account":[#]"#),
        ("Live.CallbackAfterEndBattle", r#""FromRoomInfo":{"Owner_Account":#}"#),
        ("Mic.CallbackAfterSeatInfoChanged", r#""SeatList":[{"Member_Account":#}]"#),
        ("Follow.CallbackAfterFollowAdd", r#""From_Account":#,"FollowList":[{"To_Account":#}]"#),
    ];
    // 2^53 + 1 is the first that a double cannot hold; then a sample's, and the end of 64 bits.
    for digits in ["9007199254740993", "144115212830834855", "18446744073709551615"] {
        let events = cases.map(|case| assert_integer_is_text(case, digits));
        assert_eq!(events[0].operator.as_deref(), Some(digits));
    }
}

#[test]
fn quirk_13_room_ids_may_be_integers() {
    for case in [
        ("Call.CallbackAfterStartCall", r#""CallInfo":{"RoomId":#}"#),
        ("Call.CallbackAfterEndCall", r#""CallRecord":{"RoomId":#}"#),
        ("Call.CallbackAfterRecordChanged", r#""Callback":{"EventInfo":{"RoomId":#}}"#),
        ("Room.CallbackAfterDestroyRoom", r#""RoomId":#"#),
        ("Live.CallbackAfterDestroyRoom", r#""RoomId":#,"RoomInfo":{"RoomId":#}"#),
        ("Live.CallbackAfterCloudRecordingChanged", r#""EventInfo":{"RoomId":#}"#),
        ("Live.CallbackAfterCreateBattle", r#""FromRoomId":#,"ToRoomIdList":[#]"#),
        ("Group.CallbackAfterSendMsg", r#""GroupId":#"#),
    ] {
        let event = assert_integer_is_text(case, "1280440017");
        assert_eq!(event.room_id.as_deref(), Some("1280440017"), "{case:?}");
    }
}

#[test]
fn quirk_14_the_events_time_has_many_places_and_forms() {
    const S: UnixMillis = UnixMillis(1_768_248_361_000);
    const MS: UnixMillis = UnixMillis(1_768_248_361_480);
    for (command, members, time) in [
        ("Group.CallbackAfterSendMsg", r#""MsgTime":$S,"EventTime":"$MS""#, MS),
        ("Group.CallbackBeforeSendMsg", r#""EventTime":$MS"#, MS),
        ("Live.CallbackBeforeSendGift", r#""GiftWater":{"Time":$S}"#, S),
        ("Live.CallbackAfterCloudRecordingChanged", r#""EventInfo":{"EventMsTs":$MS}"#, MS),
        ("Live.CallbackAfterCreateRoom", r#""RoomInfo":{"CreateTime":$S}"#, S),
        ("Live.CallbackAfterCreateRoom", r#""RoomInfo":{"CreateTime":$S,"EventTime":$MS}"#, MS),
        ("Mic.CallbackAfterSeatInfoChanged", r#""EventTime":$MS"#, MS),
        ("Mic.CallbackAfterSeatInfoChanged", r#""RoomId":"weekly-review""#, RECEIVED),
        ("Push.OfflinePush", r#""Events":[{"EventTime":$S},{"EventTime":1}]"#, S),
        ("call_end", r#""EventTime":$S"#, S),
        // A digit is missing in this sample.
        ("call_end", r#""EventTime":170485688"#, RECEIVED),
    ] {
        let sent = members.replace("$MS", "1768248361480").replace("$S", "1768248361");
        let event = told(command, &sent);
        assert_eq!((event.event_time, event.timed), (time, time != RECEIVED), "{command} {sent}");
        assert_eq!((event_id::time_of(event.id), event.decode_error), (time, None), "{sent}");
    }
}

#[test]
fn quirk_15_booleans_may_be_text() {
    for (sent, wanted) in [(r#""false""#, false), (r#""true""#, true), ("true", true)] {
        let members = format!(r#""RoomInfo":{{"IsCloudRecordingDisabled":{sent}}}"#);
        let body = typed!(told("Room.CallbackAfterUpdateRoomInfo", &members), Room::UpdateRoomInfo);
        assert_eq!(body.room_info.unwrap().is_cloud_recording_disabled, Some(Flag(wanted)));
    }
}

#[test]
fn quirk_16_values_may_have_the_type_of_the_pages_table() {
    let start = |room: &str| {
        let event = told("Live.CallbackAfterStartBattle", &format!(r#""FromRoomInfo":{room}"#));
        (event.room_id.clone(), typed!(event, Live::StartBattle).from_room_info.unwrap())
    };
    for object in [r#"{"RoomId":"pk-1"}"#, r#""{\"RoomId\":\"pk-1\"}""#] {
        let (found, room) = start(object);
        assert_eq!(found.as_deref(), Some("pk-1"), "{object}");
        assert_eq!(room.value().unwrap().room_id, Some("pk-1".into()), "{object}");
    }
    assert_eq!(start(r#""pk-1""#), (None, Nested::Text("pk-1".to_owned())));
    for (current, most) in [("350", "500"), (r#""350""#, "[500]"), (r#""350""#, r#"["500"]"#)] {
        let members = format!(r#""CurRoomCount":{current},"MaxRoomCount":{most}"#);
        let event = told("Live.CallbackAfterCreateRoomReachingThreshold", &members);
        let body = typed!(event, Live::CreateRoomReachingThreshold);
        assert_eq!(body.cur_room_count, Some(Count(350)), "{members}");
        assert_eq!(body.max_room_count, Some(Many(vec![Count(500)])), "{members}");
    }
    let record = typed!(fixture!("call/end_call_result_integer"), Call::EndCall).call_record;
    assert_eq!(record.unwrap().call_result, Some(Known::Other("4".to_owned())));
    for text in [r#"["some words"]"#, r#""some words""#] {
        let event = told("ContentCallback.ResultNotify", &format!(r#""TextContent":{text}"#));
        assert_eq!((event.body, event.decode_error), (Body::Untyped, None), "{text}");
    }
}

#[test]
fn quirk_17_milliseconds_and_seconds_mix_in_one_body() {
    let event = fixture!("call/end_call");
    assert_eq!(event.event_time, UnixMillis(1_740_464_284_512));
    let record = typed!(event, Call::EndCall).call_record.unwrap();
    assert_eq!(record.end_time, Some(Seconds(1_740_464_284)));
    let event = fixture!("live/end_battle");
    assert_eq!(event.event_time, UnixMillis(1_771_614_070_119));
    let body = typed!(event, Live::EndBattle);
    assert_eq!(body.duration, Some(Millis(60_000)));
    assert_eq!(body.end_time, Some(Seconds(1_771_614_069)));
    let event = fixture!("live/before_send_gift");
    assert_eq!(event.event_time, UnixMillis(1_768_251_017_000));
    let gift = typed!(event, Live::BeforeSendGift).gift_water;
    assert_eq!(gift.unwrap().time, Some(Seconds(1_768_251_017)));
}

#[test]
fn quirk_18_calls_number_the_kinds_of_room_ids_from_1() {
    for (sent, wanted) in [
        ("1", Known::Value(RoomIdType::Numeric)),
        ("2", Known::Value(RoomIdType::Text)),
        // A number in other services, where 1 is a text. Here it means nothing, and is not guessed at.
        ("0", Known::Other("0".to_owned())),
    ] {
        let info = format!(r#""CallInfo":{{"RoomIdType":{sent}}}"#);
        let info = typed!(told("Call.CallbackAfterStartCall", &info), Call::StartCall).call_info;
        assert_eq!(info.unwrap().room_id_type, Some(wanted), "{sent}");
    }
}

#[test]
fn quirk_19_event_type_is_text_in_live_and_a_number_elsewhere() {
    let body = typed!(fixture!("live/destroy_room_captured"), Live::DestroyRoom);
    assert_eq!(body.event_type, Some(Known::Value(DestroyCause::BySystem)));
    let body = typed!(fixture!("live/member_state_changed"), Live::MemberStateChanged);
    assert_eq!(body.event_type, Some(Known::Value(Presence::Online)));
    assert_eq!(recording(fixture!("live/cloud_recording_changed")).event_type, Some(Count(305)));
    assert_eq!(recording(fixture!("call/record_changed_vod")).event_type, Some(Count(311)));
    let event = told("Live.CallbackAfterCloudRecordingChanged", r#""EventType":"DestroyByUser""#);
    assert!(event.decode_error.unwrap().contains("EventType"));
}

/// A recorder's event in both of the commands that carry one.
fn recorded(top: &str, info: &str) -> [Event; 2] {
    let event = format!(r#"{top}"EventType":310,"EventInfo":{{{info}}}"#);
    [
        told("Live.CallbackAfterCloudRecordingChanged", &event),
        told("Call.CallbackAfterRecordChanged", &format!(r#""Callback":{{{event}}}"#)),
    ]
}

#[test]
fn quirk_20_recording_times_and_payloads_have_several_forms() {
    const S: i64 = 1_740_464_136;
    const MS: i64 = S * 1000 + 241;
    for (top, info, event_time, callback_ts, event_ms_ts, event_ts) in [
        (r#""CallbackTs":1,"#, r#""EventMsTs":1740464136241"#, MS, Some(1), Some(MS), None),
        (r#""CallbackMsTs":1,"#, r#""EventTsMs":"1740464136241""#, MS, Some(1), Some(MS), None),
        (r#""CallbackTs":1740464136241,"#, r#""EventTs":7"#, MS, Some(MS), None, Some(7)),
        (r#""CallbackMsTs":1740464136241,"#, r#""EventTs":"7""#, MS, Some(MS), None, Some(7)),
        ("", r#""EventTs":"1740464136""#, S * 1000, None, None, Some(S)),
    ] {
        for event in recorded(top, info) {
            assert_eq!(event.event_time, UnixMillis(event_time), "{top} {info}");
            let body = recording(event);
            assert_eq!(body.sent_at(), callback_ts.map(Millis), "{top} {info}");
            let info = body.event_info.unwrap();
            assert_eq!(info.happened_at(), event_ms_ts.map(Millis), "{top}");
            assert_eq!((info.event_ts, info.payload), (event_ts.map(Seconds), None), "{top}");
        }
    }
    for (files, detail) in [(r#""a.m3u8""#, "{}"), (r#"["a.m3u8"]"#, "[{}]")] {
        let payload = format!(r#""Payload":{{"FileList":{files},"CheckDetail":{detail}}}"#);
        for event in recorded("", &payload) {
            let payload = recording(event).event_info.unwrap().payload.unwrap();
            assert_eq!(payload.file_list, Some(Many(vec!["a.m3u8".to_owned()])), "{files}");
        }
    }
}

#[test]
fn quirk_21_flat_call_bodies_decode_as_nested_ones() {
    for (command, object, members) in [
        ("Call.CallbackAfterStartCall", "CallInfo", r#""MediaType":"Audio","RoomIdType":2"#),
        ("Call.CallbackAfterEndCall", "CallRecord", r#""Caller_Account":"bob","AcceptTime":0"#),
    ] {
        let members = format!(r#"{members},"CallId":"c","RoomId":"r""#);
        let nested = told(command, &format!(r#""{object}":{{{members}}},"UserList":[]"#));
        let flat = told(command, &format!(r#"{members},"UserList":[]"#));
        assert_eq!((flat.body, flat.operator), (nested.body, nested.operator), "{command}");
        let subject = (flat.call_id.as_deref(), flat.room_id.as_deref(), flat.decode_error);
        assert_eq!(subject, (Some("c"), Some("r"), None), "{command}");
    }
}

#[test]
fn quirk_22_a_calls_id_stands_in_three_places() {
    for (command, members) in [
        ("Call.CallbackAfterStartCall", r#""CallInfo":{"CallId":"c-1"}"#),
        ("Call.CallbackAfterEndCall", r#""CallRecord":{"CallId":"c-1"}"#),
        ("Call.CallbackAfterMemberChanged", r#""CallId":"c-1""#),
        ("Call.CallbackAfterRecordChanged", r#""CallId":"c-1""#),
    ] {
        let event = told(command, members);
        assert_eq!(event.call_id.as_deref(), Some("c-1"), "{command}");
        assert!(serde_json::to_string(&event.body).unwrap().contains(r#""CallId":"c-1""#));
    }
}

#[test]
fn quirk_23_lists_of_users_hold_texts_or_objects() {
    let body = typed!(fixture!("room/member_enter"), Room::MemberEnter);
    assert_eq!(body.member_list_account, Some(vec!["bob".into(), "carol".into()]));
    let body = typed!(fixture!("live/member_state_changed"), Live::MemberStateChanged);
    let member = |id: &str| Member { member_account: Some(id.into()) };
    assert_eq!(body.member_list, Some(vec![member("bob"), member("carol")]));
    let body = typed!(fixture!("follow/follow_add"), Follow::FollowAdd);
    let followed = |id: &str| Followed { to_account: Some(id.into()) };
    assert_eq!(body.follow_list, Some(vec![followed("alice"), followed("bob")]));
    let body = typed!(fixture!("follow/follow_delete"), Follow::FollowDelete);
    assert_eq!(body.to_account, Some(Many(vec!["alice".into(), "bob".into()])));
}

#[test]
fn quirk_24_an_empty_seat_has_an_empty_account_or_none() {
    let seats = r#""SeatList":[{"Member_Account":""},{"Index":4},{"Member_Account":7}]"#;
    let event = told("Mic.CallbackAfterSeatInfoChanged", seats);
    let seats = typed!(event, Mic::SeatInfoChanged).seat_list.unwrap();
    let members: Vec<_> = seats.iter().map(Seat::member).collect();
    assert_eq!(members, [None, None, Some(&"7".into())]);
}

/// Puts a member that no page names into every object, but for those whose members are the sender's own.
fn grow(value: &mut Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(grow),
        Value::Object(members) => {
            let known = members.iter_mut().filter(|(key, _)| *key != "MsgContent");
            known.for_each(|(_, member)| grow(member));
            members.insert("Tomorrow".to_owned(), json!({ "Level": [1.5, null] }));
        }
        _ => {}
    }
}

#[test]
fn quirk_25_bodies_grow_and_shrink_over_time() {
    let of_chat = |command: &&Command| command.is_typed() && command.event_type.is_none();
    for command in Command::all().filter(of_chat) {
        let sample = Delivery::sample(command, AppId::parse("1400000001").unwrap());
        let mut body: Value = serde_json::from_slice(&sample.bytes().unwrap()).unwrap();
        let today = decode(&sample.query, &body.to_string());
        grow(&mut body);
        let grown = decode(&sample.query, &body.to_string());
        assert_eq!((&grown.body, &grown.decode_error), (&today.body, &None), "{}", command.name);
        let shrunk = decode(&sample.query, "{}");
        assert_eq!((&*shrunk.command, shrunk.decode_error), (command.name, None));
    }
}

#[test]
fn quirk_26_a_body_without_a_command_is_dispatched_on_the_query() {
    for (event, command, family) in [
        (fixture!("chat/content_result_notify"), "ContentCallback.ResultNotify", Family::Content),
        (fixture!("chat/offline_push"), "Push.OfflinePush", Family::Push),
        (fixture!("unknown/legacy_call_end"), "call_end", Family::Unknown),
        (fixture!("unknown/legacy_update_room"), "updateRoomInfo", Family::Unknown),
    ] {
        assert_eq!((&*event.command, event.family, event.command_sent), (command, family, None));
        assert_eq!((event.body, event.decode_error), (Body::Untyped, None), "{command}");
    }
}

#[test]
fn quirk_27_a_sample_with_comments_or_wrong_commas_is_kept_raw() {
    for sample in [
        "{\n  \"RoomId\": \"a\", // which\n  \"EventTime\": 1737532800000\n}\n",
        "{\"RoomId\": \"a\" \"EventTime\": 1737532800000}",
        "{\"RoomId\": \"a\", \"EventTime\": 1737532800000,}",
    ] {
        let event = decode(&format!("{APP}&CallbackCommand={DESTROY_ROOM}"), sample);
        assert_eq!(event.payload, Payload::Raw(sample.into()));
        assert_eq!((&*event.command, event.body), (DESTROY_ROOM, Body::Undecoded), "{sample}");
        assert!(event.decode_error.unwrap().contains("not JSON"), "{sample}");
        assert_eq!((event.event_time, event.timed), (RECEIVED, false), "{sample}");
    }
}

#[test]
fn quirk_28_lists_may_hold_the_caller_and_repeat() {
    let record = typed!(fixture!("call/end_call"), Call::EndCall).call_record.unwrap();
    assert_eq!(record.caller_account, Some("alice".into()));
    assert_eq!(record.callee_list_account, Some(vec!["alice".into(), "bob".into()]));
    let body = typed!(fixture!("room/create_room_scheduled"), Room::CreateRoom);
    let invited = ["bob", "carol", "bob", "alice", "carol"].map(Into::into);
    assert_eq!(body.schedule_invitee_list_account, Some(invited.to_vec()));
}

#[test]
fn quirk_29_a_repeat_has_the_same_id_and_another_body_another() {
    let first = told(DESTROY_ROOM, r#""RoomId":"weekly-review","EventTime":1737367277300"#);
    let body = first.payload.as_bytes();
    let later = RECEIVED.plus(Duration::from_hours(48));
    assert_eq!(decode_at(later, &format!("{APP}&RequestTime=2"), body).id, first.id);
    let mut ids = HashSet::from([first.id]);
    for index in 0..body.len() {
        let mut other = body.to_vec();
        other[index] ^= 1;
        assert!(ids.insert(decode_at(RECEIVED, APP, &other).id), "byte {index}");
    }
    // Never repeated: what asks. And without a time, two equal bodies are two events.
    for (command, members) in [
        ("Live.CallbackBeforeSendGift", r#""GiftWater":{"Time":1768251017}"#),
        ("Group.CallbackBeforeSendMsg", r#""EventTime":1737367277300"#),
        (DESTROY_ROOM, r#""RoomId":"weekly-review""#),
    ] {
        assert_ne!(told(command, members).id, told(command, members).id, "{command}");
    }
}

#[test]
fn quirk_30_one_answer_allows_every_before_callback() {
    assert_eq!(response::OK, r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#);
    assert_eq!(told("Live.CallbackBeforeSendGift", r#""GiftWater":{}"#).kind, Kind::Before);
    assert_eq!(told("Group.CallbackBeforeSendMsg", r#""GroupId":"g""#).kind, Kind::Before);
    assert_eq!(told("Live.CallbackAfterCreateBattle", r#""BattleId":"b""#).kind, Kind::After);
    assert!(Command::find("Live.CallbackBeforeCallBackNotBlock").is_none(), "never delivered");
}

fn refusal(token: &str, query: &str) -> Option<&'static str> {
    let now = UnixMillis(1_669_872_112_000);
    let verified = apps(&[token]).verify(Query::parse(&format!("{APP}&{query}")), now);
    verified.err().map(Rejection::reason)
}

#[test]
fn quirk_31_the_sign_of_engine_events_does_not_sign_callbacks() {
    // base64 of the HMAC over the documented body with the key 123654, and the same 32 bytes in hex.
    let base64 = "kkoFeO3Oh2ZHnjtg8tEAQhtXK16%2FKI05W3BQff8IvGA%3D";
    let hex = "924a0578edce8766479e3b60f2d100421b572b5ebf288d395b70507dff08bc60";
    for sign in [base64, hex] {
        let signed = format!("Sign={sign}&RequestTime=1669872112");
        assert_eq!(refusal("123654", &signed), Some("sign_wrong"), "{sign}");
    }
}

#[test]
fn quirk_32_the_older_pages_token_lacks_two_letters() {
    let documented = "17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061";
    let misprinted = "e78a85473bed2cdc8d6fa8c4d5a4ba4735fd64156e15a99516b9890293e135de";
    assert_eq!(verify::sign(&"xxxxyyyy".into(), "1669872112"), documented);
    assert_eq!(verify::sign(&"xxxyyy".into(), "1669872112"), misprinted);
    let query = format!("Sign={documented}&RequestTime=1669872112");
    assert_eq!(refusal("xxxxyyyy", &query), None);
    assert_eq!(refusal("xxxyyy", &query), Some("sign_wrong"));
}
