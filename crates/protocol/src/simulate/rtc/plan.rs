//! What users do in a room by themselves: cameras, microphones and screens, and what their networks and devices do to them.

use std::time::Duration;

use crate::simulate::rtc::stay::{Deed, Exit};
use crate::simulate::script::Script;
use crate::time::UnixMillis;

/// What somebody publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publishing {
    Nothing,
    Voice,
    Video,
}

/// `Reason` of a 103.
pub(crate) const ENTERED: u8 = 1;
const NETWORK_CHANGED: u8 = 2;
const RETRIED: u8 = 3;
/// The user's home is another room.
pub(crate) const LINKED: u8 = 4;

/// After how long the media server gives somebody up who is lost.
const TIMEOUT: Duration = Duration::from_secs(90);

/// When somebody is given up who was lost at `at`.
pub(crate) fn given_up(script: &mut Script<'_>, at: UnixMillis) -> UnixMillis {
    let more = script.media().millis(0, 3000);
    script.later(at, TIMEOUT + more)
}

/// `Reason` of a 103 of somebody who comes back by oneself.
pub(crate) fn reason_of_return(script: &mut Script<'_>) -> u8 {
    if script.media().chance(0.5) { NETWORK_CHANGED } else { RETRIED }
}

/// Writes the deeds of one user, one after the other.
struct Plan<'s, 'w> {
    script: &'s mut Script<'w>,
    now: UnixMillis,
    deeds: Vec<Deed>,
}

impl Plan<'_, '_> {
    fn wait(&mut self, low: u64, high: u64) {
        let pause = self.script.media().millis(low, high);
        self.now = self.script.later(self.now, pause);
    }

    fn add(&mut self, number: u16, reason: u8) {
        self.deeds.push(Deed { at: self.now, number, reason, until: self.now });
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.script.media().chance(probability)
    }

    fn publish(&mut self, publishing: Publishing) {
        if publishing != Publishing::Nothing {
            self.wait(50, 500);
            self.add(203, 0);
        }
        if publishing == Publishing::Video {
            self.wait(50, 600);
            self.add(201, 0);
        }
    }

    /// Turned off by hand, and mostly on again.
    fn toggle(&mut self, start: u16) {
        self.wait(5_000, 40_000);
        self.add(start + 1, 0);
        if self.chance(0.7) {
            self.wait(3_000, 30_000);
            self.add(start, 0);
        }
    }

    /// Comes in with a second device, which puts the first one out; that is told, or not.
    fn second_device(&mut self, publishing: Publishing) {
        self.wait(10_000, 60_000);
        self.add(103, ENTERED);
        let first = self.deeds.len() - 1;
        if self.chance(0.5) {
            self.wait(50, 900);
            self.add(104, Exit::Removed as u8);
        }
        self.publish(publishing);
        self.bind_from(first);
    }

    /// Lost, given up, and back.
    fn reconnect(&mut self, publishing: Publishing) {
        self.wait(5_000, 30_000);
        self.now = given_up(self.script, self.now);
        self.add(104, Exit::Lost as u8);
        let first = self.deeds.len() - 1;
        self.wait(1_000, 20_000);
        let reason = reason_of_return(self.script);
        self.add(103, reason);
        self.publish(publishing);
        self.bind_from(first);
    }

    /// What was added from `first` on happens as a whole, or not at all.
    fn bind_from(&mut self, first: usize) {
        for deed in &mut self.deeds[first..] {
            deed.until = self.now;
        }
    }
}

/// What somebody does from `from` on. Until when a screen is shared in the room stands in `shared`: there is one at a time.
pub(crate) fn plan(
    script: &mut Script<'_>,
    from: UnixMillis,
    publishing: Publishing,
    shared: &mut UnixMillis,
) -> Vec<Deed> {
    let mut plan = Plan { script, now: from, deeds: Vec::new() };
    plan.publish(publishing);
    if publishing == Publishing::Video {
        if plan.chance(0.25) {
            plan.toggle(201);
        }
        if plan.chance(0.15) && plan.now >= *shared {
            plan.wait(3_000, 40_000);
            plan.add(205, 0);
            plan.wait(10_000, 120_000);
            // Who leaves meanwhile takes the screen along, and nothing is told of that.
            plan.add(206, 0);
            *shared = plan.now;
        }
    }
    if publishing != Publishing::Nothing && plan.chance(0.1) {
        plan.toggle(203);
    }
    // Behind all that: what follows would have to know what was on.
    match plan.script.media().number(0, 99) {
        0..=7 => {
            plan.wait(5_000, 60_000);
            plan.add(103, NETWORK_CHANGED);
        }
        8..=12 if publishing != Publishing::Nothing => plan.second_device(publishing),
        13..=18 if publishing != Publishing::Nothing => plan.reconnect(publishing),
        _ => {}
    }
    plan.deeds
}
