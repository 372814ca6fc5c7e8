//! A simulated world around a window: a feed, a store that keeps what is written, and a receiver that may fail. Time is turned.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::time::Duration;

use forward::answer::{Failure, Response};
use forward::breaker::DestinationState;
use forward::event_columns::{Content, EventColumns, Subject};
use forward::window::{
    Exception, ExceptionState, FeedContent, FeedEvent, Outcome, Rules, Send, Start, StateRow,
    Tallies, Window, Write,
};
use protocol::event::Payload;
use protocol::{AppId, UnixMillis};
use uuid::Uuid;

pub(crate) const START: UnixMillis = UnixMillis(1_795_943_259_000);

/// What the receiver does with a try of the event of this number, at this time since the start.
pub(crate) type Receiver = Box<dyn FnMut(usize, Duration, &mut fastrand::Rng) -> Answer>;

/// What a receiver does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Status(u16),
    Throttled(&'static str),
    Failed(Failure),
}

/// An event of the feed.
pub(crate) struct Event {
    pub(crate) columns: EventColumns,
    /// It was deleted before it was read.
    pub(crate) gone: bool,
}

/// An event of this number: every event has a position of its own, with gaps between.
pub(crate) fn event(number: usize, call: Option<&str>, room: Option<&str>) -> Event {
    let position = i64::try_from(number).unwrap();
    let columns = EventColumns {
        id: Uuid::from_u128(number as u128 + 1),
        position: position / 500 * 512 + position % 500 + 600,
        app: AppId::parse("1400000001").unwrap(),
        family: "call".to_owned(),
        command: "Call.CallbackAfterEndCall".to_owned(),
        command_sent: None,
        event_time: START,
        received_at: START,
        call_id: call.map(str::to_owned),
        room_id: room.map(str::to_owned),
        operator: None,
        client_ip: None,
        platform: None,
        decode_error: None,
        content: Content::Vendor(Payload::Json("{}".to_owned())),
    };
    Event { columns, gone: false }
}

/// What the store keeps.
#[derive(Debug)]
struct Store {
    position: i64,
    exceptions: BTreeMap<Uuid, Exception>,
    state: StateRow,
}

/// What the receiver saw of an event.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) delivered_at: Option<UnixMillis>,
    pub(crate) deliveries: u32,
    pub(crate) failed_at: Option<UnixMillis>,
    pub(crate) failures: u32,
}

/// A try under way.
struct Flight {
    number: usize,
    id: Uuid,
    subject: Option<Subject>,
    ends_at: UnixMillis,
    outcome: Outcome,
    answer: Answer,
}

pub(crate) struct World {
    pub(crate) events: Vec<Event>,
    pub(crate) rules: Rules,
    pub(crate) receiver: Receiver,
    pub(crate) random: fastrand::Rng,
    pub(crate) now: UnixMillis,
    /// How likely a crash is at each step.
    pub(crate) crash: f64,
    /// How likely a write fails, committed or not.
    pub(crate) write_failure: f64,
    /// How long a try takes, at most.
    pub(crate) latency_ms: i64,
    /// When the event of a number is stored, after the start.
    pub(crate) stored_after: Box<dyn Fn(usize) -> Duration>,
    pub(crate) window: Window,
    store: Store,
    flights: Vec<Flight>,
    numbers: HashMap<Uuid, usize>,
    by_position: BTreeMap<i64, usize>,
    /// The events of each subject that are still to be delivered.
    to_come: HashMap<Subject, BTreeSet<usize>>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) tallies: Tallies,
    pub(crate) crashes: usize,
    steps: usize,
    pub(crate) in_flight_most: usize,
    pub(crate) attempts_most: u32,
    pub(crate) waiting_most: usize,
    pub(crate) sent_at: Vec<UnixMillis>,
}

impl World {
    pub(crate) fn new(events: Vec<Event>, rules: Rules, receiver: Receiver, seed: u64) -> Self {
        let start = Start::at(0);
        let store = Store { position: 0, exceptions: BTreeMap::new(), state: start.state };
        let by = |event: &Event| (event.columns.id, event.columns.position);
        let numbers = events.iter().enumerate().map(|(number, event)| (by(event).0, number));
        let positions = events.iter().enumerate().map(|(number, event)| (by(event).1, number));
        let mut to_come: HashMap<Subject, BTreeSet<usize>> = HashMap::new();
        for (number, Event { columns, gone }) in events.iter().enumerate() {
            let is_sent = !gone && rules.filter.fits(columns);
            if let Some(subject) = columns.subject().filter(|_| is_sent) {
                to_come.entry(subject).or_default().insert(number);
            }
        }
        Self {
            to_come,
            numbers: numbers.collect(),
            by_position: positions.collect(),
            window: Window::new(rules.clone(), start, START),
            seen: vec![Seen::default(); events.len()],
            events,
            rules,
            receiver,
            random: fastrand::Rng::with_seed(seed),
            now: START,
            crash: 0.0,
            write_failure: 0.0,
            latency_ms: 40,
            stored_after: Box::new(|_| Duration::ZERO),
            store,
            flights: Vec::new(),
            tallies: Tallies::default(),
            crashes: 0,
            steps: 0,
            in_flight_most: 0,
            attempts_most: 0,
            waiting_most: 0,
            sent_at: Vec::new(),
        }
    }

    /// Runs until every event is done, or this time is over. Panics where the forwarder stands still.
    pub(crate) fn run(&mut self, longest: Duration) {
        let end = START.plus(longest);
        while self.now < end && !self.is_done() {
            self.step();
        }
        assert!(
            self.now < end || self.is_done(),
            "not done after {longest:?}: {:?}, read to {}, waiting: {:?}",
            self.window.state(),
            self.window.read_position(),
            self.rows()
        );
    }

    /// Runs for some time, done or not.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while self.now < end && !self.is_done() {
            self.step();
        }
    }

    fn is_done(&self) -> bool {
        let last = self.events.last().map_or(0, |event| event.columns.position);
        self.store.position == last
            && self.store.exceptions.values().all(|row| row.state == ExceptionState::Dead)
            && self.flights.is_empty()
            && self.window.is_empty()
    }

    fn step(&mut self) {
        self.steps += 1;
        assert!(
            self.steps < 1_000_000,
            "it runs in circles: {:?} {:?}",
            self.now.since(START),
            self.rows()
        );
        if self.random.f64() < self.crash {
            self.crash();
        }
        self.read();
        for send in self.window.sends(self.now) {
            self.send(send);
        }
        assert!(self.flights.len() <= self.rules.in_flight_max as usize);
        assert_eq!(self.flights.len(), self.window.in_flight());
        if let Some(write) = self.window.write(self.now) {
            self.write(write);
        }
        self.look();
        let answers = self.flights.iter().map(|flight| flight.ends_at);
        let next_stored = self.by_position.range(self.window.read_position() + 1..).next();
        let stored = next_stored.map(|(_, number)| START.plus((self.stored_after)(*number)));
        let stored = stored.filter(|stored| *stored > self.now);
        let moments = answers.chain(self.window.wake_at(self.now)).chain(stored);
        let Some(next) = moments.min() else {
            let is_paused = matches!(self.window.state().state, DestinationState::Paused(_));
            if is_paused {
                self.now = self.now.plus(Duration::from_mins(1));
                return;
            }
            assert!(self.is_done(), "it stands still: {:?}", self.window.state());
            return;
        };
        self.now = self.now.max(next);
        let mut ended = Vec::new();
        let mut place = 0;
        while place < self.flights.len() {
            if self.flights[place].ends_at <= self.now {
                ended.push(self.flights.swap_remove(place));
            } else {
                place += 1;
            }
        }
        ended.sort_by_key(|flight| flight.ends_at);
        for flight in ended {
            self.receive(&flight);
            self.window.ended(flight.id, flight.outcome, self.now, &mut self.random);
        }
    }

    fn read(&mut self) {
        let room = self.window.room();
        if room.events == 0 {
            return;
        }
        let chunk = self.random.usize(1..=room.events);
        let behind = self.window.read_position() + 1;
        let now = self.now;
        let stored = |number: usize| START.plus((self.stored_after)(number)) <= now;
        let numbers: Vec<usize> = self
            .by_position
            .range(behind..)
            .map(|(_, number)| *number)
            .take_while(|number| stored(*number))
            .take(chunk)
            .collect();
        let events = numbers.iter().map(|number| &self.events[*number]).map(|event| FeedEvent {
            position: event.columns.position,
            id: event.columns.id,
            content: if event.gone {
                FeedContent::Gone
            } else {
                FeedContent::Columns(&event.columns)
            },
        });
        self.window.take_events(events);
    }

    fn send(&mut self, send: Send) {
        let number = self.numbers[&send.id];
        let event = &self.events[number];
        assert_eq!(send.position, event.columns.position);
        let subject = event.columns.subject();
        let is_alone = subject.is_none() || self.flights.iter().all(|it| it.subject != subject);
        let is_ordered = self.rules.order == forward::destination::settings::OrderRule::Subject;
        assert!(is_alone || !is_ordered, "two of one subject");
        self.sent_at.push(self.now);
        let after = Duration::from_millis(self.now.since(START).as_millis().try_into().unwrap());
        let answer = (self.receiver)(number, after, &mut self.random);
        let response = match answer {
            Answer::Status(status) => Response::Status { status, retry_after: None },
            Answer::Throttled(wait) => Response::Status { status: 429, retry_after: Some(wait) },
            Answer::Failed(failure) => Response::Failure(failure),
        };
        let meaning = response.meaning(self.now);
        let outcome = Outcome::Sent { meaning, status: None, error: Some("x".repeat(9)) };
        let latency = self.random.i64(1..=self.latency_ms.max(1));
        self.flights.push(Flight {
            number,
            id: send.id,
            subject,
            ends_at: UnixMillis(self.now.0 + latency),
            outcome,
            answer,
        });
        self.in_flight_most = self.in_flight_most.max(self.flights.len());
    }

    /// The receiver has seen a try.
    fn receive(&mut self, flight: &Flight) {
        let seen = &mut self.seen[flight.number];
        if let Answer::Status(200..=299) = flight.answer {
            seen.deliveries += 1;
            if seen.delivered_at.is_none() {
                seen.delivered_at = Some(self.now);
                self.check_order(flight.number);
            }
        } else {
            seen.failures += 1;
            seen.failed_at.get_or_insert(self.now);
        }
    }

    /// An event was delivered for the first time: no earlier one of its subject is still to come, unless it failed long ago.
    fn check_order(&mut self, number: usize) {
        if self.rules.order != forward::destination::settings::OrderRule::Subject {
            return;
        }
        let Some(subject) = self.events[number].columns.subject() else { return };
        let Some(to_come) = self.to_come.get_mut(&subject) else { return };
        to_come.remove(&number);
        for earlier in to_come.range(..number) {
            let waited = self.seen[*earlier].failed_at.map(|failed| self.now.since(failed));
            let is_over = waited.is_some_and(|waited| waited >= self.rules.order_wait);
            assert!(is_over, "{number} overtook {earlier}, which failed {waited:?} ago");
        }
    }

    fn write(&mut self, write: Write) {
        // Where it fails, nobody knows whether it was committed.
        let is_told = self.random.f64() >= self.write_failure;
        let is_lost = !is_told && self.random.bool();
        if !is_lost {
            self.apply(write);
        }
        self.window.written(is_told);
    }

    fn apply(&mut self, write: Write) {
        assert!(write.position >= self.store.position, "the cursor never goes back");
        let passed = (Bound::Excluded(self.store.position), Bound::Included(write.position));
        self.store.position = write.position;
        for row in write.upserts {
            self.store.exceptions.insert(row.id, row);
        }
        for id in &write.removals {
            self.store.exceptions.remove(id);
        }
        self.store.state = write.state.unwrap_or(self.store.state);
        // A crash right now loses nothing: what the cursor passed is done or has a row, and what has no row any more is done.
        let removed = write.removals.iter().map(|id| self.numbers[id]);
        let passed = self.by_position.range(passed).map(|(_, number)| *number);
        for number in passed.chain(removed) {
            let Event { columns, gone } = &self.events[number];
            let is_done = *gone
                || !self.rules.filter.fits(columns)
                || self.seen[number].delivered_at.is_some();
            let has_row = self.store.exceptions.contains_key(&columns.id);
            assert!(is_done || has_row, "{number} is lost");
        }
    }

    fn look(&mut self) {
        let rows = self.store.exceptions.values();
        let most = rows.map(|row| row.attempts).max().unwrap_or(0);
        self.attempts_most = self.attempts_most.max(most);
        self.waiting_most = self.waiting_most.max(self.window.waiting());
        let Tallies { delivered, filtered, gone, dead } = self.window.take_tallies();
        self.tallies.delivered += delivered;
        self.tallies.filtered += filtered;
        self.tallies.gone += gone;
        self.tallies.dead += dead;
    }

    /// The process dies. What is under way arrives, or does not; nobody hears of it.
    pub(crate) fn crash(&mut self) {
        self.crashes += 1;
        if self.random.bool()
            && let Some(write) = self.window.write_now(self.now)
        {
            self.apply(write);
        }
        for flight in std::mem::take(&mut self.flights) {
            if self.random.bool() {
                self.receive(&flight);
            }
        }
        let dead = |row: &&Exception| row.state == ExceptionState::Dead;
        let rows = self.store.exceptions.values();
        let start = Start {
            position: self.store.position,
            dead: rows.clone().filter(dead).count(),
            exceptions: rows
                .filter(|row| !dead(row) || row.position > self.store.position)
                .cloned()
                .collect(),
            state: self.store.state,
        };
        self.window = Window::new(self.rules.clone(), start, self.now);
    }

    /// The events that wait, and how many attempts failed.
    fn rows(&self) -> Vec<(usize, u32)> {
        let rows = self.store.exceptions.values();
        let waiting = rows.filter(|row| row.state != ExceptionState::Dead);
        waiting.map(|row| (self.numbers[&row.id], row.attempts)).collect()
    }

    /// The dead letters.
    pub(crate) fn dead(&self) -> HashSet<usize> {
        let rows = self.store.exceptions.values();
        let dead = rows.filter(|row| row.state == ExceptionState::Dead);
        dead.map(|row| self.numbers[&row.id]).collect()
    }

    /// The events that were never delivered.
    pub(crate) fn undelivered(&self) -> Vec<usize> {
        let numbers = 0..self.events.len();
        numbers.filter(|number| self.seen[*number].delivered_at.is_none()).collect()
    }
}
