//! Projections of the `Room.*` commands: `room_changes` and `room_marks`.

use serde::Serialize;

use crate::change::{Change, PresenceMark, RoomChange, RoomChangeKind, RoomFamily};
use crate::session::bounds;
use crate::value::{amount, first, json, moment, text, word};
use protocol::Event;
use protocol::body::room::{
    CreateRoom, DestroyRoom, MemberEnter, MemberLeave, RoomInfo, UpdateRoomInfo,
};
use protocol::json::scalar::{AccountId, Known};

/// Properties of a conference without a column of their own. Times in s since 1970.
#[derive(Serialize)]
struct Properties<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    room_status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    take_seat_mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_seat_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_video_disabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_audio_disabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_message_disabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_screen_sharing_disabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_cloud_recording_disabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_start_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_end_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_info: Option<&'a str>,
    /// Names of the properties that were cut to their bound.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cut: Vec<&'static str>,
}

/// A conference begins.
pub(crate) fn create_room(event: &Event, body: &CreateRoom, changes: &mut Vec<Change>) {
    let by = body.operator_account.as_ref();
    let Some(mut change) = room_change(event, RoomFamily::Room, RoomChangeKind::Create, by) else {
        return;
    };
    body.room_info.iter().for_each(|info| describe(&mut change, info, event));
    changes.push(Change::Room(Box::new(change)));
}

/// A conference ends.
pub(crate) fn destroy_room(event: &Event, body: &DestroyRoom, changes: &mut Vec<Change>) {
    let by = body.operator_account.as_ref();
    let change = room_change(event, RoomFamily::Room, RoomChangeKind::Destroy, by);
    changes.extend(change.map(Box::new).map(Change::Room));
}

/// Properties changed, possibly with the owner.
pub(crate) fn update_room_info(event: &Event, body: &UpdateRoomInfo, changes: &mut Vec<Change>) {
    let by = body.operator_account.as_ref();
    let Some(mut change) = room_change(event, RoomFamily::Room, RoomChangeKind::Update, by) else {
        return;
    };
    body.room_info.iter().for_each(|info| describe(&mut change, info, event));
    changes.push(Change::Room(Box::new(change)));
}

/// Members entered.
pub(crate) fn member_enter(event: &Event, body: &MemberEnter, changes: &mut Vec<Change>) {
    let by = body.operator_account.as_ref();
    for account in accounts(body.member_list_account.as_deref(), by) {
        let Some(mut mark) = presence(event, RoomFamily::Room, account, true) else { continue };
        mark.cause = word(body.r#type.as_ref()).or_else(|| Some("enter".into()));
        mark.by_account = by.and_then(|by| text(by.as_str()));
        mark.member_count = body.member_count.map(|count| amount(count.0));
        changes.push(Change::Presence(mark));
    }
}

/// Members left, were removed, or lost their connection.
pub(crate) fn member_leave(event: &Event, body: &MemberLeave, changes: &mut Vec<Change>) {
    let by = body.operator_account.as_ref();
    for account in accounts(body.member_list_account.as_deref(), by) {
        let Some(mut mark) = presence(event, RoomFamily::Room, account, false) else { continue };
        mark.cause = word(body.r#type.as_ref()).or_else(|| Some("leave".into()));
        mark.by_account = by.and_then(|by| text(by.as_str()));
        mark.member_count = body.member_count.map(|count| amount(count.0));
        changes.push(Change::Presence(mark));
    }
}

/// The listed accounts, each once; without a list, the operator.
fn accounts<'a>(
    list: Option<&'a [AccountId]>,
    operator: Option<&'a AccountId>,
) -> Vec<&'a AccountId> {
    let mut accounts: Vec<_> = match list {
        Some(list) => first(list).collect(),
        None => operator.into_iter().collect(),
    };
    accounts.sort_unstable();
    accounts.dedup();
    accounts
}

/// A room change with its key columns only; `None` where the event names no room.
pub(crate) fn room_change(
    event: &Event,
    family: RoomFamily,
    kind: RoomChangeKind,
    by: Option<&AccountId>,
) -> Option<RoomChange> {
    Some(RoomChange {
        app: event.app,
        room_id: event.room_id.clone()?,
        at: event.event_time,
        event_id: event.id,
        ordinal: 0,
        family,
        kind,
        by_account: by.and_then(|by| text(by.as_str())),
        account: None,
        name: None,
        owner: None,
        room_type: None,
        created_at: None,
        max_members: None,
        max_seats: None,
        cause: None,
        properties: None,
        statistic: None,
    })
}

/// An enter or leave; `None` where the event names no room or the account is empty.
pub(crate) fn presence(
    event: &Event,
    family: RoomFamily,
    account: &AccountId,
    enters: bool,
) -> Option<PresenceMark> {
    Some(PresenceMark {
        app: event.app,
        room_id: event.room_id.clone()?,
        account: text(account.as_str())?,
        at: event.event_time,
        event_id: event.id,
        family,
        enters,
        cause: None,
        by_account: None,
        member_count: None,
    })
}

fn describe(change: &mut RoomChange, info: &RoomInfo, event: &Event) {
    change.name = info.room_name.as_deref().and_then(text);
    change.owner = info.owner_account.as_ref().and_then(|owner| text(owner.as_str()));
    change.room_type = word(info.room_type.as_ref());
    change.created_at = moment(info.create_time, event);
    change.max_members = info.max_member_count.map(|count| amount(count.0));
    change.max_seats = info.max_seat_count.map(|count| amount(count.0));
    let mut properties = bounds::Properties::default();
    change.properties = json(&Properties {
        room_status: properties.text("room_status", info.room_status.as_ref().map(Known::as_str)),
        take_seat_mode: properties
            .text("take_seat_mode", info.take_seat_mode.as_ref().map(Known::as_str)),
        is_seat_enabled: info.is_seat_enabled.map(|flag| flag.0),
        is_video_disabled: info.is_video_disabled.map(|flag| flag.0),
        is_audio_disabled: info.is_audio_disabled.map(|flag| flag.0),
        is_message_disabled: info.is_message_disabled.map(|flag| flag.0),
        is_screen_sharing_disabled: info.is_screen_sharing_disabled.map(|flag| flag.0),
        is_cloud_recording_disabled: info.is_cloud_recording_disabled.map(|flag| flag.0),
        schedule_start_time: info.schedule_start_time.map(|time| amount(time.0)),
        schedule_end_time: info.schedule_end_time.map(|time| amount(time.0)),
        custom_info: properties.text("custom_info", info.custom_info.as_deref()),
        cut: properties.cut,
    });
}
