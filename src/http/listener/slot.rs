//! The state of one connection, shared by its task, its requests and the listener.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::http::Extensions;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::telemetry::Closed;

/// How long a verified body may take before its connection may be evicted. Legitimate ones take far less.
pub(crate) const BODY_GRACE: Duration = Duration::from_secs(1);
/// Grace period of a new connection until its first request, TLS handshake included; after it the connection is among
/// the first to be evicted. As long as the vendor waits for an answer.
pub(crate) const NEWCOMER_GRACE: Duration = Duration::from_secs(2);

/// Timeouts of a connection by its state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// For a head, and for the first byte of a new connection.
    pub(crate) header: Duration,
    /// For the next request.
    pub(crate) idle: Duration,
    /// For the client to accept some of an answer.
    pub(crate) write: Duration,
}

/// The state of a connection: what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its first byte.
    Fresh,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
    /// The handler: a request is being served.
    Busy,
    /// The client, to read an answer that hyper has whole.
    Answered,
    /// The next request.
    Idle,
}

/// A command of the listener to a connection. A later variant overrides an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Command {
    /// Close, unless a request came in the meantime.
    Evict,
    /// Finish the running request, and accept no other.
    Finish,
    /// End at once.
    Cut,
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    now: Mutex<Now>,
    called: Notify,
    /// The origin whose share of the slots it counts towards: an address, or the network of an IPv6 one. Absent for a
    /// proxy, whose address stands for many clients, until the proxy has named the client.
    origin: OnceLock<IpAddr>,
    /// Whether it is beyond the ordinary slots, for requests that are answered at once.
    is_reserved: bool,
    /// Whether a request has begun since the connection's task was last woken.
    turn_taken: AtomicBool,
}

#[derive(Debug)]
struct Now {
    state: State,
    since: Instant,
    /// Since when it waits for its first answer; absent after that.
    new_since: Option<Instant>,
    /// Since when a write makes no progress; absent while it does.
    stuck: Option<Instant>,
    /// Whether it brought a verified request.
    verified: bool,
    /// Whether hyper refused a head.
    refused: bool,
    /// Whether it was answered before its request was complete.
    cut_short: bool,
    command: Option<Command>,
}

impl ConnectionSlot {
    pub(crate) fn new(origin: Option<IpAddr>, is_reserved: bool) -> Self {
        let born = Instant::now();
        let now = Now {
            state: State::Fresh,
            since: born,
            new_since: Some(born),
            stuck: None,
            verified: false,
            refused: false,
            cut_short: false,
            command: None,
        };
        let (now, called) = (Mutex::new(now), Notify::new());
        let origin = origin.map_or_else(OnceLock::new, OnceLock::from);
        Self { now, called, origin, is_reserved, turn_taken: AtomicBool::new(false) }
    }

    pub(crate) fn origin(&self) -> Option<IpAddr> {
        self.origin.get().copied()
    }

    /// Sets the origin of a connection that a proxy opened. False where it has one.
    pub(crate) fn set_origin(&self, origin: IpAddr) -> bool {
        self.origin.set(origin).is_ok()
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    /// The connection's task was woken.
    pub(crate) fn turn_begins(&self) {
        self.turn_taken.store(false, Ordering::Relaxed);
    }

    /// Whether the connection may begin a request in this turn of its task: one per turn, so that pipelined requests
    /// yield to other connections.
    pub(crate) fn takes_turn(&self) -> bool {
        !self.turn_taken.swap(true, Ordering::Relaxed)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of a head arrived. Only the first ones start the timeout, so a trickle does not extend it.
    pub(crate) fn head_begins(&self) {
        let mut now = self.now();
        if matches!(now.state, State::Fresh | State::Idle) {
            now.enter(State::Head);
        }
    }

    /// A head is complete.
    pub(crate) fn request_begins(&self, has_body: bool) {
        let mut now = self.now();
        // hyper has read the rest of the previous request.
        now.cut_short = false;
        now.enter(if has_body { State::Body } else { State::Busy });
    }

    /// The request's body is complete.
    pub(crate) fn body_ends(&self) {
        let mut now = self.now();
        if now.state == State::Body {
            now.enter(State::Busy);
        }
    }

    /// hyper has the whole answer.
    pub(crate) fn answered(&self) {
        let mut now = self.now();
        now.cut_short |= now.state == State::Body;
        now.new_since = None;
        now.enter(State::Answered);
    }

    /// hyper's output is written completely.
    pub(crate) fn flushed(&self) {
        let mut now = self.now();
        now.stuck = None;
        if now.state == State::Answered {
            now.enter(State::Idle);
        }
    }

    /// Bytes are about to be written. Returns whether they answer no request of ours: then hyper refused a head.
    pub(crate) fn write_begins(&self) -> bool {
        let mut now = self.now();
        let refuses = matches!(now.state, State::Fresh | State::Head | State::Idle);
        if refuses {
            now.refused = true;
            now.cut_short = true;
            now.enter(State::Answered);
        }
        refuses
    }

    /// Records whether a write made progress.
    pub(crate) fn write_moves(&self, moves: bool) {
        let mut now = self.now();
        now.stuck = if moves { None } else { now.stuck.or_else(|| Some(Instant::now())) };
    }

    /// Whether hyper refused a head.
    pub(crate) fn refused(&self) -> bool {
        self.now().refused
    }

    /// Whether its client may still be sending a request that nobody reads.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.now().cut_short
    }

    /// Whether a head has begun and not ended.
    pub(crate) fn is_in_head(&self) -> bool {
        self.now().state == State::Head
    }

    /// The deadline of its state, and the reason of closing it then. `None` while the handler works or reads a body,
    /// which has a timeout of its own.
    pub(crate) fn due(&self, patience: &Timeouts) -> Option<(Instant, Closed)> {
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

    /// Waits for a command.
    pub(crate) async fn called(&self) -> Command {
        loop {
            if let Some(command) = self.now().command.take() {
                return command;
            }
            self.called.notified().await;
        }
    }

    pub(crate) fn call(&self, command: Command) {
        let mut now = self.now();
        now.command = now.command.max(Some(command));
        drop(now);
        self.called.notify_one();
    }

    /// Whether it may still be evicted: its own task asks after reading pending input.
    pub(crate) fn is_evictable(&self) -> bool {
        self.now().rank(Instant::now(), false).is_some()
    }

    #[cfg(test)]
    pub(crate) fn is_told_to_go(&self) -> bool {
        self.now().command == Some(Command::Evict)
    }

    /// Its eviction rank, and since when it waits; see `Now::rank`.
    pub(crate) fn rank(&self, at: Instant, over_share: bool) -> Option<(u8, Instant)> {
        let now = self.now();
        Some((now.rank(at, over_share)?, now.since))
    }

    /// The slot of the connection of a request with these extensions; absent where the connection is not ours.
    pub(crate) fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get::<Arc<Self>>().map(Arc::as_ref)
    }

    /// Marks the connection of a verified request, so that it is among the last to be evicted. Does nothing where the
    /// connection is not ours.
    pub(crate) fn mark_verified(extensions: &Extensions) {
        if let Some(slot) = Self::of(extensions) {
            slot.now().verified = true;
        }
    }
}

impl Now {
    fn enter(&mut self, state: State) {
        self.state = state;
        self.since = Instant::now();
    }

    /// The eviction rank, lowest first; `None` while a request is being served. An idle connection that is past its
    /// grace period without a verified request costs nothing to close. A newcomer may be about to bring an event, so
    /// idle verified connections, whose clients only need a new one, go before it. Within both groups, those of an
    /// origin above its share go first. Closing a verified body would lose an event.
    fn rank(&self, at: Instant, over_share: bool) -> Option<u8> {
        let is_newcomer =
            self.new_since.is_some_and(|born| at.saturating_duration_since(born) < NEWCOMER_GRACE);
        let in_peace = at.saturating_duration_since(self.since) < BODY_GRACE;
        match (self.state, self.verified) {
            // The event behind it is stored: only an answer is lost that the client does not read.
            _ if self.stuck.is_some() => Some(1),
            (State::Fresh | State::Head | State::Idle, false) if !is_newcomer => Some(0),
            (State::Body, false) => Some(1),
            (State::Fresh | State::Head | State::Idle, true) => {
                Some(if over_share { 2 } else { 4 })
            }
            (State::Fresh | State::Head | State::Idle, false) => {
                Some(if over_share { 3 } else { 5 })
            }
            (State::Body, true) => (!in_peace).then_some(6),
            (State::Busy | State::Answered, _) => None,
        }
    }
}

/// The origin of a peer. An IPv6 client controls a whole network of addresses.
pub(crate) fn origin(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() >> 64 << 64).into(),
        peer @ IpAddr::V4(_) => peer,
    }
}
