//! The next state of an event when an attempt ends.

use std::time::Duration;

use uuid::Uuid;

use protocol::UnixMillis;

use crate::answer::{DestinationMeaning, EventMeaning, Meaning};
use crate::order::UNTIL_DONE;
use crate::schedule::jittered;
use crate::window::core::Window;
use crate::window::exception::{DEAD_MAX, ERROR_BYTES_MAX, WAITING_MAX};
use crate::window::item::{BEATEN_MIN, Item, ItemState, Row};

/// The longest pause between tries that cost no attempt.
const SOFT_PAUSE_MAX: Duration = Duration::from_mins(1);

/// So many attempts are given back to one event: where more than that fails, it is the event, whatever else fails beside it.
const GIVEN_BACK_MAX: u32 = 3;

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was sent.
    Sent {
        /// What the answer means.
        meaning: Meaning,
        /// Its status.
        status: Option<u16>,
        /// What went wrong, for people.
        error: Option<String>,
    },
    /// It was not sent: the event is deleted.
    Gone,
    /// It was not sent, and no other try can be: what went wrong.
    Unsendable(String),
}

impl Window {
    /// A try of this event ended so.
    pub fn ended(
        &mut self,
        id: Uuid,
        outcome: Outcome,
        now: UnixMillis,
        random: &mut fastrand::Rng,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let ItemState::InFlight(failing_at) = item.state else { return };
        self.in_flight -= 1;
        self.order.ended(item.subject);
        let replay = item.replay;
        let (was_closed, was_probe) = (self.breaker.is_closed(), self.breaker.is_probe(id));
        let destination = match &outcome {
            Outcome::Sent { meaning, .. } => meaning.destination,
            Outcome::Gone | Outcome::Unsendable(_) => DestinationMeaning::Nothing,
        };
        if replay {
            self.replay_lane.ended(destination, now, random);
        }
        // Invariant: a replay counts neither for nor against the destination.
        if !replay || was_probe || destination == DestinationMeaning::Gone {
            self.breaker.ended(id, destination, now, random);
        }
        match outcome {
            Outcome::Gone => {
                self.tallies.gone += 1;
                self.settle(id);
            }
            Outcome::Unsendable(error) => {
                item.note(None, Some(error));
                self.give_up(id, now);
            }
            Outcome::Sent { meaning, status, error } => {
                item.note(status, error);
                match meaning.event {
                    EventMeaning::Delivered => {
                        self.tallies.delivered += 1;
                        self.settle(id);
                        self.others_go_well(id, replay);
                    }
                    EventMeaning::Undeliverable => self.give_up(id, now),
                    // Whatever others do, it is not the event.
                    event if was_closed && is_never_the_event(destination) => {
                        item.fail(event, now);
                        self.soften(id, now, random);
                    }
                    event if was_closed => {
                        item.fail(event, now);
                        self.unbeaten.insert(id);
                        self.failed(id, event, now, random);
                    }
                    event => {
                        item.fail(event, now);
                        // An event that had failed before proves nothing.
                        let is_outage =
                            was_probe && item.tries == 1 && self.breaker.several_failed();
                        self.back(id, failing_at);
                        if is_outage {
                            self.give_back(now);
                        }
                    }
                }
            }
        }
    }

    /// Another event was delivered: what failed before it may be at fault itself. A replay that was shows that of replays only.
    fn others_go_well(&mut self, delivered: Uuid, replay: bool) {
        let shows = |item: &Item| item.replay || !replay;
        let items = &mut self.items;
        self.unbeaten.retain(|id| match items.get_mut(id) {
            Some(item) if shows(item) => {
                item.beaten = item.beaten.saturating_add(1);
                false
            }
            other => other.is_some(),
        });
        // It was sent past these although they had failed for long: their next failure counts.
        if let Some((_, passed)) = self.passed.take_if(|(probe, _)| *probe == delivered) {
            for id in passed {
                if let Some(item) = items.get_mut(&id) {
                    item.beaten = item.beaten.max(BEATEN_MIN);
                }
            }
        }
        self.counted.retain(|id| match items.get(id) {
            Some(item) if shows(item) => {
                if item.state == ItemState::Dead {
                    items.remove(id);
                }
                false
            }
            other => other.is_some(),
        });
    }

    /// An event failed while others are sent.
    fn failed(
        &mut self,
        id: Uuid,
        event: EventMeaning,
        now: UnixMillis,
        random: &mut fastrand::Rng,
    ) {
        let Some(item) = self.items.get(&id) else { return };
        let counts = item.fails_alone(event, self.rules.order_wait, now);
        if !counts {
            return self.soften(id, now, random);
        }
        if item.row == Row::None && self.waiting >= WAITING_MAX {
            self.breaker.overflow(now, random);
            return self.soften(id, now, random);
        }
        self.count(id, now, random);
    }

    /// The failure costs the event an attempt.
    fn count(&mut self, id: Uuid, now: UnixMillis, random: &mut fastrand::Rng) {
        let Some(item) = self.items.get_mut(&id) else { return };
        (item.attempts, item.beaten, item.soft_tries) = (item.attempts + 1, 0, 0);
        let pause = self.rules.schedule.pause_after(item.attempts, random);
        let until = item.first_failed_at.unwrap_or(now).plus(self.rules.order_wait);
        self.soft.remove(&id);
        self.counted.push(id);
        match pause {
            None if self.dead < DEAD_MAX => return self.give_up(id, now),
            // Dead letters are never dropped: where there is no room for one more, it goes on waiting.
            None => self.fail_until(id, now.plus(self.rules.schedule.pause_max()), until, now),
            Some(pause) => self.fail_until(id, now.plus(pause), until, now),
        }
        self.give_row(id, now);
    }

    /// The failure costs no attempt: the event is tried again soon, and later ones of its subject wait for it.
    fn soften(&mut self, id: Uuid, now: UnixMillis, random: &mut fastrand::Rng) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let doubled = Duration::from_secs(1).saturating_mul(1 << item.soft_tries.min(6));
        item.soft_tries += 1;
        let mut next_at = now.plus(jittered(doubled.min(SOFT_PAUSE_MAX), random));
        let until = item.first_failed_at.unwrap_or(now).plus(self.rules.order_wait);
        // When it may hold others back no longer is the moment to know.
        if now < until && until < next_at {
            next_at = until;
        }
        let until = if item.attempts == 0 { UNTIL_DONE } else { until };
        self.soft.insert(id);
        self.fail_until(id, next_at, until, now);
        self.note_change(id, now);
    }

    /// It is tried again at a moment, and holds later ones of its subject back until another.
    fn fail_until(&mut self, id: Uuid, next_at: UnixMillis, until: UnixMillis, now: UnixMillis) {
        let Some(item) = self.items.get_mut(&id) else { return };
        item.state = ItemState::Failing(next_at);
        let (place, subject, replay) = (item.place, item.subject, item.replay);
        if until > now && !replay {
            self.order.hold(place, subject, until);
        } else {
            self.order.free(place, subject);
        }
        self.queue_of(replay).insert((next_at, place));
    }

    /// It is where it was before it was sent, since the breaker was open.
    fn back(&mut self, id: Uuid, failing_at: Option<UnixMillis>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let (place, subject, replay) = (item.place, item.subject, item.replay);
        if let Some(next_at) = failing_at {
            item.state = ItemState::Failing(next_at);
            self.queue_of(replay).insert((next_at, place));
        } else {
            item.state = ItemState::Ready;
            self.order.wait(place, subject);
        }
    }

    /// It is the destination that fails: attempts since its last success are given back, and events wait at their places.
    fn give_back(&mut self, now: UnixMillis) {
        for id in std::mem::take(&mut self.counted) {
            let Some(item) = self.items.get_mut(&id) else { continue };
            let (is_dead, replay) = (item.state == ItemState::Dead, item.replay);
            if item.given_back >= GIVEN_BACK_MAX {
                if is_dead {
                    self.items.remove(&id);
                }
                continue;
            }
            item.given_back += 1;
            item.attempts = item.attempts.saturating_sub(1);
            if is_dead {
                item.state = ItemState::Failing(now);
                let place = item.place;
                self.waiting += usize::from(!replay);
                self.dead = self.dead.saturating_sub(1);
                self.tallies.dead = self.tallies.dead.saturating_sub(1);
                self.queue_of(replay).insert((now, place));
            }
            self.unfail(id);
            self.note_change(id, now);
        }
        for id in std::mem::take(&mut self.soft) {
            self.unfail(id);
            self.note_change(id, now);
        }
    }

    /// An event that failed waits at its place again.
    fn unfail(&mut self, id: Uuid) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let (place, subject, replay) = (item.place, item.subject, item.replay);
        match item.state {
            ItemState::Failing(next_at) if !replay => {
                item.state = ItemState::Ready;
                item.soft_tries = 0;
                self.retries.remove(&(next_at, place));
                self.order.free(place, subject);
                self.order.wait(place, subject);
            }
            ItemState::InFlight(_) if !replay => {
                item.state = ItemState::InFlight(None);
            }
            _ => {}
        }
    }

    /// It is done: delivered, or gone.
    fn settle(&mut self, id: Uuid) {
        let Some(item) = self.items.remove(&id) else { return };
        self.order.free(item.place, item.subject);
        self.forget(id);
        self.bytes -= item.bytes;
        self.done(item.place.position);
        self.waiting -= usize::from(item.row != Row::None && !item.replay);
        match item.row {
            Row::None => {}
            Row::New => {
                self.changes.remove(&id);
            }
            Row::Stored => {
                self.changes.insert(id, None);
            }
        }
    }

    /// It becomes a dead letter. It is remembered until another is delivered, since all may turn out to be an outage.
    fn give_up(&mut self, id: Uuid, now: UnixMillis) {
        let Some(item) = self.items.get_mut(&id) else { return };
        item.state = ItemState::Dead;
        self.waiting -= usize::from(item.row != Row::None && !item.replay);
        self.bytes -= std::mem::take(&mut item.bytes);
        if item.row == Row::None {
            item.row = Row::New;
        }
        self.changes.insert(id, Some(item.exception(now)));
        let (place, subject) = (item.place, item.subject);
        self.order.free(place, subject);
        self.forget(id);
        self.dead += 1;
        self.tallies.dead += 1;
        self.done(place.position);
        if !self.counted.contains(&id) {
            self.items.remove(&id);
        }
    }

    fn forget(&mut self, id: Uuid) {
        self.unbeaten.remove(&id);
        self.soft.remove(&id);
    }
}

fn is_never_the_event(destination: DestinationMeaning) -> bool {
    matches!(destination, DestinationMeaning::Gone | DestinationMeaning::Misconfigured)
}

impl Item {
    fn note(&mut self, status: Option<u16>, error: Option<String>) {
        self.last_status = status;
        self.last_error = error.map(|mut error| {
            error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
            error
        });
    }

    fn fail(&mut self, event: EventMeaning, now: UnixMillis) {
        self.tries = self.tries.saturating_add(1);
        self.first_failed_at.get_or_insert(now);
        if event != (EventMeaning::Waits { suspect: false }) {
            self.suspect_tries = self.suspect_tries.saturating_add(1);
        }
    }
}
