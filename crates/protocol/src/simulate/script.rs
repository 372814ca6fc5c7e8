//! What a scenario is written into: its own time, and the deliveries it makes.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::simulate::dice::Dice;
use crate::simulate::options::Options;
use crate::simulate::people::Person;
use crate::simulate::rooms::Rooms;
use crate::simulate::rtc::event::EngineEvent;
use crate::simulate::timed_delivery::TimedDelivery;
use crate::time::UnixMillis;
use crate::{AppId, Dialect};

/// What all scenarios of one generator share.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) app: AppId,
    pub(crate) options: Options,
    /// What happens.
    pub(crate) dice: Dice,
    /// How it is named. Apart, and with the start in its seed, so that the same seed at another time plays the same
    /// with other calls.
    pub(crate) names: Dice,
    /// What happens in the RTC Engine's rooms. Apart, so that what the kits tell does not depend on it.
    pub(crate) media: Dice,
    /// What cloud tasks do there. Apart, so that rooms do not depend on it.
    pub(crate) tasks: Dice,
    pub(crate) rooms: Rooms,
}

/// How long an event of the RTC Engine is on its way to where it is posted, in ms. The same however fast all happens.
const WAY: (u64, u64) = (3, 60);

/// One scenario while it is written. Its times are those of real life; `compress` is applied here.
#[derive(Debug)]
pub(crate) struct Script<'w> {
    pub(crate) world: &'w mut World,
    begun: UnixMillis,
    now: UnixMillis,
    sent: Vec<TimedDelivery>,
    /// What the RTC Engine tells, in no order.
    told: Vec<EngineEvent>,
}

impl<'w> Script<'w> {
    pub(crate) fn new(world: &'w mut World, start: UnixMillis) -> Self {
        Self { world, begun: start, now: start, sent: Vec::new(), told: Vec::new() }
    }

    pub(crate) fn dice(&mut self) -> &mut Dice {
        &mut self.world.dice
    }

    pub(crate) fn media(&mut self) -> &mut Dice {
        &mut self.world.media
    }

    pub(crate) fn tasks(&mut self) -> &mut Dice {
        &mut self.world.tasks
    }

    /// Whether this call or show is recorded.
    pub(crate) fn is_recorded(&mut self) -> bool {
        let share = self.world.options.recorded;
        self.dice().chance(share)
    }

    /// Different people, at most so many.
    pub(crate) fn cast(&mut self, count: usize) -> Vec<Person> {
        let crowd = self.world.options.accounts.max(2 * count).max(2);
        let places = self.world.dice.places(count, crowd);
        places.into_iter().map(Person::new).collect()
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.now
    }

    /// Goes on to so long after the begin; stays where it is when that is past.
    pub(crate) fn at(&mut self, after_begin: Duration) {
        self.now = self.now.max(self.begun.plus(self.compressed(after_begin)));
    }

    /// Goes on by so much.
    pub(crate) fn wait(&mut self, pause: Duration) {
        self.now = self.now.plus(self.compressed(pause));
    }

    /// Goes on to `moment` if that is later, and begins anew there.
    pub(crate) fn begin_at(&mut self, moment: UnixMillis) {
        self.now = self.now.max(moment);
        self.begun = self.now;
    }

    /// As long as it takes in the deliveries.
    pub(crate) fn compressed(&self, time: Duration) -> Duration {
        time.div_f64(self.world.options.compress)
    }

    /// So long after `moment`, and at least 1 ms.
    pub(crate) fn later(&self, moment: UnixMillis, pause: Duration) -> UnixMillis {
        moment.plus(self.compressed(pause).max(Duration::from_millis(1)))
    }

    /// Some ms from now, between two.
    pub(crate) fn shortly(&mut self, low: u64, high: u64) -> UnixMillis {
        let pause = self.media().millis(low, high);
        self.later(self.now, pause)
    }

    /// The RTC Engine tells something; the scenario's own time goes on as if it did not.
    pub(crate) fn tell(&mut self, event: EngineEvent) {
        self.told.push(event);
    }

    /// Sends a body, with `EventTime` behind its own members unless it has one.
    pub(crate) fn send(&mut self, command: &'static str, by: &Person, body: Value) {
        let mut body = body;
        if body.get("EventTime").is_none() {
            body["EventTime"] = self.now.0.into();
        }
        self.send_untimed(command, by, body);
    }

    /// Sends a body as it is, the command before it.
    pub(crate) fn send_untimed(&mut self, command: &'static str, by: &Person, body: Value) {
        let mut whole = Map::new();
        whole.insert("CallbackCommand".into(), command.into());
        if let Value::Object(members) = body {
            whole.extend(members);
        }
        self.sent.push(TimedDelivery {
            at: self.now,
            dialect: Dialect::Im,
            command,
            body: Value::Object(whole).to_string(),
            platform: by.platform,
            client_ip: by.ip.clone(),
        });
        // No two events of one scenario share a time.
        self.now = UnixMillis(self.now.0.saturating_add(1));
    }

    /// All that is sent, in the dialects that are spoken and in the order of time.
    pub(crate) fn finish(self) -> Vec<TimedDelivery> {
        let Self { world, mut sent, mut told, .. } = self;
        let dialects = world.options.dialects;
        let taken: BTreeSet<UnixMillis> = sent.iter().map(|delivery| delivery.at).collect();
        if !dialects.contain(Dialect::Im) {
            sent.clear();
        }
        // A stable sort: what happens in the same ms was told in its order.
        told.sort_by_key(|event| event.at);
        let mut last = UnixMillis::default();
        for event in told {
            // One behind the other, and never together with an event of a kit.
            let is_of_task = event.number >= 400;
            let dice = if is_of_task { &mut world.tasks } else { &mut world.media };
            let way = dice.number(WAY.0, WAY.1);
            let mut at = event.at.plus(Duration::from_millis(way)).max(UnixMillis(last.0 + 1));
            while taken.contains(&at) {
                at = at.plus(Duration::from_millis(1));
            }
            last = at;
            if dialects.contain(Dialect::RtcEngine) {
                sent.push(event.into_delivery(at));
            }
        }
        sent.sort_by_key(|delivery| delivery.at);
        sent
    }
}
