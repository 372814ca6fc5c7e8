//! Believable traffic, pure: a seed goes in, timed deliveries come out. The same seed gives the same traffic.
//!
//! A [`Generator`] writes [`Scenario`]s: a call from its first ring to its end, a conference, a live show with its
//! viewers. [`Traffic`] merges them into one stream, as many events per second as its options say. [`disturbed`] does to
//! it what a network does: late, twice, never. `trtc-callbacks simulate` posts what comes out; tests feed on it.
//!
//! ```
//! use trtc_callbacks::callback::AppId;
//! use trtc_callbacks::clock::UnixMillis;
//! use trtc_callbacks::simulate::{Generator, Kind, Options};
//!
//! let app = AppId::parse("1400000001").unwrap();
//! let start = UnixMillis(1_740_464_128_000);
//! let mut generator = Generator::new(7, app, start, Options::tiny());
//! let missed = generator.scenario(Kind::MissedCall, start);
//! let commands: Vec<&str> = missed.deliveries.iter().map(|delivery| delivery.command).collect();
//! assert_eq!(commands[0], "Call.CallbackAfterStartCall");
//! assert_eq!(commands[2], "Call.CallbackAfterEndCall");
//! ```

use std::time::Duration;

use serde_json::json;

use crate::callback::event::Payload;
use crate::callback::{AppId, Delivery, recorded_request};
use crate::clock::UnixMillis;

mod dice;
mod disturbance;
mod people;
pub(crate) mod scenarios;
mod script;
mod traffic;

pub use disturbance::{Disturbance, disturbed};
pub use traffic::{Due, Traffic};

use crate::simulate::scenarios::rooms::Rooms;
use dice::Dice;
use people::Person;
use script::{Script, World};

/// One callback, and when it is to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedDelivery {
    /// When it happens and is sent. The body tells the same time, in ms or in s, unless the delivery was disturbed.
    pub at: UnixMillis,
    /// The command as it stands in query and body; now and then an alias of a typed command.
    pub command: &'static str,
    /// The body: JSON as the vendor writes it.
    pub body: String,
    /// `OptPlatform` of the query.
    pub platform: &'static str,
    /// `ClientIP` of the query.
    pub client_ip: String,
}

impl TimedDelivery {
    /// The request, unsigned.
    #[must_use]
    pub fn delivery(&self, app: AppId) -> Delivery {
        let ip = Some(self.client_ip.as_str());
        let query = recorded_request::query(app, self.command, ip, Some(self.platform), None);
        Delivery::of_payload(query, &Payload::Json(self.body.clone()))
    }
}

/// Events that belong together, from the first to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// What it plays.
    pub kind: Kind,
    /// In the order of their times, no two of which are the same. Never empty.
    pub deliveries: Vec<TimedDelivery>,
}

/// What a scenario plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// A call between two that was taken and ended in the usual way.
    AnsweredCall,
    /// One that the callee declined.
    RejectedCall,
    /// One that rang out.
    MissedCall,
    /// One that the caller gave up.
    CancelledCall,
    /// One to somebody in another call.
    BusyCall,
    /// One that was taken, and lost by the network.
    DroppedCall,
    /// A call among several: some late, some asked in, some coming back.
    GroupCall,
    /// A conference: one room, one or several lives.
    Conference,
    /// A live show: one room, one or several lives, often with a battle against rivals, whose rooms are in it too.
    Show,
    /// The app's rooms come near to their quota.
    Quota,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::AnsweredCall,
        Self::RejectedCall,
        Self::MissedCall,
        Self::CancelledCall,
        Self::BusyCall,
        Self::DroppedCall,
        Self::GroupCall,
        Self::Conference,
        Self::Show,
        Self::Quota,
    ];

    /// What it is called.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AnsweredCall => "answered call",
            Self::RejectedCall => "rejected call",
            Self::MissedCall => "missed call",
            Self::CancelledCall => "cancelled call",
            Self::BusyCall => "busy call",
            Self::DroppedCall => "dropped call",
            Self::GroupCall => "group call",
            Self::Conference => "conference",
            Self::Show => "live show",
            Self::Quota => "room quota",
        }
    }
}

/// How large, how long and how often. Lengths are those of real life, before [`Options::compress`].
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How often each kind comes, against the others. A kind that is not listed does not come.
    pub kinds: Vec<(Kind, u64)>,
    /// How many events there are per second on average: how closely scenarios follow each other.
    pub rate: f64,
    /// How many times faster than in real life everything happens. 10 makes three seconds of a ring of thirty.
    pub compress: f64,
    /// How many people there are; more where a show needs them.
    pub accounts: usize,
    /// How many a group call rings at most, the caller among them; 3 at least. Two more may come in later.
    pub group_members_max: usize,
    /// How many come to a conference at most.
    pub conference_members_max: usize,
    /// How many come to a show at most; half of them at least.
    pub viewers: usize,
    /// How many lives a room has at most within one scenario.
    pub lives_max: usize,
    /// How long people talk on average.
    pub talk_median: Duration,
    /// How long they talk at most.
    pub talk_max: Duration,
    /// How long a conference takes, give or take a half.
    pub conference_length: Duration,
    /// How long a show takes, give or take two fifths.
    pub show_length: Duration,
    /// Which share of calls and shows is recorded, from 0 to 1.
    pub recorded: f64,
}

impl Default for Options {
    /// A small app at a busy hour, in real time.
    fn default() -> Self {
        Self {
            kinds: vec![
                (Kind::AnsweredCall, 24),
                (Kind::RejectedCall, 6),
                (Kind::MissedCall, 8),
                (Kind::CancelledCall, 5),
                (Kind::BusyCall, 3),
                (Kind::DroppedCall, 4),
                (Kind::GroupCall, 12),
                (Kind::Conference, 12),
                (Kind::Show, 12),
                (Kind::Quota, 1),
            ],
            rate: 20.0,
            compress: 1.0,
            accounts: 200,
            group_members_max: 7,
            conference_members_max: 12,
            viewers: 40,
            lives_max: 2,
            talk_median: Duration::from_secs(90),
            talk_max: Duration::from_mins(30),
            conference_length: Duration::from_mins(20),
            show_length: Duration::from_mins(30),
            recorded: 0.25,
        }
    }
}

impl Options {
    /// As small as a scenario can be and still have everything in it: for tests that play thousands.
    #[must_use]
    pub fn tiny() -> Self {
        Self {
            accounts: 12,
            group_members_max: 4,
            conference_members_max: 4,
            viewers: 4,
            lives_max: 3,
            ..Self::default()
        }
    }

    /// With what makes no sense replaced by what does: no factor that is no number, no length beyond a week.
    fn sound(mut self) -> Self {
        let number = |value: f64| if value.is_nan() { 1.0 } else { value.clamp(0.001, 1e6) };
        self.compress = number(self.compress);
        self.rate = number(self.rate);
        let lengths = [
            &mut self.talk_median,
            &mut self.talk_max,
            &mut self.conference_length,
            &mut self.show_length,
        ];
        for length in lengths {
            *length = (*length).min(Duration::from_hours(7 * 24));
        }
        self
    }
}

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
        let world = World {
            app,
            options: options.sound(),
            dice: Dice::new(seed),
            names: Dice::new(names),
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
            Kind::GroupCall => scenarios::group_calls::group_call(&mut script),
            Kind::Conference => scenarios::conferences::conference(&mut script),
            Kind::Show => scenarios::shows::show(&mut script),
            Kind::Quota => quota(&mut script),
            one_to_one => scenarios::calls::one_to_one(&mut script, one_to_one),
        }
        Scenario { kind, deliveries: script.finish() }
    }

    /// When the next scenario begins.
    #[must_use]
    pub fn next_start(&self) -> UnixMillis {
        self.next
    }

    /// The next scenario that is over by `end`: what would not be is put back for something else.
    fn next_until(&mut self, end: UnixMillis) -> Option<Scenario> {
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
