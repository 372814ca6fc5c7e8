//! Projections of the three `Live.*` commands about battles: `battle_marks`, one row for each room.

use std::collections::BTreeMap;

use crate::change::{BattleMark, Change};
use crate::value::{amount, first, moment, text, word};
use protocol::Event;
use protocol::body::battle::{BattleEnd, BattleRoom, CreateBattle, EndBattle, StartBattle};
use protocol::json::forms::Nested;
use protocol::json::scalar::{BattleId, Known};

/// A battle was proposed. It has not begun yet.
pub(crate) fn create_battle(event: &Event, body: &CreateBattle, changes: &mut Vec<Change>) {
    let Some(mut mark) = mark(event, body.battle_id.as_ref(), "create") else { return };
    mark.duration_ms = body.duration.map(|length| amount(length.0));
    let room = |room_id: &protocol::json::scalar::RoomId| BattleRoom {
        room_id: Some(room_id.clone()),
        ..BattleRoom::default()
    };
    let from = body.from_room_id.as_ref().map(room);
    let to: Vec<_> =
        first(body.to_room_id_list.iter().flat_map(|list| &list.0)).map(room).collect();
    push(&mark, from.as_ref(), &to, changes);
}

/// The battle began.
pub(crate) fn start_battle(event: &Event, body: &StartBattle, changes: &mut Vec<Change>) {
    let Some(mut mark) = mark(event, body.battle_id.as_ref(), "start") else { return };
    mark.duration_ms = body.duration.map(|length| amount(length.0));
    mark.created_at = moment(body.create_time, event);
    mark.started_at = moment(body.start_time, event);
    let from = body.from_room_info.as_ref().and_then(Nested::value);
    push(&mark, from, body.to_room_list.as_deref().unwrap_or_default(), changes);
}

/// The battle ended, or the proposal was not accepted.
pub(crate) fn end_battle(event: &Event, body: &EndBattle, changes: &mut Vec<Change>) {
    let Some(mut mark) = mark(event, body.battle_id.as_ref(), "end") else { return };
    mark.duration_ms = body.duration.map(|length| amount(length.0));
    mark.created_at = moment(body.create_time, event);
    mark.started_at = moment(body.start_time, event);
    mark.ended_at = moment(body.end_time, event);
    mark.ending = match body.op_type.as_ref().and_then(Known::value) {
        Some(BattleEnd::TimeUp) => Some("time_up".into()),
        Some(BattleEnd::OwnersLeft) => Some("owners_left".into()),
        Some(BattleEnd::NobodyJoined) => Some("nobody_joined".into()),
        None => word(body.op_type.as_ref()),
    };
    let from = body.from_room_info.as_ref().and_then(Nested::value);
    push(&mark, from, body.to_room_list.as_deref().unwrap_or_default(), changes);
}

/// The columns that the rows of all rooms share; `None` where the event has no battle id.
fn mark(event: &Event, battle_id: Option<&BattleId>, stage: &'static str) -> Option<BattleMark> {
    Some(BattleMark {
        app: event.app,
        battle_id: text(battle_id?.as_str())?,
        at: event.event_time,
        event_id: event.id,
        room_id: String::new(),
        stage,
        is_proposer: false,
        owner: None,
        score: None,
        duration_ms: None,
        created_at: None,
        started_at: None,
        ended_at: None,
        ending: None,
    })
}

/// Adds one row for each room. Where a room occurs twice, the proposing one's row wins.
fn push(
    common: &BattleMark,
    from: Option<&BattleRoom>,
    to: &[BattleRoom],
    changes: &mut Vec<Change>,
) {
    let mut marks = BTreeMap::new();
    let rooms = from.map(|room| (room, true)).into_iter();
    for (room, is_proposer) in rooms.chain(first(to).map(|room| (room, false))) {
        let Some(room_id) = room.room_id.as_ref().and_then(|id| text(id.as_str())) else {
            continue;
        };
        let mark = BattleMark {
            room_id: room_id.clone(),
            is_proposer,
            owner: room.owner_account.as_ref().and_then(|owner| text(owner.as_str())),
            score: room.score.map(|score| amount(score.0)),
            ..common.clone()
        };
        marks.entry(room_id).or_insert(mark);
    }
    changes.extend(marks.into_values().map(Change::Battle));
}
