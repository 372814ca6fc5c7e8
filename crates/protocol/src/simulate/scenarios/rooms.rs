//! What conferences and shows share: the sessions of one room.

use crate::simulate::rooms::{Family, Room, next_session};
use crate::simulate::script::Script;
use crate::time::UnixMillis;

/// Plays the sessions of one room, one after the other, with a pause of so many seconds between two. A session says when its room
/// at the RTC Engine is closed, before which the next one does not begin.
pub(crate) fn sessions(
    script: &mut Script<'_>,
    family: Family,
    (shortest, longest): (u64, u64),
    one_session: fn(&mut Script<'_>, &Room) -> UnixMillis,
) {
    let again = script.dice().chance(0.7);
    let room = script.world.rooms.take(family, script.now(), again);
    let sessions = script.world.options.sessions_max.max(1);
    let sessions = if script.dice().chance(0.3) { script.dice().place(sessions) + 1 } else { 1 };
    let mut closed = UnixMillis::default();
    for session in 0..sessions {
        if session > 0 {
            let pause = script.dice().seconds(shortest, longest);
            let free = next_session(script.now().max(closed));
            script.wait(pause);
            script.begin_at(free);
        }
        closed = one_session(script, &room);
    }
    let end = script.now().max(closed);
    script.world.rooms.give_back(&room, end);
}
