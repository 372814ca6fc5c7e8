//! What is remembered of rooms between rounds: when each may be settled again, and how.
//!
//! All of it can be forgotten: the queue is in the store.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::time::Duration;

use tokio::time::Instant;

use crate::sessions::plan::AT_ONCE;
use crate::store::{Queued, RoomId};

/// The shortest time between two settlings of one room: each computes its sessions anew, whatever is new.
const AGAIN_MIN: Duration = Duration::from_secs(2);
/// How many times as long as settling a room took it is left alone.
const AGAIN_SHARE: u32 = 20;
/// How long settling some rooms may take until each is settled by itself.
const SLOW: Duration = Duration::from_millis(500);
/// How long a room is left alone that could not be settled: doubled with each time, up to the greatest.
const BACKOFF_MIN: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_mins(30);
/// How many rooms are remembered of each kind. Past it they are tried as others are.
const ROOMS_MAX: usize = 1000;
/// How many days of rooms are remembered that rest. Past it they are settled again sooner.
const RESTING_MAX: usize = 50_000;
/// How many days of one room are settled before others get their turn.
const DAYS_AT_ONCE: usize = 8;

/// A day of a room.
type Key = (RoomId, i64);

fn key(queued: &Queued) -> Key {
    (queued.room.clone(), queued.day)
}

/// A room that could not be settled.
struct Backoff {
    failures: u32,
    until: Instant,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Memory {
    /// Until when a day of a room is left alone.
    resting: HashMap<Key, Instant>,
    /// Those that are settled each by itself, since it failed with others, or took long with them: so each fails alone.
    alone: HashSet<Key>,
    /// Those that are settled each by itself, since more of them is read then at once than of one among others.
    large: HashSet<Key>,
    /// Rooms of which there is much, or that take long: they are settled beside the others, so that none of those waits. With
    /// when each had its turn.
    slow: HashMap<RoomId, Instant>,
    backoff: HashMap<RoomId, Backoff>,
}

impl Memory {
    /// What of the queue may be settled now beside others: of each room a few days, each room's first day first, and the
    /// apps in turn.
    pub(crate) fn ready(&mut self, mut waiting: Vec<Queued>) -> Vec<Queued> {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        waiting.retain(|queued| {
            !self.slow.contains_key(&queued.room)
                && !self.is_backing_off(&queued.room, now)
                && !self.resting.contains_key(&key(queued))
        });
        // By app and room, each room's longest-waiting day first.
        waiting.sort_by(|a, b| (&a.room, a.slot_first, a.day).cmp(&(&b.room, b.slot_first, b.day)));
        let mut turns: HashMap<(i64, usize), usize> = HashMap::new();
        let mut placed: Vec<(usize, i64, Queued)> = Vec::with_capacity(waiting.len());
        let mut day_of_room = 0;
        for queued in waiting {
            let is_same = placed.last().is_some_and(|(_, _, last)| last.room == queued.room);
            day_of_room = if is_same { day_of_room + 1 } else { 0 };
            placed.push((day_of_room, queued.slot_first, queued));
        }
        placed.retain(|(day, ..)| *day < DAYS_AT_ONCE);
        placed.sort_by_key(|(day, slot, _)| (*day, *slot));
        let mut in_turn: Vec<(usize, usize, Queued)> = Vec::with_capacity(placed.len());
        for (day, _, queued) in placed {
            let turn = turns.entry((queued.room.app, day)).or_default();
            in_turn.push((day, *turn, queued));
            *turn += 1;
        }
        in_turn.sort_by_key(|(day, turn, _)| (*day, *turn));
        in_turn.into_iter().map(|(.., queued)| queued).collect()
    }

    /// Takes those that are to be settled together: the first that waits and others behind it, of each room one day.
    pub(crate) fn take_some(&self, waiting: &mut Vec<Queued>) -> Vec<Queued> {
        let is_in =
            |set: &HashSet<Key>, queued: &Queued| !set.is_empty() && set.contains(&key(queued));
        let is_alone = |queued: &Queued| is_in(&self.alone, queued) || is_in(&self.large, queued);
        let mut some: Vec<Queued> = Vec::new();
        let mut rest = Vec::with_capacity(waiting.len());
        for queued in waiting.drain(..) {
            let fits = some.first().is_none_or(|first| {
                some.len() < AT_ONCE
                    && !some.iter().any(|other| other.room == queued.room)
                    && !is_alone(first)
                    && !is_alone(&queued)
            });
            // One that became slow meanwhile is not settled twice at once.
            match fits {
                _ if self.slow.contains_key(&queued.room) => {}
                true => some.push(queued),
                false => rest.push(queued),
            }
        }
        *waiting = rest;
        some
    }

    /// Remembers how long it took to settle some.
    pub(crate) fn settled(&mut self, some: &[Queued], took: Duration) {
        // Of several nobody knows which took long, until each is settled by itself.
        let share = took / u32::try_from(some.len()).unwrap_or(u32::MAX).max(1);
        let rest = (share * AGAIN_SHARE).max(AGAIN_MIN);
        for queued in some {
            if self.resting.len() < RESTING_MAX {
                self.resting.insert(key(queued), Instant::now() + rest);
            }
            self.backoff.remove(&queued.room);
            if took < SLOW {
                self.alone.remove(&key(queued));
                self.slow.remove(&queued.room);
            }
        }
        match some {
            [one] if took >= SLOW => self.is_slow(&one.room),
            _ if took >= SLOW => self.settle_alone(some),
            _ => {}
        }
    }

    /// There is too much of it to be settled as it was: among others, or by itself beside them.
    pub(crate) fn too_much(&mut self, some: &[Queued], place: usize) {
        let Some(queued) = some.get(place) else { return };
        if some.len() > 1 {
            if self.large.len() >= ROOMS_MAX {
                self.large.clear();
            }
            self.large.insert(key(queued));
        } else {
            self.is_slow(&queued.room);
        }
    }

    /// There is much of it, or it takes long.
    fn is_slow(&mut self, room: &RoomId) {
        if self.slow.len() < ROOMS_MAX || self.slow.contains_key(room) {
            self.slow.entry(room.clone()).or_insert_with(Instant::now);
        } else {
            self.back_off(room);
        }
    }

    /// It was not done in time beside the others.
    pub(crate) fn late(&mut self, some: &[Queued]) {
        match some {
            [one] => self.is_slow(&one.room),
            _ => self.settle_alone(some),
        }
    }

    /// What failed by itself is left alone for a while, what failed with others is tried by itself.
    pub(crate) fn failed(&mut self, some: &[Queued]) {
        match some {
            [one] => self.back_off(&one.room),
            _ => self.settle_alone(some),
        }
    }

    /// Its turn has come for the slow room that waited the longest and does not rest.
    pub(crate) fn next_slow(&mut self) -> Option<RoomId> {
        let now = Instant::now();
        let waiting = self.slow.iter().filter(|(room, _)| !self.is_backing_off(room, now));
        let room = waiting.min_by_key(|(_, at)| **at).map(|(room, _)| room.clone())?;
        self.slow.insert(room.clone(), now);
        Some(room)
    }

    /// Whether the day of a slow room may be settled now.
    pub(crate) fn is_resting(&self, queued: &Queued) -> bool {
        self.resting.get(&key(queued)).is_some_and(|until| *until > Instant::now())
    }

    /// Nothing of it is queued any more.
    pub(crate) fn is_done(&mut self, room: &RoomId) {
        self.slow.remove(room);
    }

    /// How many rooms could not be settled and are tried again later.
    pub(crate) fn backing_off(&self) -> usize {
        self.backoff.len()
    }

    fn is_backing_off(&self, room: &RoomId, now: Instant) -> bool {
        self.backoff.get(room).is_some_and(|backoff| backoff.until > now)
    }

    fn back_off(&mut self, room: &RoomId) {
        let now = Instant::now();
        if self.backoff.len() >= ROOMS_MAX && !self.backoff.contains_key(room) {
            self.backoff.retain(|_, backoff| backoff.until > now);
        }
        let failures = self.backoff.get(room).map_or(0, |backoff| backoff.failures);
        let until = now + pause(failures, jitter());
        if self.backoff.len() < ROOMS_MAX || failures > 0 {
            self.backoff
                .insert(room.clone(), Backoff { failures: failures.saturating_add(1), until });
        }
    }

    fn settle_alone(&mut self, some: &[Queued]) {
        if self.alone.len() >= ROOMS_MAX {
            self.alone.clear();
        }
        self.alone.extend(some.iter().map(key));
    }
}

/// How long a room is left alone that failed so often before, by a number below 1024 that nobody foresees.
fn pause(failures: u32, jitter: u32) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(2_u32.saturating_pow(failures)).min(BACKOFF_MAX);
    // A quarter more or less, so that those that failed together are not tried together.
    doubled * (768 + jitter / 2) / 1024
}

fn jitter() -> u32 {
    let random = std::hash::RandomState::new().hash_one(0_u8);
    u32::try_from(random % 1024).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(app: i64, room: &str, day: i64, slot: i64) -> Queued {
        let room = RoomId { app, room_id: room.to_owned() };
        Queued { room, day, slot_first: slot, slot_last: slot }
    }

    fn shown(queued: &[Queued]) -> Vec<(i64, &str, i64)> {
        queued.iter().map(|of| (of.room.app, of.room.room_id.as_str(), of.day)).collect()
    }

    #[tokio::test]
    async fn a_room_with_many_days_takes_turns_with_others() {
        let mut memory = Memory::default();
        let mut waiting: Vec<Queued> = (0..5000).map(|day| queued(1, "busy", day, 1)).collect();
        waiting.push(queued(1, "probe", 9000, 50));
        let ready = memory.ready(waiting);
        assert_eq!(shown(&ready)[..3], [(1, "busy", 0), (1, "probe", 9000), (1, "busy", 1)]);
        assert_eq!(ready.len(), DAYS_AT_ONCE + 1);
    }

    #[tokio::test]
    async fn an_app_with_many_rooms_takes_turns_with_others() {
        let mut memory = Memory::default();
        let rooms = (0..900).map(|room| queued(1, &format!("r{room:03}"), 0, 1));
        let ready = memory.ready(rooms.chain([queued(2, "probe", 0, 50)]).collect());
        assert_eq!(shown(&ready)[..3], [(1, "r000", 0), (2, "probe", 0), (1, "r001", 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_room_that_keeps_failing_is_retried_with_backoff() {
        let mut memory = Memory::default();
        let poison = queued(1, "poison", 0, 1);
        for failures in 0..12 {
            memory.failed(std::slice::from_ref(&poison));
            let begun = Instant::now();
            while memory.ready(vec![poison.clone()]).is_empty() {
                tokio::time::advance(Duration::from_millis(500)).await;
            }
            let expected = BACKOFF_MIN.saturating_mul(1 << failures).min(BACKOFF_MAX).as_secs_f64();
            let waited = begun.elapsed().as_secs_f64();
            assert!(
                (expected * 0.74..expected * 1.26 + 1.0).contains(&waited),
                "{failures}: {waited}"
            );
            assert_eq!(memory.backing_off(), 1);
        }
        memory.settled(std::slice::from_ref(&poison), Duration::ZERO);
        assert_eq!(memory.backing_off(), 0);
    }

    #[tokio::test]
    async fn a_room_that_fails_in_a_batch_is_retried_alone() {
        let mut memory = Memory::default();
        let all = vec![queued(1, "a", 0, 1), queued(1, "b", 0, 1)];
        memory.failed(&all);
        let mut waiting = memory.ready(all);
        assert_eq!(shown(&memory.take_some(&mut waiting)), [(1, "a", 0)]);
        assert_eq!(shown(&memory.take_some(&mut waiting)), [(1, "b", 0)]);
    }

    #[tokio::test]
    async fn a_large_room_is_settled_alone_and_then_in_the_slow_queue() {
        let mut memory = Memory::default();
        let all = vec![queued(1, "large", 0, 1), queued(1, "small", 0, 1)];
        memory.too_much(&all, 0);
        let mut waiting = memory.ready(all.clone());
        assert_eq!(shown(&memory.take_some(&mut waiting)), [(1, "large", 0)]);
        memory.too_much(&all[..1], 0);
        assert_eq!(shown(&memory.ready(all)), [(1, "small", 0)]);
        assert_eq!(memory.next_slow().map(|room| room.room_id).as_deref(), Some("large"));
    }

    #[tokio::test]
    async fn slow_rooms_take_turns_in_a_queue_of_their_own() {
        let mut memory = Memory::default();
        let (hot, other) = (queued(1, "hot", 0, 1), queued(1, "other", 0, 1));
        memory.too_much(std::slice::from_ref(&hot), 0);
        memory.too_much(std::slice::from_ref(&other), 0);
        assert_eq!(memory.ready(vec![hot.clone(), other.clone()]), []);
        let turns: Vec<_> = (0..4).map(|_| memory.next_slow().unwrap().room_id).collect();
        assert_eq!(turns[0], turns[2]);
        assert_ne!(turns[0], turns[1]);
        memory.settled(std::slice::from_ref(&hot), Duration::from_secs(1));
        assert!(memory.is_resting(&hot) && !memory.is_resting(&other));
        memory.settled(std::slice::from_ref(&other), Duration::ZERO);
        assert_eq!(memory.next_slow(), Some(hot.room));
    }
}
