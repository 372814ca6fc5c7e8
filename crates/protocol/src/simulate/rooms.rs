//! The rooms there are. An id is used again for one session after the other, as apps do, and never for two at once.

use std::time::Duration;

use crate::time::UnixMillis;

const CONFERENCES: [(&str, &str); 6] = [
    ("daily-standup", "Daily stand-up"),
    ("weekly-review", "Weekly review"),
    ("280441", "Interview"),
    ("design-critique", "Design critique"),
    ("all-hands", "All hands"),
    ("classroom-7", "Maths, class 7"),
];
const SHOWS: [(&str, &str); 6] = [
    ("live-music", "Evening music"),
    ("live-cooking", "Noodles from scratch"),
    ("5127", "Late night talk"),
    ("live-fitness", "Twenty minutes of yoga"),
    ("live-market", "Everything must go"),
    ("live-gaming", "One more round"),
];

/// How long an id rests between two sessions: their times of creation are told in whole seconds.
const REST: Duration = Duration::from_millis(1100);

/// Whose room it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Conference,
    Show,
}

/// One room's id and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Room {
    family: Family,
    /// Which of the family's it is.
    pub(crate) number: usize,
    pub(crate) id: String,
    pub(crate) name: String,
}

/// From when on each room is free.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rooms {
    conferences: Vec<UnixMillis>,
    shows: Vec<UnixMillis>,
}

impl Rooms {
    /// A room that is free at `start`: one that was used before, where there is one and `again` says so. It is taken
    /// until it is given back.
    pub(crate) fn take(&mut self, family: Family, start: UnixMillis, again: bool) -> Room {
        let free_from = self.of(family);
        let free = free_from.iter().position(|free| *free <= start);
        let few = free_from.len() < CONFERENCES.len();
        let number = free.filter(|_| again || !few).unwrap_or(free_from.len());
        if number == free_from.len() {
            free_from.push(start);
        }
        free_from[number] = UnixMillis(i64::MAX);
        let names = if family == Family::Show { SHOWS } else { CONFERENCES };
        let (id, name) = names[number % names.len()];
        let round = number / names.len() + 1;
        let (id, name) = match round {
            1 => (id.to_owned(), name.to_owned()),
            _ => (format!("{id}-{round}"), format!("{name} {round}")),
        };
        Room { family, number, id, name }
    }

    /// Its session ended at `end`.
    pub(crate) fn give_back(&mut self, room: &Room, end: UnixMillis) {
        if let Some(free) = self.of(room.family).get_mut(room.number) {
            *free = next_session(end);
        }
    }

    fn of(&mut self, family: Family) -> &mut Vec<UnixMillis> {
        match family {
            Family::Conference => &mut self.conferences,
            Family::Show => &mut self.shows,
        }
    }
}

/// When a room whose session ended at `end` can be created again.
pub(super) fn next_session(end: UnixMillis) -> UnixMillis {
    end.plus(REST)
}
