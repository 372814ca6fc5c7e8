//! What a scenario is written into: its own time, and the deliveries that came of it.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::AppId;
use crate::simulate::dice::Dice;
use crate::simulate::options::Options;
use crate::simulate::people::Person;
use crate::simulate::rooms::Rooms;
use crate::simulate::timed_delivery::TimedDelivery;
use crate::time::UnixMillis;

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
    pub(crate) rooms: Rooms,
}

/// One scenario while it is written. Its times are those of real life; `compress` is applied here.
#[derive(Debug)]
pub(crate) struct Script<'w> {
    pub(crate) world: &'w mut World,
    begun: UnixMillis,
    now: UnixMillis,
    sent: Vec<TimedDelivery>,
}

impl<'w> Script<'w> {
    pub(crate) fn new(world: &'w mut World, start: UnixMillis) -> Self {
        Self { world, begun: start, now: start, sent: Vec::new() }
    }

    pub(crate) fn dice(&mut self) -> &mut Dice {
        &mut self.world.dice
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
            command,
            body: Value::Object(whole).to_string(),
            platform: by.platform,
            client_ip: by.ip.clone(),
        });
        // No two events of one scenario share a time.
        self.now = UnixMillis(self.now.0.saturating_add(1));
    }

    pub(crate) fn finish(self) -> Vec<TimedDelivery> {
        self.sent
    }
}
