//! Writes scenarios from a seed.

use std::time::Duration;

use serde_json::json;

use crate::simulate::dice::Dice;
use crate::simulate::options::Options;
use crate::simulate::people::Person;
use crate::simulate::rooms::Rooms;
use crate::simulate::scenario::{Kind, Scenario};
use crate::simulate::scenarios::{conferences, group_calls, one_to_one, shows};
use crate::simulate::script::{Script, World};
use crate::time::UnixMillis;
use crate::{AppId, Dialect};

/// How often something else is tried where a scenario would last too long.
const TRIES_MAX: usize = 2;

/// Writes scenarios. As an iterator it gives them one after the other, first one of each kind, each beginning so much
/// later than the one before that there are [`Options::rate`] events per second. It ends only where no kind may come.
#[derive(Debug, Clone)]
pub struct Generator {
    world: World,
    next: UnixMillis,
    /// What the iterator begins with, the last first.
    opening: Vec<Kind>,
}

impl Generator {
    /// One that begins at `start`. The same seed plays the same at another start, under other ids of calls, battles and
    /// recordings.
    #[must_use]
    pub fn new(seed: u64, app: AppId, start: UnixMillis, options: Options) -> Self {
        let names = seed.rotate_left(32) ^ start.0.unsigned_abs();
        let mut options = options.sound();
        let by_kit = options.dialects.contain(Dialect::Im);
        options.kinds.retain(|(kind, _)| by_kit || kind.has_room());
        let world = World {
            app,
            options,
            dice: Dice::new(seed),
            names: Dice::new(names),
            media: Dice::new(!seed),
            tasks: Dice::new(seed.rotate_left(32)),
            rooms: Rooms::default(),
        };
        let kinds = world.options.kinds.iter().filter(|(_, weight)| *weight > 0);
        let mut opening: Vec<Kind> = kinds.map(|(kind, _)| *kind).collect();
        opening.sort_unstable();
        opening.dedup();
        Self { world, next: start, opening }
    }

    /// A scenario of this kind that begins at `start`.
    ///
    /// Room ids are used again, and never by two scenarios at once so long as none starts earlier than the one before.
    pub fn scenario(&mut self, kind: Kind, start: UnixMillis) -> Scenario {
        let mut script = Script::new(&mut self.world, start);
        match kind {
            Kind::GroupCall => group_calls::group_call(&mut script),
            Kind::Conference => conferences::conference(&mut script),
            Kind::Show => shows::show(&mut script),
            Kind::Quota => quota(&mut script),
            call => one_to_one::one_to_one(&mut script, call),
        }
        Scenario { kind, deliveries: script.finish() }
    }

    /// When the next scenario begins.
    #[must_use]
    pub fn next_start(&self) -> UnixMillis {
        self.next
    }

    /// The next scenario that is over by `end`: what would not be is put back for something else.
    pub(super) fn next_until(&mut self, end: UnixMillis) -> Option<Scenario> {
        while self.next < end {
            for _ in 0..TRIES_MAX {
                let kind = self.kind()?;
                let rooms = self.world.rooms.clone();
                let scenario = self.scenario(kind, self.next);
                if scenario.deliveries.last().is_some_and(|last| last.at < end) {
                    self.go_on(scenario.deliveries.len());
                    return Some(scenario);
                }
                self.world.rooms = rooms;
            }
            self.go_on(1);
        }
        None
    }

    /// Goes on by as long as so many events take.
    fn go_on(&mut self, events: usize) {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let pause = Duration::from_secs(1).div_f64(self.world.options.rate).saturating_mul(events);
        let pause = self.world.dice.part(pause, 0.5, 1.5);
        self.next = self.next.plus(pause);
    }

    fn kind(&mut self) -> Option<Kind> {
        if let Some(kind) = self.opening.pop() {
            return Some(kind);
        }
        let kinds = &self.world.options.kinds;
        let all = kinds.iter().fold(0, |all: u64, (_, weight)| all.saturating_add(*weight));
        let mut chosen = self.world.dice.number(1, all);
        kinds.iter().filter(|(_, weight)| *weight > 0).find_map(|(kind, weight)| {
            let is_it = chosen <= *weight;
            chosen = chosen.saturating_sub(*weight);
            is_it.then_some(*kind)
        })
    }
}

impl Iterator for Generator {
    type Item = Scenario;

    fn next(&mut self) -> Option<Scenario> {
        let kind = self.kind()?;
        let scenario = self.scenario(kind, self.next);
        self.go_on(scenario.deliveries.len());
        Some(scenario)
    }
}

/// Creating a room used up 70 % of the quota.
fn quota(script: &mut Script<'_>) {
    let max = script.dice().number(1, 10) * 100;
    let by = Person::server();
    let body = json!({
        "Operator_Account": by.account,
        "CurRoomCount": max * 7 / 10,
        "MaxRoomCount": max,
    });
    script.send("Live.CallbackAfterCreateRoomReachingThreshold", &by, body);
}
