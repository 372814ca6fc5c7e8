//! What events change in the read models, by the handlers alone.

use protocol::{AppId, Apps, Command, Delivery, Event, Query};
use trtc_callbacks::projections::change::{CallChange, MemberChange, RoomChangeKind};
use trtc_callbacks::projections::{Change, changes};

use crate::support::{APP, NOW};

fn event(command: &str, body: &str) -> Event {
    let app = AppId::parse(APP).unwrap();
    let query = Query::parse(&format!("SdkAppid={APP}&CallbackCommand={command}"));
    let verified = Apps::new().with(app, Vec::new()).verify(query, NOW).unwrap();
    Event::decode(&verified, body.as_bytes(), NOW)
}

fn call(changes: &[Change]) -> &CallChange {
    let call = changes.iter().find_map(|change| match change {
        Change::Call(call) => Some(call),
        _ => None,
    });
    call.expect("it changes a call")
}

fn members(changes: &[Change]) -> Vec<&MemberChange> {
    let members = changes.iter().filter_map(|change| match change {
        Change::Member(member) => Some(member),
        _ => None,
    });
    members.collect()
}

#[test]
fn every_typed_command_of_a_read_model_changes_it() {
    let silent = ["Live.CallbackAfterCreateRoomReachingThreshold"];
    // No read model has screenshots of the RTC Engine.
    let silent_families = ["follow", "group", "rtc_screenshot"];
    for command in Command::all() {
        if !command.is_typed() {
            continue;
        }
        let sample = Delivery::sample(command, AppId::parse(APP).unwrap());
        let of_interest = !silent_families.contains(&command.family.as_str());
        let more = changes(&sample.event(NOW).unwrap()).len() > 1;
        assert_eq!(more, of_interest && !silent.contains(&command.name), "{}", command.name);
    }
}

#[test]
fn an_event_without_ids_is_only_counted() {
    for command in Command::all() {
        for body in ["{}", "[]", "{", r#"{"EventTime":"x"}"#] {
            let changes = changes(&event(command.name, body));
            assert!(matches!(changes.as_slice(), [Change::Count(_)]), "{} {body}", command.name);
        }
    }
}

#[test]
fn the_caller_is_in_the_call_and_the_others_are_rung() {
    let body = r#"{"CallInfo":{"CallId":"c","CallMediaType":"Video","ChatGroupId":""},"UserList":[
        {"User_Account":144115212830834855,"Status":"Calling"},{"User_Account":"bob","Status":"Waiting"}],
        "EventTime":1793534399000}"#;
    let changes = changes(&event("Call.CallbackAfterStartCall", body));
    let call = call(&changes);
    assert_eq!(call.caller.as_deref(), Some("144115212830834855"));
    assert_eq!((call.media.as_deref(), call.chat_group_id.as_deref()), (Some("video"), None));
    let [caller, rung] = members(&changes)[..] else { panic!("two members") };
    assert!(caller.is_caller && caller.joined_at.is_some() && caller.invited_at.is_none());
    assert!(!rung.is_caller && rung.joined_at.is_none() && rung.invited_at.is_some());
}

#[test]
fn a_member_who_left_is_not_present_by_the_user_list() {
    let body = r#"{"CallId":"c","UserList":[{"User_Account":"a","Status":"Calling"},
        {"User_Account":"b","Status":"Calling"}],"ChangedUserList":[
        {"User_Account":"b","ActionType":"Hang Up"}],"EventTime":1793534399000}"#;
    let changes = changes(&event("Call.CallbackAfterMemberChanged", body));
    let [here, gone] = members(&changes)[..] else { panic!("two members") };
    assert!(here.joined_at.is_some() && here.last_left_at.is_none());
    assert!(gone.joined_at.is_none() && gone.last_left_at.is_some());
    assert_eq!(gone.last_action.as_ref().unwrap().action, "hangup");
}

#[test]
fn a_call_that_never_connected_has_no_acceptance() {
    let body = r#"{"CallRecord":{"CallId":"c","Caller_Account":"a","CalleeList_Account":["a","b"],
        "CallType":"SingleCall","CallResult":"NotAnswer","StartTime":1793534300,"AcceptTime":0,
        "EndTime":1793534330},"EventTime":1793534330500}"#;
    let changes = changes(&event("Call.CallbackAfterEndCall", body));
    let call = call(&changes);
    assert_eq!(call.accept_record_at, None);
    assert_eq!(call.result.as_deref(), Some("not_answer"));
    let members = members(&changes);
    assert_eq!(members.len(), 2, "the caller stands in both lists, and is one member");
    assert!(members.iter().all(|member| member.call_ended_at.is_some()));
    assert!(members.iter().all(|member| member.joined_at.is_some() == member.is_caller));
}

#[test]
fn an_implausible_time_is_ignored() {
    for seconds in ["9223372036854775807", "-1", "0", "1"] {
        let body = format!(
            r#"{{"RoomInfo":{{"RoomId":"r","CreateTime":{seconds}}},"EventTime":1793534399000}}"#
        );
        let changes = changes(&event("Room.CallbackAfterCreateRoom", &body));
        let [Change::Count(_), Change::Room(created)] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!((created.kind, created.created_at), (RoomChangeKind::Create, None));
    }
}

#[test]
fn values_too_long_for_an_index_are_cut() {
    let long = "x".repeat(3000);
    let body = format!(
        r#"{{"RoomId":"{long}","MemberList_Account":["{long}","a\u0000b"],"EventTime":1793534399000}}"#
    );
    let changes = changes(&event("Room.CallbackAfterMemberEnter", &body));
    let marks: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Presence(mark) => Some((mark.room_id.len(), mark.account.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(marks, [(255, "a\u{fffd}b".to_owned()), (255, "x".repeat(255))]);
}
