//! What belongs to a room of the RTC Engine: the call, conference or live show that ran in it, and back.
//!
//! Nothing on the wire names the one in the other, so they are joined as they are read: by app, room id, and time. Room ids
//! are used again, and the clocks of two services differ a little.

use crate::error::StoreError;
use crate::model::read_models::{Call, Room};
use crate::model::rtc::room::RtcRoomSession;
use crate::query::filters::{CallFilter, RoomFilter};
use crate::query::page::Details;
use crate::query::rtc_rooms::RtcRoomFilter;
use crate::traits::Store;
use protocol::{AppId, UnixMillis};

/// How far apart two may be that belong together, in ms.
const APART_MS: i64 = 60_000;
/// How many of a kind belong to one at most.
pub const JOINED_MAX: usize = 20;
/// How many of one room id are looked through, those that began last before the end of what they are joined to.
const LOOKED_THROUGH: u32 = 200;

/// A time: from its begin to its end, which is not known while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lapse {
    from: UnixMillis,
    until: Option<UnixMillis>,
}

impl Lapse {
    /// Whether the two overlap, or nearly do.
    fn meets(self, other: Self) -> bool {
        self.is_within(other, APART_MS)
    }

    /// Whether so much time, in ms, is between the two at most.
    fn is_within(self, other: Self, apart: i64) -> bool {
        let begins_before_end = |one: Self, other: Self| {
            other.until.is_none_or(|until| one.from.0 <= until.0.saturating_add(apart))
        };
        begins_before_end(self, other) && begins_before_end(other, self)
    }

    /// What begins at this time or later does not meet it.
    fn bound(self) -> Option<UnixMillis> {
        self.until.map(|until| UnixMillis(until.0.saturating_add(APART_MS + 1)))
    }
}

impl RtcRoomSession {
    fn lapse(&self) -> Lapse {
        Lapse { from: self.started_at, until: self.ended_at }
    }
}

impl Call {
    fn lapse(&self) -> Lapse {
        Lapse { from: self.started_at.unwrap_or(self.first_at), until: self.ended_at }
    }
}

impl Room {
    fn lapse(&self) -> Lapse {
        Lapse { from: self.started_at, until: self.ended_at }
    }
}

/// The first of `rows` that meet a time, and whether there may be more. Those that only nearly overlap count where no other
/// does: a room id may be used again within a minute.
fn first<T>(mut rows: Vec<T>, lapse: Lapse, of: impl Fn(&T) -> Lapse) -> Details<T> {
    let apart = if rows.iter().any(|row| of(row).is_within(lapse, 0)) { 0 } else { APART_MS };
    rows.retain(|row| of(row).is_within(lapse, apart));
    let is_cut = rows.len() > JOINED_MAX;
    rows.truncate(JOINED_MAX);
    Details { rows, is_cut }
}

async fn sessions(
    store: &dyn Store,
    app: i64,
    room_id: &str,
    lapse: Lapse,
) -> Result<Details<RtcRoomSession>, StoreError> {
    let filter = RtcRoomFilter {
        app: AppId::parse(&app.to_string()),
        room_id: Some(room_id.to_owned()),
        until: lapse.bound(),
        limit: LOOKED_THROUGH,
        ..RtcRoomFilter::default()
    };
    let found = store.rtc_room_sessions(&filter).await?;
    Ok(first(found, lapse, RtcRoomSession::lapse))
}

/// The sessions of the RTC Engine's room in which a call ran, the latest first.
///
/// # Errors
///
/// What the store says.
pub async fn rtc_sessions_of_call(
    store: &dyn Store,
    call: &Call,
) -> Result<Details<RtcRoomSession>, StoreError> {
    // Before it has a room a call says 0.
    match call.room_id.as_deref() {
        None | Some("" | "0") => Ok(Details { rows: Vec::new(), is_cut: false }),
        Some(room_id) => sessions(store, call.sdk_app_id, room_id, call.lapse()).await,
    }
}

/// The sessions of the RTC Engine's room of a conference or a live show, the latest first. Such rooms are named by texts; those
/// named by numbers count where there is no other.
///
/// # Errors
///
/// What the store says.
pub async fn rtc_sessions_of_room(
    store: &dyn Store,
    room: &Room,
) -> Result<Details<RtcRoomSession>, StoreError> {
    let mut found = sessions(store, room.sdk_app_id, &room.room_id, room.lapse()).await?;
    let is_text = |session: &RtcRoomSession| session.room_id_kind == "string";
    if found.rows.iter().any(is_text) {
        found.rows.retain(is_text);
    }
    Ok(found)
}

/// What ran in a session of a room of the RTC Engine.
#[derive(Debug, Clone)]
pub struct RtcSubjects {
    /// The calls.
    pub calls: Details<Call>,
    /// The sessions of conferences and live shows.
    pub rooms: Details<Room>,
}

/// What ran in a session of a room of the RTC Engine, the latest first.
///
/// # Errors
///
/// What the store says.
pub async fn rtc_subjects(
    store: &dyn Store,
    session: &RtcRoomSession,
) -> Result<RtcSubjects, StoreError> {
    let app = AppId::parse(&session.sdk_app_id.to_string());
    let (room_id, lapse) = (Some(session.room_id.clone()), session.lapse());
    let calls = CallFilter {
        app,
        room_id: room_id.clone(),
        until: lapse.bound(),
        limit: LOOKED_THROUGH,
        ..CallFilter::default()
    };
    let calls = first(store.calls(&calls).await?, lapse, Call::lapse);
    let rooms = RoomFilter {
        app,
        room_id,
        until: lapse.bound(),
        limit: LOOKED_THROUGH,
        ..RoomFilter::default()
    };
    let mut rooms = first(store.rooms(&rooms).await?, lapse, Room::lapse);
    if session.room_id_kind != "string" && !rooms.rows.is_empty() {
        let of_text = sessions_of_text(store, session).await?;
        rooms.rows.retain(|room| !of_text.iter().any(|text| text.lapse().meets(room.lapse())));
    }
    Ok(RtcSubjects { calls, rooms })
}

/// The sessions of the room that is named by the text of the same digits.
async fn sessions_of_text(
    store: &dyn Store,
    session: &RtcRoomSession,
) -> Result<Vec<RtcRoomSession>, StoreError> {
    let filter = RtcRoomFilter {
        app: AppId::parse(&session.sdk_app_id.to_string()),
        room_id: Some(session.room_id.clone()),
        room_id_kind: Some("string".to_owned()),
        limit: LOOKED_THROUGH,
        ..RtcRoomFilter::default()
    };
    store.rtc_room_sessions(&filter).await
}

#[cfg(test)]
mod tests {
    use crate::query::rtc_joins::*;

    #[test]
    fn times_meet_that_are_a_minute_apart() {
        let lapse = |from, until: Option<i64>| Lapse {
            from: UnixMillis(from),
            until: until.map(UnixMillis),
        };
        let call = lapse(100_000, Some(200_000));
        let meeting = [
            lapse(100_000, Some(200_000)),
            lapse(0, Some(40_000)),
            lapse(260_000, Some(300_000)),
            lapse(0, None),
            lapse(260_000, None),
        ];
        assert!(meeting.iter().all(|other| call.meets(*other) && other.meets(call)));
        let apart = [lapse(0, Some(39_999)), lapse(260_001, None)];
        assert!(!apart.iter().any(|other| call.meets(*other) || other.meets(call)));
        assert_eq!(call.bound(), Some(UnixMillis(260_001)));
        // A neighbour counts only where nothing overlaps.
        let found = |rows: &[Lapse]| first(rows.to_vec(), call, |row| *row).rows;
        assert_eq!(found(&meeting), [meeting[0], meeting[3]]);
        assert_eq!(found(&meeting[1..3]), meeting[1..3]);
        assert!(found(&apart).is_empty());
    }
}
