//! Projection of the `Mic.*` command: `seat_marks`. Its body does not distinguish conferences from live rooms.

use std::collections::BTreeMap;

use crate::change::{Change, SeatMark};
use crate::value::{first, text};
use protocol::Event;
use protocol::body::mic::SeatInfoChanged;

/// The state of the listed seats after the event.
pub(crate) fn seat_info_changed(event: &Event, body: &SeatInfoChanged, changes: &mut Vec<Change>) {
    let Some(room_id) = &event.room_id else { return };
    // Of a repeated seat, which no documented event has, the last state counts.
    let mut seats = BTreeMap::new();
    for seat in first(body.seat_list.iter().flatten()) {
        let Some(index) = seat.index.and_then(|index| i32::try_from(index.0).ok()) else {
            continue;
        };
        let mark = SeatMark {
            app: event.app,
            room_id: room_id.clone(),
            seat: index,
            at: event.event_time,
            event_id: event.id,
            account: seat.member().and_then(|account| text(account.as_str())),
            is_locked: seat.is_taken_disabled.map(|flag| flag.0),
            is_video_disabled: seat.is_video_disabled.map(|flag| flag.0),
            is_audio_disabled: seat.is_audio_disabled.map(|flag| flag.0),
            by_account: body.operator_account.as_ref().and_then(|by| text(by.as_str())),
        };
        seats.insert(index, mark);
    }
    changes.extend(seats.into_values().map(Change::Seat));
}
