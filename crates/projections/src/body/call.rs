//! Projections of the `Call.*` commands: `calls`, `call_members` and, for a recording, `recording_marks`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::body::recording;
use crate::change::{CallChange, Change, LastAction, MemberChange};
use crate::value::{first, moment, text, word};
use protocol::Event;
use protocol::UnixMillis;
use protocol::body::call::{
    ActionType, CallRecord, CallType, ChangedUser, EndCall, MemberChanged, RecordChanged,
    StartCall, UserStatus,
};
use protocol::json::scalar::{AccountId, Known};

/// The caller is in the call from its start; everybody else is invited.
pub(crate) fn start_call(event: &Event, body: &StartCall, changes: &mut Vec<Change>) {
    let Some(mut call) = call(event) else { return };
    if let Some(info) = &body.call_info {
        call.media = word(info.medium());
        call.chat_group_id = info.chat_group_id.as_deref().and_then(text);
        call.room_id = info.room_id.as_ref().and_then(|id| text(id.as_str()));
    }
    call.caller = body.caller().and_then(|account| text(account.as_str()));
    call.start_event_at = Some(event.event_time);
    let caller = call.caller.clone();
    changes.push(Change::Call(call));

    for user in first(body.user_list.iter().flatten()) {
        let Some(mut member) = member(event, user.user_account.as_ref()) else { continue };
        if Some(&member.account) == caller.as_ref() {
            member.is_caller = true;
            joined(&mut member, event.event_time);
        } else {
            member.invited_at = Some(event.event_time);
        }
        changes.push(Change::Member(member));
    }
}

/// The changed users' actions, and the members that are in the call afterwards.
pub(crate) fn member_changed(event: &Event, body: &MemberChanged, changes: &mut Vec<Change>) {
    let Some(mut call) = call(event) else { return };
    let mut members: BTreeMap<String, MemberChange> = BTreeMap::new();
    let mut accepted = false;
    for user in first(body.changed_user_list.iter().flatten()) {
        let Some(member) = member(event, user.user_account.as_ref()) else { continue };
        let member = members.entry(member.account.clone()).or_insert(member);
        accepted |= act(event, user, member);
    }
    let mut calling = 0;
    for user in first(body.user_list.iter().flatten()) {
        let Some(member) = member(event, user.user_account.as_ref()) else { continue };
        let status = user.status.as_ref().and_then(Known::value);
        calling += usize::from(status == Some(UserStatus::Calling));
        let member = members.entry(member.account.clone()).or_insert(member);
        match status {
            // The list is documented as the state after the change: a user who just left is not in it.
            Some(UserStatus::Calling) if member.last_left_at.is_none() => {
                joined(member, event.event_time);
            }
            Some(UserStatus::Waiting) => member.invited_at = Some(event.event_time),
            _ => {}
        }
    }
    if accepted || calling > 1 {
        call.accept_event_at = Some(event.event_time);
    }
    changes.push(Change::Call(call));
    changes.extend(members.into_values().map(Change::Member));
}

/// Applies one user's action to `member`. Returns whether the call was accepted by it.
fn act(event: &Event, user: &ChangedUser, member: &mut MemberChange) -> bool {
    let Some(action) = word(user.action_type.as_ref()) else { return false };
    let rank = match user.action_type.as_ref().and_then(Known::value) {
        Some(ActionType::Accept | ActionType::Join) => 2,
        None | Some(ActionType::Invite) => 0,
        Some(_) => 1,
    };
    let last = LastAction { at: event.event_time, rank, event_id: event.id, action };
    // No documented event has two actions of one user. The rule must not depend on earlier events, so it is
    // arbitrary.
    member.last_action = member.last_action.take().max(Some(last));
    match user.action_type.as_ref().and_then(Known::value) {
        Some(ActionType::Accept | ActionType::Join) => {
            joined(member, event.event_time);
            true
        }
        Some(ActionType::Invite) => {
            member.invited_at = Some(event.event_time);
            false
        }
        Some(
            ActionType::Reject
            | ActionType::NotAnswer
            | ActionType::HangUp
            | ActionType::Offline
            | ActionType::CancelInvite,
        ) => {
            member.last_left_at = Some(event.event_time);
            false
        }
        // An action unknown to this version does not say whether the call was accepted.
        None => false,
    }
}

/// The record of the whole call. With two members both talked from acceptance on; with more it is not known since
/// when.
pub(crate) fn end_call(event: &Event, body: &EndCall, changes: &mut Vec<Change>) {
    let Some(mut call) = call(event) else { return };
    let none = CallRecord::default();
    let record = body.call_record.as_ref().unwrap_or(&none);
    let call_type = record.call_type.as_ref();
    let single = call_type.and_then(Known::value) == Some(CallType::Single);
    call.media = word(record.medium());
    call.call_type = match call_type.and_then(Known::value) {
        Some(CallType::Single) => Some("single".into()),
        Some(CallType::Multi) => Some("multi".into()),
        None => word(call_type),
    };
    call.caller = record.caller_account.as_ref().and_then(|account| text(account.as_str()));
    call.room_id = record.room_id.as_ref().and_then(|id| text(id.as_str()));
    call.result = word(record.call_result.as_ref());
    call.start_record_at = moment(record.start_time, event);
    call.accept_record_at = moment(record.accept_time, event);
    call.end_record_at = moment(record.end_time, event);
    call.end_event_at = Some(event.event_time);
    if let Some(started) = call.start_record_at {
        call.first_at = call.first_at.min(started);
    }
    let (caller, first_at) = (call.caller.clone(), call.first_at);
    let (started, accepted) = (call.start_record_at, call.accept_record_at);
    let ended = precise(call.end_record_at, event.event_time);
    let result = call.result.clone();
    changes.push(Change::Call(call));

    let callees = first(record.callee_list_account.iter().flatten());
    let accounts = record.caller_account.iter().chain(callees);
    let mut seen = BTreeMap::new();
    for account in accounts {
        let Some(mut member) = member(event, Some(account)) else { continue };
        member.first_at = first_at;
        member.call_ended_at = Some(ended);
        member.call_result.clone_from(&result);
        if Some(&member.account) == caller.as_ref() {
            member.is_caller = true;
            joined_in(&mut member, started, ended);
        } else if single {
            joined_in(&mut member, accepted, ended);
        }
        seen.entry(member.account.clone()).or_insert(member);
    }
    changes.extend(seen.into_values().map(Change::Member));
}

/// A recorder event about this call.
pub(crate) fn record_changed(event: &Event, body: &RecordChanged, changes: &mut Vec<Change>) {
    let Some(call) = call(event) else { return };
    changes.push(Change::Call(call));
    if let Some(callback) = &body.callback {
        recording::recording(event, event.room_id.as_deref(), callback, changes);
    }
}

/// A change that holds the call's key and times only; `None` where the event names no call.
fn call(event: &Event) -> Option<CallChange> {
    Some(CallChange {
        app: event.app,
        call_id: event.call_id.clone()?,
        media: None,
        call_type: None,
        caller: None,
        chat_group_id: None,
        room_id: None,
        result: None,
        start_event_at: None,
        start_record_at: None,
        accept_event_at: None,
        accept_record_at: None,
        end_event_at: None,
        end_record_at: None,
        first_at: event.event_time,
        last_at: event.event_time,
    })
}

/// A change that holds the member's key and times only; `None` without an account.
fn member(event: &Event, account: Option<&AccountId>) -> Option<MemberChange> {
    Some(MemberChange {
        app: event.app,
        call_id: event.call_id.clone()?,
        account: text(account?.as_str())?,
        is_caller: false,
        invited_at: None,
        joined_at: None,
        last_joined_at: None,
        last_left_at: None,
        last_action: None,
        first_at: event.event_time,
        last_at: event.event_time,
        call_ended_at: None,
        call_result: None,
    })
}

fn joined(member: &mut MemberChange, at: UnixMillis) {
    member.joined_at = Some(at);
    member.last_joined_at = Some(at);
}

/// The account was in the call at some moment of this second. `joined_at`, merged to the earliest, gets the second's
/// end, so that an exact time within it wins; `last_joined_at` its beginning, so that a leave within it is later.
fn joined_in(member: &mut MemberChange, second: Option<UnixMillis>, ended: UnixMillis) {
    let by = |second: UnixMillis| second.plus(Duration::from_millis(999)).min(ended);
    member.joined_at = second.map(by);
    member.last_joined_at = second;
}

/// The event's time where it agrees with the record's, which is truncated to seconds; else the record's.
fn precise(second: Option<UnixMillis>, event: UnixMillis) -> UnixMillis {
    match second {
        Some(second) if !(second..second.plus(Duration::from_secs(2))).contains(&event) => second,
        _ => event,
    }
}
