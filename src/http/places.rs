//! The places of a listener: which connections are open, what each waits for, and who goes when no place is left.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::Extensions;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::telemetry::Closed;

/// How long a newcomer waits before it is asked anew who may go: connections fall idle in the meantime.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long a verified body may be under way before its connection may be closed to make room. Honest ones take far less.
const BODY_IN_PEACE: Duration = Duration::from_secs(1);
/// One part in this many goes at once, so that a flood does not make us look at every connection for each newcomer.
const BATCH_PART: usize = 16;

/// How long a connection may stay in each state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For a head, and for the first byte of a new connection.
    pub(super) header: Duration,
    /// For the next request.
    pub(super) idle: Duration,
    /// For the client to take some of an answer.
    pub(super) write: Duration,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its first byte.
    Fresh,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
    /// Us: a request is being served.
    Busy,
    /// An answer, all of it in hyper's hands, to be written.
    Answered,
    /// The next request.
    Idle,
}

/// What a connection is told by the listener. A later one overrides an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// Go, unless a request came in the meantime.
    MakeRoom,
    /// Finish the request under way, and take no other.
    Finish,
    /// End at once.
    Cut,
}

/// One open connection, as its own task, its requests and the listener see it.
#[derive(Debug)]
pub(super) struct Place {
    now: Mutex<Now>,
    called: Notify,
}

#[derive(Debug)]
struct Now {
    state: State,
    since: Instant,
    /// Since when the client has taken nothing of what is written to it; absent while it does.
    stuck: Option<Instant>,
    /// It brought a verified request.
    known: bool,
    /// hyper refused a head.
    refused: bool,
    /// It was answered before all of its request had come.
    cut_short: bool,
    order: Option<Order>,
}

impl Place {
    fn new() -> Self {
        let now = Now {
            state: State::Fresh,
            since: Instant::now(),
            stuck: None,
            known: false,
            refused: false,
            cut_short: false,
            order: None,
        };
        Self { now: Mutex::new(now), called: Notify::new() }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of a head came. Only the first ones count, so that a trickle gains no time.
    pub(super) fn head_begins(&self) {
        let mut now = self.now();
        if matches!(now.state, State::Fresh | State::Idle) {
            now.enter(State::Head);
        }
    }

    /// A head is complete.
    pub(super) fn request_begins(&self, has_body: bool) {
        let mut now = self.now();
        // What was left of the request before has been read to its end.
        now.cut_short = false;
        now.enter(if has_body { State::Body } else { State::Busy });
    }

    /// The request's body is complete.
    pub(super) fn body_ends(&self) {
        let mut now = self.now();
        if now.state == State::Body {
            now.enter(State::Busy);
        }
    }

    /// hyper has the whole answer.
    pub(super) fn answered(&self) {
        let mut now = self.now();
        now.cut_short |= now.state == State::Body;
        now.enter(State::Answered);
    }

    /// All that hyper had to write is written.
    pub(super) fn flushed(&self) {
        let mut now = self.now();
        now.stuck = None;
        if now.state == State::Answered {
            now.enter(State::Idle);
        }
    }

    /// Bytes are about to be written. Whether they answer no request of ours: hyper refuses a head.
    pub(super) fn write_begins(&self) -> bool {
        let mut now = self.now();
        let refuses = matches!(now.state, State::Fresh | State::Head | State::Idle);
        if refuses {
            now.refused = true;
            now.cut_short = true;
            now.enter(State::Answered);
        }
        refuses
    }

    /// Whether the client takes what is written to it.
    pub(super) fn write_moves(&self, moves: bool) {
        let mut now = self.now();
        now.stuck = if moves { None } else { now.stuck.or_else(|| Some(Instant::now())) };
    }

    /// Whether hyper refused a head.
    pub(super) fn refused(&self) -> bool {
        self.now().refused
    }

    /// Whether its client may still be sending what nobody will read.
    pub(super) fn is_cut_short(&self) -> bool {
        self.now().cut_short
    }

    /// Whether a head has begun and not ended.
    pub(super) fn is_in_head(&self) -> bool {
        self.now().state == State::Head
    }

    /// Until when it may stay as it is, and as what it is closed then. `None` while it waits for us, or for a body, which
    /// whoever reads it bounds.
    pub(super) fn due(&self, patience: &Patience) -> Option<(Instant, Closed)> {
        let now = self.now();
        if let Some(stuck) = now.stuck {
            return Some((stuck + patience.write, Closed::WriteTooSlow));
        }
        match now.state {
            State::Fresh => Some((now.since + patience.header, Closed::Idle)),
            State::Head => Some((now.since + patience.header, Closed::HeadTooSlow)),
            State::Idle => Some((now.since + patience.idle, Closed::Idle)),
            State::Body | State::Busy | State::Answered => None,
        }
    }

    /// Waits for an order.
    pub(super) async fn called(&self) -> Order {
        loop {
            if let Some(order) = self.now().order.take() {
                return order;
            }
            self.called.notified().await;
        }
    }

    fn call(&self, order: Order) {
        let mut now = self.now();
        now.order = now.order.max(Some(order));
        drop(now);
        self.called.notify_one();
    }

    /// Whether it may still be closed to make room: its own task asks, after it has read what came.
    pub(super) fn may_go(&self) -> bool {
        self.now().rank(Instant::now()).is_some()
    }

    /// Notes that the request with these extensions was verified, so that its connection is one of the last to go. No more
    /// than a look-up where the connection is not ours to close.
    pub(super) fn know(extensions: &Extensions) {
        if let Some(place) = extensions.get::<Arc<Self>>() {
            place.now().known = true;
        }
    }
}

impl Now {
    fn enter(&mut self, state: State) {
        self.state = state;
        self.since = Instant::now();
    }

    /// Who goes first when room is needed, the lowest first; `None` for a request that is being served. A stranger's idle
    /// connection costs nobody anything; the vendor's costs it a new one; a verified body costs an event.
    fn rank(&self, at: Instant) -> Option<u8> {
        let in_peace = at.saturating_duration_since(self.since) < BODY_IN_PEACE;
        match (self.state, self.known) {
            // The event behind it is stored: only the answer is lost, and the client does not read it.
            _ if self.stuck.is_some() => Some(1),
            (State::Fresh | State::Head | State::Idle, false) => Some(0),
            (State::Body, false) => Some(1),
            (State::Fresh | State::Head | State::Idle, true) => Some(2),
            (State::Body, true) => (!in_peace).then_some(3),
            (State::Busy | State::Answered, _) => None,
        }
    }
}

/// All places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    open: Mutex<Open>,
    max: usize,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    places: HashMap<u64, Arc<Place>>,
}

/// A place that is taken, until this is dropped, however that comes about.
#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    place: Arc<Place>,
    places: Arc<Places>,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), max, freed: Notify::new() })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a newcomer: a free one, or that of whom it hurts least to close. Waits while all are busy.
    pub(super) async fn take(self: &Arc<Self>) -> Seat {
        loop {
            if let Some(seat) = self.try_take() {
                return seat;
            }
            self.make_room();
            self.freed(ASK_AGAIN).await;
        }
    }

    fn try_take(self: &Arc<Self>) -> Option<Seat> {
        let mut open = self.open();
        if open.places.len() >= self.max {
            return None;
        }
        let (number, place) = (open.next, Arc::new(Place::new()));
        open.next += 1;
        open.places.insert(number, place.clone());
        Some(Seat { number, place, places: self.clone() })
    }

    /// Waits until a place comes free, or this long.
    pub(super) async fn freed(&self, patience: Duration) {
        // Too late is as good as freed: the caller looks either way.
        let _ = timeout(patience, self.freed.notified()).await;
    }

    /// Tells those to go whom it hurts least: a batch of them, by rank, within a rank those who wait longest.
    pub(super) fn make_room(&self) {
        let at = Instant::now();
        let open = self.open();
        let batch = (open.places.len() / BATCH_PART).max(1);
        let mut all: Vec<_> = open
            .places
            .values()
            .filter_map(|place| {
                let now = place.now();
                Some((now.rank(at)?, now.since, place.clone()))
            })
            .collect();
        drop(open);
        all.sort_unstable_by_key(|(rank, since, _)| (*rank, *since));
        // Those who are told and have not yet gone are told again, so one batch goes at a time.
        for (.., place) in all.iter().take(batch) {
            place.call(Order::MakeRoom);
        }
    }

    /// Tells every connection.
    pub(super) fn call_all(&self, order: Order) {
        self.open().places.values().for_each(|place| place.call(order));
    }
}

impl Seat {
    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.open().places.remove(&self.number);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seat: &Seat) -> bool {
        seat.place.now().order == Some(Order::MakeRoom)
    }

    #[tokio::test(start_paused = true)]
    async fn those_go_first_whom_it_hurts_least_and_never_a_busy_one() {
        let places = Places::new(6);
        let mut seats = Vec::new();
        for _ in 0..6 {
            seats.push(places.take().await);
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        let extensions = |seat: &Seat| {
            let mut extensions = Extensions::new();
            extensions.insert(seat.place.clone());
            extensions
        };
        // In the order in which they must go, the last never. They are told one at a time: a sixteenth is less than one.
        seats[5].place.head_begins();
        seats[4].place.request_begins(true);
        Place::know(&extensions(&seats[3]));
        seats[2].place.request_begins(true);
        Place::know(&extensions(&seats[2]));
        seats[1].place.request_begins(false);
        tokio::time::advance(BODY_IN_PEACE).await;
        for next in [0, 5, 4, 3, 2] {
            places.make_room();
            assert!(told(&seats[next]), "{next}");
            assert!(seats[next].place.may_go());
            // It goes: what is left of it here is busy, which is out of the question.
            seats[next].place.request_begins(false);
            seats[next].place.answered();
            assert!(!seats[next].place.may_go());
        }
        places.make_room();
        assert!(!told(&seats[1]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_comes_free_with_its_seat_and_a_batch_is_a_sixteenth() {
        let places = Places::new(32);
        let mut seats = Vec::new();
        for _ in 0..32 {
            seats.push(places.take().await);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(timeout(Duration::from_secs(5), places.take()).await.is_err());
        let gone: Vec<bool> = seats.iter().map(told).collect();
        assert_eq!(gone.iter().filter(|told| **told).count(), 2, "told again, not others too");
        assert!(gone[0] && gone[1]);
        seats.remove(0);
        assert!(timeout(Duration::from_secs(5), places.take()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_gains_no_time_and_each_state_has_its_own() {
        let seconds = Duration::from_secs;
        let patience = Patience { header: seconds(10), idle: seconds(75), write: seconds(5) };
        let places = Places::new(1);
        let seat = places.take().await;
        let place = seat.place();
        let begun = Instant::now();
        assert_eq!(place.due(&patience), Some((begun + seconds(10), Closed::Idle)));
        place.head_begins();
        tokio::time::advance(seconds(3)).await;
        place.head_begins();
        assert_eq!(place.due(&patience), Some((begun + seconds(10), Closed::HeadTooSlow)));
        place.request_begins(true);
        assert_eq!(place.due(&patience), None);
        place.body_ends();
        place.answered();
        assert_eq!(place.due(&patience), None);
        place.write_moves(false);
        tokio::time::advance(seconds(1)).await;
        place.write_moves(false);
        assert_eq!(place.due(&patience), Some((begun + seconds(8), Closed::WriteTooSlow)));
        place.flushed();
        assert_eq!(place.due(&patience), Some((begun + seconds(79), Closed::Idle)));
        assert!(!place.refused());
        assert!(place.write_begins());
        assert!(place.refused() && place.is_cut_short());
        // An answer in the middle of a body, whose rest hyper then reads: the next request begins anew.
        place.request_begins(true);
        place.answered();
        assert!(place.is_cut_short());
        place.request_begins(false);
        assert!(!place.is_cut_short());
    }
}
