//! The window: which events are known, what is sent next, and when to look again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use uuid::Uuid;

use protocol::UnixMillis;

use crate::breaker::{Allowance, Breaker, PauseReason};
use crate::destination::settings::OrderRule;
use crate::event_columns::Subject;
use crate::order::{Order, Place};
use crate::window::cursor::Cursor;
use crate::window::exception::{Exception, ExceptionState, StateRow, Write};
use crate::window::item::{EVENT_BYTES, Item, ItemState, Row};
use crate::window::model::{
    FeedContent, FeedEvent, Room, Rules, Send, Start, Tallies, WINDOW_EVENTS_MAX,
};
use crate::window::pace::Pace;
use crate::window::replays::ReplayLane;

/// The pure core of a forwarder: see [`crate::window`].
#[derive(Debug)]
pub struct Window {
    pub(super) rules: Rules,
    pub(super) cursor: Cursor,
    pub(super) order: Order,
    pub(super) breaker: Breaker,
    /// Every event that is not done.
    pub(super) items: HashMap<Uuid, Item>,
    /// The failing ones among them, and replays, by the moment of their next try.
    pub(super) retries: BTreeSet<(UnixMillis, Place)>,
    pub(super) replays: BTreeSet<(UnixMillis, Place)>,
    pub(super) in_flight: usize,
    /// Events that failed, and since then no other was delivered.
    pub(super) unbeaten: HashSet<Uuid>,
    /// Events that failed without an attempt used up, and wait to be tried again.
    pub(super) soft: HashSet<Uuid>,
    /// The events whose failures since the last success cost an attempt.
    pub(super) counted: Vec<Uuid>,
    /// The probe, and the events of its subject that it passed.
    pub(super) passed: Option<(Uuid, Vec<Uuid>)>,
    /// Dead letters behind the cursor, which were not read yet.
    dead_ahead: HashSet<Uuid>,
    /// How many events have a row and wait.
    pub(super) waiting: usize,
    /// How many are dead letters.
    pub(super) dead: usize,
    /// The size of those in the window.
    pub(super) bytes: usize,
    pace: Pace,
    pub(super) replay_lane: ReplayLane,
    /// Counts what is sent, so that retries and replays get their turns.
    turn: u32,
    /// Counts probes.
    pub(super) probes: u32,
    pub(super) tallies: Tallies,
    /// What is to be written down of exceptions: the row, or that there is none.
    pub(super) changes: BTreeMap<Uuid, Option<Exception>>,
    pub(super) written_position: i64,
    pub(super) written_state: StateRow,
    pub(super) written_at: UnixMillis,
    /// How many events are done since the last write.
    pub(super) done_since: usize,
    /// What is being written.
    pub(super) writing: Option<Write>,
    /// Whether the last write failed.
    pub(super) write_failed: bool,
}

impl Window {
    /// The window of a destination that starts here.
    #[must_use]
    pub fn new(rules: Rules, start: Start, now: UnixMillis) -> Self {
        let StateRow { state, failing_since } = start.state;
        let breaker = Breaker::restored(rules.in_flight_max, state, failing_since, now);
        let (pace, replay_lane) = (Pace::new(rules.rate_max), ReplayLane::new(rules.rate_max));
        let mut window = Self {
            rules,
            cursor: Cursor::new(start.position),
            order: Order::default(),
            breaker,
            items: HashMap::new(),
            retries: BTreeSet::new(),
            replays: BTreeSet::new(),
            in_flight: 0,
            unbeaten: HashSet::new(),
            soft: HashSet::new(),
            counted: Vec::new(),
            passed: None,
            dead_ahead: HashSet::new(),
            waiting: 0,
            dead: start.dead,
            bytes: 0,
            pace,
            replay_lane,
            turn: 0,
            probes: 0,
            tallies: Tallies::default(),
            changes: BTreeMap::new(),
            written_position: start.position,
            written_state: start.state,
            written_at: now,
            done_since: 0,
            writing: None,
            write_failed: false,
        };
        window.take_exceptions(start.exceptions, now);
        window
    }

    /// The next event to read is behind this position.
    #[must_use]
    pub fn read_position(&self) -> i64 {
        self.cursor.read_position()
    }

    /// How much more may be read.
    #[must_use]
    pub fn room(&self) -> Room {
        let bytes = self.rules.window_bytes.saturating_sub(self.bytes);
        let events = WINDOW_EVENTS_MAX.saturating_sub(self.cursor.span());
        Room { events: events.min(bytes.div_ceil(EVENT_BYTES)), bytes }
    }

    /// Takes events of the feed, in the order of their positions.
    pub fn take_events<'a>(&mut self, events: impl IntoIterator<Item = FeedEvent<'a>>) {
        for FeedEvent { position, id, content } in events {
            let place = Place { position, id };
            if !self.cursor.read(place) {
                continue;
            }
            // It has a row among the exceptions.
            if self.items.contains_key(&id) || self.dead_ahead.remove(&id) {
                self.cursor.done(position);
                continue;
            }
            let counter = match content {
                FeedContent::Gone => &mut self.tallies.gone,
                FeedContent::Columns(columns) if !self.rules.filter.fits(columns) => {
                    &mut self.tallies.filtered
                }
                FeedContent::Columns(columns) => {
                    self.add(place, columns.subject(), columns.content.bytes());
                    continue;
                }
                FeedContent::Unreadable => {
                    self.add(place, None, 0);
                    continue;
                }
            };
            *counter += 1;
            self.done(position);
        }
    }

    fn add(&mut self, place: Place, subject: Option<Subject>, body_bytes: usize) {
        let subject = subject.filter(|_| self.rules.order == OrderRule::Subject);
        let bytes = body_bytes + EVENT_BYTES;
        self.bytes += bytes;
        self.items.insert(place.id, Item::new(place, subject, bytes));
        self.order.wait(place, subject);
    }

    /// Takes rows of the store: those at the start, replays, and what somebody put back on the schedule. One of an event that is
    /// known changes when it is tried again, unless it is being sent.
    pub fn take_exceptions(&mut self, rows: impl IntoIterator<Item = Exception>, now: UnixMillis) {
        for row in rows {
            if row.state == ExceptionState::Dead {
                if row.position > self.cursor.read_position() {
                    self.dead_ahead.insert(row.id);
                }
                continue;
            }
            // The row was read before it was removed.
            let is_removed = self.changes.get(&row.id).is_some_and(Option::is_none)
                || self.writing.as_ref().is_some_and(|write| write.removals.contains(&row.id));
            if is_removed {
                continue;
            }
            self.dead_ahead.remove(&row.id);
            if self.items.get(&row.id).is_some_and(|item| item.state == ItemState::Dead) {
                // The row was read before it was written as a dead letter; else somebody put it back on the schedule.
                if self.changes.contains_key(&row.id) {
                    continue;
                }
                self.items.remove(&row.id);
                self.counted.retain(|id| *id != row.id);
                self.dead = self.dead.saturating_sub(1);
            }
            match self.items.get_mut(&row.id) {
                None => self.restore(row, now),
                Some(item) => {
                    if item.row == Row::None {
                        // Somebody wants it again before it was sent: sent once, it has no row any more.
                        item.row = Row::Stored;
                        self.bytes -= std::mem::take(&mut item.bytes);
                        self.waiting += 1;
                        self.cursor.done(item.place.position);
                        continue;
                    }
                    let ItemState::Failing(next_at) = item.state else { continue };
                    let is_reset = row.attempts < item.attempts;
                    item.attempts = item.attempts.min(row.attempts);
                    if is_reset || row.next_at < next_at {
                        self.reschedule(row.id, row.next_at);
                    }
                }
            }
        }
    }

    fn restore(&mut self, row: Exception, now: UnixMillis) {
        let mut item = Item::of_row(row);
        if self.rules.order == OrderRule::None {
            item.subject = None;
        }
        let (place, subject) = (item.place, item.subject);
        self.waiting += usize::from(!item.replay);
        match item.state {
            ItemState::Failing(next_at) => {
                self.queue_of(item.replay).insert((next_at, place));
                let until = item.first_failed_at.map(|first| first.plus(self.rules.order_wait));
                if let Some(until) = until.filter(|until| *until > now && !item.replay) {
                    self.order.hold(place, subject, until);
                }
            }
            _ => self.order.wait(place, subject),
        }
        self.items.insert(place.id, item);
    }

    /// What is to be sent now.
    #[must_use]
    pub fn sends(&mut self, now: UnixMillis) -> Vec<Send> {
        self.order.advance(now);
        let mut sends = Vec::new();
        loop {
            let place = match self.breaker.allowance(self.in_flight, now) {
                Allowance::Nothing => break,
                Allowance::Probe => self.take_probe(now),
                Allowance::Events(_) if self.pace.next_at() > now => break,
                Allowance::Events(_) => self.next(now),
            };
            let Some(send) = place.and_then(|place| self.send(place, now)) else { break };
            sends.push(send);
        }
        sends
    }

    /// The event whose turn it is. Every other turn is one of the window's; retries and replays share the rest.
    fn next(&self, now: UnixMillis) -> Option<Place> {
        let window = || self.order.first_ready();
        let due = |queue: &BTreeSet<(UnixMillis, Place)>| {
            let due = queue.iter().take_while(|(next_at, _)| *next_at <= now);
            due.map(|(_, place)| *place).find(|place| self.may_retry(*place))
        };
        let retry = || due(&self.retries);
        let replay = || if self.replay_lane.is_open(now) { due(&self.replays) } else { None };
        match self.turn % 4 {
            1 => retry().or_else(replay).or_else(window),
            3 => replay().or_else(retry).or_else(window),
            _ => window().or_else(retry).or_else(replay),
        }
    }

    fn may_retry(&self, place: Place) -> bool {
        self.items.get(&place.id).is_some_and(|item| {
            if item.replay {
                // It was delivered in its order once.
                !self.order.is_in_flight(item.subject)
            } else {
                self.order.may_retry(place, item.subject)
            }
        })
    }

    fn send(&mut self, place: Place, now: UnixMillis) -> Option<Send> {
        let item = self.items.get_mut(&place.id)?;
        let failing_at = match item.state {
            ItemState::Failing(next_at) => Some(next_at),
            _ => None,
        };
        item.state = ItemState::InFlight(failing_at);
        let (subject, replay, attempt) = (item.subject, item.replay, item.tries + 1);
        if let Some(next_at) = failing_at {
            self.queue_of(replay).remove(&(next_at, place));
        }
        self.order.sent(place, subject);
        self.in_flight += 1;
        self.turn = self.turn.wrapping_add(1);
        self.pace.sent(now);
        if replay {
            self.replay_lane.sent(now);
        }
        Some(Send { id: place.id, position: place.position, attempt, replay })
    }

    /// When to call [`Window::sends`] and [`Window::write`] again, unless something is taken or ends before.
    #[must_use]
    pub fn wake_at(&self, now: UnixMillis) -> Option<UnixMillis> {
        let first = |queue: &BTreeSet<(UnixMillis, Place)>| {
            // What is due and was not sent waits for an answer, or for one of the other moments.
            let later = queue.range((now.plus(Duration::from_millis(1)), FIRST_PLACE)..).next();
            later.map(|(next_at, _)| *next_at)
        };
        let moments = [
            first(&self.retries),
            first(&self.replays),
            self.order.next_end(),
            self.breaker.probe_at(),
            Some(self.pace.next_at()),
            Some(self.replay_lane.opens_at()).filter(|_| !self.replays.is_empty()),
            self.write_at(),
        ];
        moments.into_iter().flatten().filter(|moment| *moment > now).min()
    }

    /// Sends nothing until it is resumed.
    pub fn pause(&mut self, reason: PauseReason, now: UnixMillis) {
        self.breaker.pause(reason, now);
    }

    /// Sends again, first a probe.
    pub fn resume(&mut self, now: UnixMillis) {
        self.breaker.resume(now);
    }

    /// Whether the body of this event is to be kept: it is in the window. The others are read again when they are sent.
    #[must_use]
    pub fn holds(&self, id: Uuid) -> bool {
        self.items.get(&id).is_some_and(|item| {
            item.row == Row::None || matches!(item.state, ItemState::InFlight(_))
        })
    }

    /// The destination's state.
    #[must_use]
    pub fn state(&self) -> StateRow {
        let (state, failing_since) = (self.breaker.state(), self.breaker.failing_since());
        StateRow { state, failing_since }
    }

    /// How many events wait for another attempt.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many events that are to be sent again are known: where there are few, more can be taken.
    #[must_use]
    pub fn replays(&self) -> usize {
        self.replays.len()
    }

    /// How many dead letters there are.
    #[must_use]
    pub fn dead(&self) -> usize {
        self.dead
    }

    /// How many events are being sent.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether nothing is left to send of what was read, replays and retries included.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.values().all(|item| item.state == ItemState::Dead)
    }

    /// Whether nothing but replays is left to send of what was read.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.items.values().all(|item| item.state == ItemState::Dead || item.replay)
    }

    /// The store has so many dead letters: somebody may have put some back on the schedule.
    pub fn count_dead(&mut self, stored: usize) {
        let is_new = |row: &&Exception| row.state == ExceptionState::Dead;
        self.dead = stored + self.changes.values().flatten().filter(is_new).count();
    }

    /// Counts of events that are done since it was asked last, by result.
    pub fn take_tallies(&mut self) -> Tallies {
        std::mem::take(&mut self.tallies)
    }

    pub(super) fn queue_of(&mut self, replay: bool) -> &mut BTreeSet<(UnixMillis, Place)> {
        if replay { &mut self.replays } else { &mut self.retries }
    }

    fn reschedule(&mut self, id: Uuid, next_at: UnixMillis) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let ItemState::Failing(before) = item.state else { return };
        item.state = ItemState::Failing(next_at);
        let (place, replay) = (item.place, item.replay);
        let queue = self.queue_of(replay);
        queue.remove(&(before, place));
        queue.insert((next_at, place));
    }

    pub(super) fn done(&mut self, position: i64) {
        self.cursor.done(position);
        self.done_since += 1;
    }
}

/// What is before every place.
const FIRST_PLACE: Place = Place { position: i64::MIN, id: Uuid::nil() };
