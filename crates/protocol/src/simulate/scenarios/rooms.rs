//! What conferences and shows share: the sessions of one room.

use crate::simulate::rooms::{Family, Room, next_session};
use crate::simulate::script::Script;

/// Plays the sessions of one room, one after the other, with a pause of so many seconds between two.
pub(crate) fn sessions(
    script: &mut Script<'_>,
    family: Family,
    (shortest, longest): (u64, u64),
    one_session: fn(&mut Script<'_>, &Room),
) {
    let again = script.dice().chance(0.7);
    let room = script.world.rooms.take(family, script.now(), again);
    let sessions = script.world.options.sessions_max.max(1);
    let sessions = if script.dice().chance(0.3) { script.dice().place(sessions) + 1 } else { 1 };
    for session in 0..sessions {
        if session > 0 {
            let pause = script.dice().seconds(shortest, longest);
            let free = next_session(script.now());
            script.wait(pause);
            script.begin_at(free);
        }
        one_session(script, &room);
    }
    let end = script.now();
    script.world.rooms.give_back(&room, end);
}
