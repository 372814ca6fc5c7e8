//! Projections of the `Live.*` commands except battles and recordings: `room_changes`, `room_marks`, `metadata_marks`
//! and `gifts`.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::body::room::{presence, room_change};
use crate::change::{Change, Gift, MetadataMark, RoomChange, RoomChangeKind, RoomFamily};
use crate::session::bounds;
use crate::session::bounds::{
    CATEGORIES_MAX, METADATA_BYTES_MAX, RECEIVERS_MAX, TEXT_BYTES_MAX, json_bytes,
};
use crate::value::{amount, first, json, moment, text, word};
use protocol::Event;
use protocol::body::live::{
    AdminChange, BeforeSendGift, ChangeOwner, CreateRoom, DelMetadata, DestroyCause, DestroyRoom,
    LiveRoomInfo, MemberStateChanged, ModifyAdmin, Presence, PresenceCause, SetMetadata, Statistic,
    UpdateRoomInfo,
};
use protocol::json::scalar::{AccountId, Count, Known};

/// Properties of a live room without a column of their own.
#[derive(Serialize)]
struct Properties<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    take_seat_mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_seat_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_message_disabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_public_visible: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_unlimited_room_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<Vec<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activity_status: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    view_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cover_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    background_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_info: Option<&'a str>,
    /// Names of the properties that were cut to their bound.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cut: Vec<&'static str>,
}

/// The vendor's statistic of a session, with our names.
#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the vendor's names")]
struct Totals {
    total_viewers: Option<i64>,
    total_gifts_sent: Option<i64>,
    total_gift_coins: Option<i64>,
    total_unique_gift_senders: Option<i64>,
    total_likes_received: Option<i64>,
}

/// A live session begins.
pub(crate) fn create_room(event: &Event, body: &CreateRoom, changes: &mut Vec<Change>) {
    let by = body.operator_account.as_ref();
    let Some(mut change) = room_change(event, RoomFamily::Live, RoomChangeKind::Create, by) else {
        return;
    };
    body.room_info.iter().for_each(|info| describe(&mut change, info, event));
    changes.push(Change::Room(Box::new(change)));
}

/// A live session ends. The body may have the room's final properties and the vendor's statistic.
pub(crate) fn destroy_room(event: &Event, body: &DestroyRoom, changes: &mut Vec<Change>) {
    let by = body.operator_account.as_ref();
    let Some(mut change) = room_change(event, RoomFamily::Live, RoomChangeKind::Destroy, by) else {
        return;
    };
    body.room_info.iter().for_each(|info| describe(&mut change, info, event));
    change.cause = match body.event_type.as_ref().and_then(Known::value) {
        Some(DestroyCause::ByUser) => Some("user".into()),
        Some(DestroyCause::BySystem) => Some("system".into()),
        None => word(body.event_type.as_ref()),
    };
    change.statistic = body.statistic.as_ref().and_then(|statistic| json(&totals(statistic)));
    changes.push(Change::Room(Box::new(change)));
}

fn totals(statistic: &Statistic) -> Totals {
    let number = |count: Option<Count>| count.map(|count| amount(count.0));
    Totals {
        total_viewers: number(statistic.total_viewers),
        total_gifts_sent: number(statistic.total_gifts_sent),
        total_gift_coins: number(statistic.total_gift_coins),
        total_unique_gift_senders: number(statistic.total_unique_gift_senders),
        total_likes_received: number(statistic.total_likes_received),
    }
}

/// Properties changed.
pub(crate) fn update_room_info(event: &Event, body: &UpdateRoomInfo, changes: &mut Vec<Change>) {
    let by = body.operator_account.as_ref();
    let Some(mut change) = room_change(event, RoomFamily::Live, RoomChangeKind::Update, by) else {
        return;
    };
    body.room_info.iter().for_each(|info| describe(&mut change, info, event));
    changes.push(Change::Room(Box::new(change)));
}

/// The owner changed.
pub(crate) fn change_owner(event: &Event, body: &ChangeOwner, changes: &mut Vec<Change>) {
    let by = body.operator_account.as_ref();
    let Some(mut change) = room_change(event, RoomFamily::Live, RoomChangeKind::Owner, by) else {
        return;
    };
    change.owner = body.current_owner_account.as_ref().and_then(|owner| text(owner.as_str()));
    changes.push(Change::Room(Box::new(change)));
}

/// Administrators were added or removed: one change for each.
pub(crate) fn modify_admin(event: &Event, body: &ModifyAdmin, changes: &mut Vec<Change>) {
    let kind = match body.op_type.as_ref().and_then(Known::value) {
        Some(AdminChange::Add) => RoomChangeKind::AdminAdd,
        Some(AdminChange::Delete) => RoomChangeKind::AdminDelete,
        // An operation unknown to this version does not say whether administrators were added.
        None => return,
    };
    let by = body.operator_account.as_ref();
    // A repeated account counts once.
    let accounts = first(body.admin_account.iter().flat_map(|list| &list.0));
    let accounts: BTreeSet<_> = accounts.collect();
    for (ordinal, account) in (0..).zip(accounts) {
        let Some(mut change) = room_change(event, RoomFamily::Live, kind, by) else { return };
        change.ordinal = ordinal;
        change.account = text(account.as_str());
        changes.push(Change::Room(Box::new(change)));
    }
}

/// Viewers entered or left. Two fields may name the direction: the first with a known value counts.
pub(crate) fn member_state_changed(
    event: &Event,
    body: &MemberStateChanged,
    changes: &mut Vec<Change>,
) {
    let by_cause = || match body.event_cause.as_ref()?.value()? {
        PresenceCause::Enter | PresenceCause::HeartbeatRecover => Some(true),
        PresenceCause::Leave | PresenceCause::HeartbeatInterrupt | PresenceCause::Kicked => {
            Some(false)
        }
    };
    let presence_of = |known: &Known<Presence>| known.value().map(|it| it == Presence::Online);
    let enters = body.event_type.as_ref().and_then(presence_of).or_else(by_cause);
    let Some(enters) = enters else { return };
    let members = first(body.member_list.iter().flatten());
    let mut accounts: Vec<_> =
        members.filter_map(|member| member.member_account.as_ref()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    for account in accounts {
        let Some(mut mark) = presence(event, RoomFamily::Live, account, enters) else { continue };
        mark.cause = word(body.event_cause.as_ref());
        changes.push(Change::Presence(mark));
    }
}

/// Metadata entries were set.
pub(crate) fn set_metadata(event: &Event, body: &SetMetadata, changes: &mut Vec<Change>) {
    let by = body.operator_account.as_ref();
    // Of a repeated key the last value counts.
    let mut entries = std::collections::BTreeMap::new();
    for entry in first(body.metadata.iter().flatten()) {
        let value = entry.value.as_deref().unwrap_or_default();
        let key = entry.key.as_deref().unwrap_or_default();
        entries.insert(text(key).unwrap_or_default(), value);
    }
    let mut left = METADATA_BYTES_MAX;
    for (key, value) in entries {
        let kept = bounds::beginning(value, left.min(TEXT_BYTES_MAX));
        left -= json_bytes(kept);
        let cut = (kept.len() < value.len()).then_some(true);
        let kept = kept.replace('\0', "\u{fffd}");
        changes.extend(metadata(event, key, (Some(kept), cut), by));
    }
}

/// Metadata entries were deleted.
pub(crate) fn del_metadata(event: &Event, body: &DelMetadata, changes: &mut Vec<Change>) {
    let by = body.operator_account.as_ref();
    let keys = first(body.keys.iter().flat_map(|keys| &keys.0));
    let keys: BTreeSet<_> = keys.map(|key| text(key).unwrap_or_default()).collect();
    for key in keys {
        changes.extend(metadata(event, key, (None, None), by));
    }
}

fn metadata(
    event: &Event,
    key: String,
    (value, cut): (Option<String>, Option<bool>),
    by: Option<&AccountId>,
) -> Option<Change> {
    Some(Change::Metadata(MetadataMark {
        app: event.app,
        room_id: event.room_id.clone()?,
        key,
        at: event.event_time,
        event_id: event.id,
        value,
        cut,
        by_account: by.and_then(|by| text(by.as_str())),
    }))
}

/// A gift about to be sent. The server allows every gift, so it counts as sent.
pub(crate) fn before_send_gift(event: &Event, body: &BeforeSendGift, changes: &mut Vec<Change>) {
    let (Some(room_id), Some(water)) = (&event.room_id, &body.gift_water) else { return };
    let receivers = water.to_account.as_ref();
    let receivers = receivers.map(|list| {
        let accounts = list.0.iter().filter_map(|to| text(to.as_str()));
        accounts.take(RECEIVERS_MAX).collect::<Vec<_>>()
    });
    let sender = water.from_account.as_ref().or(body.operator_account.as_ref());
    changes.push(Change::Gift(Gift {
        app: event.app,
        room_id: room_id.clone(),
        at: event.event_time,
        event_id: event.id,
        sender: sender.and_then(|from| text(from.as_str())),
        receivers: receivers.as_ref().and_then(json),
        gift_id: water.gift_id.as_ref().and_then(|id| text(id.as_str())),
        count: water.count.map(|count| amount(count.0)),
        coins: water.coins.map(|count| amount(count.0)),
    }));
}

fn describe(change: &mut RoomChange, info: &LiveRoomInfo, event: &Event) {
    change.name = info.room_name.as_deref().and_then(text);
    change.owner = info.owner_account.as_ref().and_then(|owner| text(owner.as_str()));
    change.room_type = word(info.room_type.as_ref());
    change.created_at = moment(info.create_time, event);
    change.max_members = info.max_member_count.map(|count| amount(count.0));
    change.max_seats = info.max_seat_count.map(|count| amount(count.0));
    let mut properties = bounds::Properties::default();
    change.properties = json(&Properties {
        take_seat_mode: properties
            .text("take_seat_mode", info.take_seat_mode.as_ref().map(Known::as_str)),
        is_seat_enabled: info.is_seat_enabled.map(|flag| flag.0),
        is_message_disabled: info.is_message_disabled.map(|flag| flag.0),
        is_public_visible: info.is_public_visible.map(|flag| flag.0),
        is_unlimited_room_enabled: info.is_unlimited_room_enabled.map(|flag| flag.0),
        category: info.category.as_ref().map(|list| {
            list.0.iter().map(|number| amount(number.0)).take(CATEGORIES_MAX).collect()
        }),
        activity_status: info.activity_status.map(|count| amount(count.0)),
        view_count: info.view_count.map(|count| amount(count.0)),
        cover_url: properties.text("cover_url", info.cover_url.as_deref()),
        background_url: properties.text("background_url", info.background_url.as_deref()),
        custom_info: properties.text("custom_info", info.custom_info.as_deref()),
        cut: properties.cut,
    });
}
