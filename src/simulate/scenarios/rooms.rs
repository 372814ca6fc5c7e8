//! What conferences and shows share: the lives of one room.

use crate::simulate::rooms::{Family, Room, next_life};
use crate::simulate::script::Script;

/// Plays the lives of one room, one after the other, with a pause of so many seconds between two.
pub(crate) fn lives(
    script: &mut Script<'_>,
    family: Family,
    (shortest, longest): (u64, u64),
    one_life: fn(&mut Script<'_>, &Room),
) {
    let again = script.dice().chance(0.7);
    let room = script.world.rooms.take(family, script.now(), again);
    let lives = script.world.options.lives_max.max(1);
    let lives = if script.dice().chance(0.3) { script.dice().place(lives) + 1 } else { 1 };
    for life in 0..lives {
        if life > 0 {
            let pause = script.dice().seconds(shortest, longest);
            let free = next_life(script.now());
            script.wait(pause);
            script.begin_at(free);
        }
        one_life(script, &room);
    }
    let end = script.now();
    script.world.rooms.give_back(&room, end);
}
