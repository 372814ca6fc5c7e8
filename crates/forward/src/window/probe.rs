//! Which event is the probe of an open breaker.

use std::collections::HashSet;

use uuid::Uuid;

use protocol::UnixMillis;

use crate::event_columns::Subject;
use crate::order::Place;
use crate::window::core::Window;
use crate::window::item::{Item, ItemState};

/// Every so many probes may be a later event of a subject.
const PASSING_EVERY: u32 = 2;

/// An event that may be the probe.
struct Candidate {
    place: Place,
    tries: u32,
    replay: bool,
    passes: bool,
}

impl Window {
    /// The oldest event among those that were tried least; a replay only where there is nothing else.
    pub(super) fn take_probe(&mut self, now: UnixMillis) -> Option<Place> {
        let candidates = self.candidates(now);
        let is_turn = self.probes % PASSING_EVERY == PASSING_EVERY - 1;
        let best = |passes: bool| {
            let fitting = candidates.iter().filter(|it| it.passes == passes);
            fitting.min_by_key(|it| (it.replay, it.tries, it.place))
        };
        let (first, second) = (best(is_turn), best(!is_turn));
        let chosen = first.or(second)?;
        let (place, passes) = (chosen.place, chosen.passes);
        self.passed = passes.then(|| (place.id, self.earlier_ones(place)));
        self.probes = self.probes.wrapping_add(1);
        self.breaker.probe_sent(place.id);
        Some(place)
    }

    fn candidates(&self, now: UnixMillis) -> Vec<Candidate> {
        let mut items: Vec<&Item> = self.items.values().collect();
        items.sort_unstable_by_key(|item| item.place);
        // Subjects of which a later event may not be the probe, and those of which one would pass an earlier one.
        let (mut closed, mut passing) = (HashSet::<Subject>::new(), HashSet::<Subject>::new());
        let mut candidates = Vec::new();
        for item in items {
            let is_due = match item.state {
                ItemState::Ready => true,
                ItemState::Failing(next_at) => item.attempts == 0 || next_at <= now,
                ItemState::InFlight(_) | ItemState::Dead => false,
            };
            let subject = item.subject;
            let is_closed = subject.is_some_and(|subject| closed.contains(&subject));
            if is_due && !self.order.is_in_flight(subject) && (item.replay || !is_closed) {
                let passes = subject.is_some_and(|subject| passing.contains(&subject));
                let Item { place, tries, replay, .. } = *item;
                candidates.push(Candidate { place, tries, replay, passes: passes && !replay });
            }
            if self.holds_back(item) {
                let may_pass = item.may_be_passed_by_a_probe(self.rules.order_wait, now);
                if let Some(subject) = subject {
                    if may_pass {
                        passing.insert(subject)
                    } else {
                        closed.insert(subject)
                    };
                }
            }
        }
        candidates
    }

    /// Whether later events of its subject wait for it.
    fn holds_back(&self, item: &Item) -> bool {
        match item.state {
            ItemState::Ready | ItemState::InFlight(_) => !item.replay,
            ItemState::Failing(_) => self.order.holds(item.place, item.subject),
            ItemState::Dead => false,
        }
    }

    /// The events of its subject that this one passes.
    fn earlier_ones(&self, place: Place) -> Vec<Uuid> {
        let Some(subject) = self.items.get(&place.id).and_then(|item| item.subject) else {
            return Vec::new();
        };
        let earlier = self.items.values().filter(|item| {
            item.subject == Some(subject) && item.place < place && self.holds_back(item)
        });
        earlier.map(|item| item.place.id).collect()
    }
}
