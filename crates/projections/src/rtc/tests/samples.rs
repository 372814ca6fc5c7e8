//! Marks for tests, of one numeric room.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::rtc::compute::{RtcRoom, compute};
use crate::rtc::mark::{Precision, RtcMark, RtcRoomKey, Track, What};
use crate::rtc::session::RtcSession;
use protocol::json::room_id::RoomIdKind;
use protocol::{AppId, Command, Delivery, Event, UnixMillis};

pub(crate) const NOW: UnixMillis = UnixMillis(1_793_534_400_000);
/// Times of marks are relative to this, in ms. A whole second.
pub(crate) const T: i64 = 1_687_770_730_000;
pub(crate) const ROOM: &str = "12345";
pub(crate) const C: Track = Track::Camera;
pub(crate) const A: Track = Track::Audio;
pub(crate) const S: Track = Track::Screen;

pub(crate) fn app() -> AppId {
    AppId::parse("1400000001").unwrap()
}

pub(crate) fn t(at: i64) -> UnixMillis {
    UnixMillis(T + at)
}

pub(crate) fn key() -> RtcRoomKey {
    RtcRoomKey { app: app(), id: ROOM.to_owned(), kind: RoomIdKind::Numeric }
}

/// An event of the RTC Engine with this body.
pub(crate) fn event(body: &Value) -> Event {
    let mut delivery = Delivery::sample(Command::of_event_type(101).unwrap(), app());
    delivery.body = RawValue::from_string(body.to_string()).ok();
    delivery.event(NOW).unwrap()
}

/// The event's id follows from the mark, as it does from an event.
pub(crate) fn identified(mark: RtcMark) -> RtcMark {
    let mut hasher = DefaultHasher::new();
    let RtcMark { at, what, user, reason, role, unique_id, room, .. } = &mark;
    (at.0, what, user, reason, role, unique_id, room).hash(&mut hasher);
    RtcMark { event_id: Uuid::from_u128(hasher.finish().into()), ..mark }
}

fn mark(what: What, user: Option<&str>, at: i64) -> RtcMark {
    identified(RtcMark {
        at: t(at),
        what,
        event_id: Uuid::nil(),
        room: key(),
        precision: Precision::Millis,
        user: user.map(str::to_owned),
        reason: None,
        role: None,
        terminal_type: None,
        user_type: None,
        unique_id: None,
        is_repaired: false,
    })
}

pub(crate) fn create(user: &str, at: i64) -> RtcMark {
    mark(What::Create, Some(user), at)
}

pub(crate) fn dismiss(at: i64) -> RtcMark {
    mark(What::Dismiss, None, at)
}

/// A voluntary enter.
pub(crate) fn enter(user: &str, at: i64) -> RtcMark {
    reason(mark(What::Enter, Some(user), at), 1)
}

/// A voluntary exit.
pub(crate) fn exit(user: &str, at: i64) -> RtcMark {
    reason(mark(What::Exit, Some(user), at), 1)
}

pub(crate) fn role(user: &str, at: i64, role: i64) -> RtcMark {
    with_role(mark(What::Role, Some(user), at), role)
}

pub(crate) fn start(track: Track, user: &str, at: i64) -> RtcMark {
    mark(What::Start(track), Some(user), at)
}

pub(crate) fn stop(track: Track, user: &str, at: i64) -> RtcMark {
    reason(mark(What::Stop(track), Some(user), at), 0)
}

pub(crate) fn reason(mark: RtcMark, reason: i64) -> RtcMark {
    identified(RtcMark { reason: Some(reason), ..mark })
}

pub(crate) fn with_role(mark: RtcMark, role: i64) -> RtcMark {
    identified(RtcMark { role: Some(role), ..mark })
}

pub(crate) fn unique(mark: RtcMark, id: i64) -> RtcMark {
    identified(RtcMark { unique_id: Some(id), ..mark })
}

/// The mark of the room named by the text of the same digits.
pub(crate) fn text(mark: RtcMark) -> RtcMark {
    let room = RtcRoomKey { kind: RoomIdKind::String, ..key() };
    identified(RtcMark { room, ..mark })
}

pub(crate) fn room(marks: &[RtcMark]) -> RtcRoom {
    compute(&key(), marks, &BTreeSet::new())
}

/// The only session of some marks.
pub(crate) fn session(marks: &[RtcMark]) -> RtcSession {
    let mut sessions = room(marks).sessions;
    assert_eq!(sessions.len(), 1, "{sessions:#?}");
    sessions.remove(0)
}
