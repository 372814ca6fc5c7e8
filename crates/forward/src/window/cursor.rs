//! The cursor of a destination: the highest position below which every event is done.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::order::Place;

/// The cursor, and the events read behind it.
#[derive(Debug)]
pub struct Cursor {
    /// Every event up to here is done.
    position: i64,
    /// The last position that was read.
    read: i64,
    /// The events between both; `None` for those that are done. The first is not.
    span: BTreeMap<i64, Option<Uuid>>,
    /// How many of them are done.
    done_ahead: usize,
}

impl Cursor {
    /// A cursor at this position, with nothing read behind it.
    #[must_use]
    pub fn new(position: i64) -> Self {
        Self { position, read: position, span: BTreeMap::new(), done_ahead: 0 }
    }

    /// An event was read. Positions grow: one that does not is of an event that was read before, and is `false`.
    pub fn read(&mut self, place: Place) -> bool {
        let Place { position, id } = place;
        if position <= self.read {
            return false;
        }
        self.read = position;
        self.span.insert(position, Some(id));
        true
    }

    /// An event is done. One that is behind the cursor, or was never read, changes nothing.
    pub fn done(&mut self, position: i64) {
        let Some(open @ Some(_)) = self.span.get_mut(&position) else { return };
        *open = None;
        self.done_ahead += 1;
        while let Some(first) = self.span.first_entry().filter(|first| first.get().is_none()) {
            self.position = *first.key();
            self.done_ahead -= 1;
            first.remove();
        }
    }

    /// Every event up to here is done.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The last position that was read: the next to read is behind it.
    #[must_use]
    pub fn read_position(&self) -> i64 {
        self.read
    }

    /// The first event that is not done.
    #[must_use]
    pub fn front(&self) -> Option<Uuid> {
        self.span.first_key_value().and_then(|(_, id)| *id)
    }

    /// How many events were read behind the cursor.
    #[must_use]
    pub fn span(&self) -> usize {
        self.span.len()
    }

    /// How many of them are done: they would be sent again after a crash.
    #[must_use]
    pub fn done_ahead(&self) -> usize {
        self.done_ahead
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id_of(position: i64) -> Uuid {
        Uuid::from_u128(position.unsigned_abs().into())
    }

    proptest! {
        #[test]
        fn it_is_the_highest_position_with_all_done_below(
            gaps in prop::collection::vec(1..600_i64, 1..40),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let mut cursor = Cursor::new(7);
            let positions: Vec<i64> = gaps.iter().scan(7, |at, gap| { *at += gap; Some(*at) }).collect();
            for position in &positions {
                let place = Place { position: *position, id: id_of(*position) };
                prop_assert!(cursor.read(place));
                prop_assert!(!cursor.read(place), "once");
            }
            let mut done = Vec::new();
            for index in order {
                let position = *index.get(&positions);
                cursor.done(position);
                done.push(position);
                let unbroken = positions.iter().take_while(|position| done.contains(position));
                let want = unbroken.last().copied().unwrap_or(7);
                prop_assert_eq!(cursor.position(), want);
                let ahead = positions.iter().filter(|it| **it > want && done.contains(it)).count();
                prop_assert_eq!(cursor.done_ahead(), ahead);
                prop_assert_eq!(cursor.span(), positions.iter().filter(|it| **it > want).count());
                let front = positions.iter().find(|it| **it > want);
                prop_assert_eq!(cursor.front(), front.map(|position| id_of(*position)));
            }
            prop_assert_eq!(cursor.read_position(), *positions.last().unwrap());
        }
    }
}
