//! The circuit breaker of a destination: an outage stops the destination's cursor, and costs no event an attempt.
//!
//! Closed, it lets events through, as many at once as its limit says. It opens when the destination says "not now", or after failures in
//! a row. Open, it lets one probe through at a time, after pauses that grow to a minute and are random in their whole length, so that
//! many senders do not meet. The first probe that succeeds closes it with a limit of one, which doubles with every
//! [`SUCCESSES_TO_DOUBLE`] successes: who just came back is not run over. It never gives up: a probe a minute costs nothing, and nobody
//! has to remember to switch it on again.
//!
//! It is a pure state machine: moments and randomness are given.

use std::time::Duration;

use uuid::Uuid;

use protocol::UnixMillis;

use crate::answer::DestinationMeaning;

/// So many failures in a row open the breaker.
pub const FAILURES_MAX: u32 = 5;
/// The longest pause between probes, where the destination asks for no longer one.
pub const PROBE_PAUSE_MAX: Duration = Duration::from_mins(1);
/// The shortest pause: a random one may be next to nothing.
pub const PROBE_PAUSE_MIN: Duration = Duration::from_millis(100);
/// So many successes double the limit.
pub const SUCCESSES_TO_DOUBLE: u32 = 50;

/// The first pause before a probe, at most; each is twice the one before it.
const PROBE_PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The number of doublings after which the pause is the longest.
const DOUBLINGS_MAX: u32 = 6;

/// The circuit breaker of a destination.
#[derive(Debug, Clone)]
pub struct Breaker {
    in_flight_max: u32,
    state: State,
    /// The probe under way. It outlives a pause, so that there are never two.
    probe: Option<Uuid>,
    /// The failures since the last success.
    run: Run,
    /// How many may be in flight while it is closed.
    limit: u32,
    /// The successes since the limit last grew, or the breaker closed.
    successes: u32,
    /// How often the pause before a probe has doubled.
    doublings: u32,
    /// Since when it is closed.
    closed_at: UnixMillis,
    /// Since when the destination fails; absent while it works.
    failing_since: Option<UnixMillis>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { probe_at: UnixMillis, reason: OpenReason },
    Paused(PauseReason),
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    count: u32,
    first: Option<Uuid>,
    of_several: bool,
}

/// Why the breaker is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenReason {
    /// The destination fails.
    Failing,
    /// It cannot be called as it is configured.
    Misconfigured,
    /// More events wait for another attempt than single failures explain.
    TooManyWaiting,
    /// It was resumed, and nothing was tried yet.
    Resumed,
}

/// Why the destination is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// Somebody wants it so.
    ByHand,
    /// It answered 410: it wants no more events.
    Gone,
}

/// What people see of the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationState {
    /// Events are sent.
    Running,
    /// Only probes are sent.
    Failing(OpenReason),
    /// Nothing is sent until somebody resumes it.
    Paused(PauseReason),
}

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// Nothing.
    Nothing,
    /// One event, to see whether the destination works.
    Probe,
    /// So many more events, at least one.
    Events(u32),
}

impl Breaker {
    /// A closed breaker that lets so many events through at once.
    #[must_use]
    pub fn new(in_flight_max: u32, now: UnixMillis) -> Self {
        let in_flight_max = in_flight_max.max(1);
        Self {
            in_flight_max,
            state: State::Closed,
            probe: None,
            run: Run::default(),
            limit: in_flight_max,
            successes: 0,
            doublings: 0,
            closed_at: now,
            failing_since: None,
        }
    }

    /// The breaker of a destination that was in this state when it was last written down.
    #[must_use]
    pub fn restored(
        in_flight_max: u32,
        state: DestinationState,
        failing_since: Option<UnixMillis>,
        now: UnixMillis,
    ) -> Self {
        let mut breaker = Self::new(in_flight_max, now);
        breaker.failing_since = failing_since;
        breaker.state = match state {
            DestinationState::Running => State::Closed,
            DestinationState::Failing(reason) => State::Open { probe_at: now, reason },
            DestinationState::Paused(reason) => State::Paused(reason),
        };
        breaker
    }

    /// What may be sent while so many events are in flight.
    #[must_use]
    pub fn allowance(&self, in_flight: usize, now: UnixMillis) -> Allowance {
        match self.state {
            State::Open { probe_at, .. } if self.probe.is_none() && probe_at <= now => {
                Allowance::Probe
            }
            State::Open { .. } | State::Paused(_) => Allowance::Nothing,
            State::Closed => {
                let in_flight = u32::try_from(in_flight).unwrap_or(u32::MAX);
                match self.limit.saturating_sub(in_flight) {
                    0 => Allowance::Nothing,
                    more => Allowance::Events(more),
                }
            }
        }
    }

    /// When the next probe may be sent; absent where none is to be, or one is under way.
    #[must_use]
    pub fn probe_at(&self) -> Option<UnixMillis> {
        match self.state {
            State::Open { probe_at, .. } if self.probe.is_none() => Some(probe_at),
            _ => None,
        }
    }

    /// This event is sent as the probe.
    pub fn probe_sent(&mut self, event: Uuid) {
        self.probe = Some(event);
    }

    /// A try of this event ended so.
    pub fn ended(
        &mut self,
        event: Uuid,
        meaning: DestinationMeaning,
        now: UnixMillis,
        random: &mut fastrand::Rng,
    ) {
        let was_probe = self.probe.take_if(|probe| *probe == event).is_some();
        self.note(event, meaning);
        match meaning {
            // The next probe may go at once: its moment has come already.
            DestinationMeaning::Nothing => {}
            DestinationMeaning::Works => self.succeeded(was_probe, now),
            DestinationMeaning::Gone => self.pause(PauseReason::Gone, now),
            DestinationMeaning::Counts { of_several } => {
                let is_run = self.run.count >= FAILURES_MAX && (self.run.of_several || !of_several);
                if was_probe || (is_run && self.is_closed()) {
                    self.open(OpenReason::Failing, None, now, random);
                }
            }
            DestinationMeaning::Fails(wait) => {
                if was_probe || self.is_closed() {
                    self.open(OpenReason::Failing, wait, now, random);
                } else if let (State::Open { probe_at, .. }, Some(wait)) = (&mut self.state, wait) {
                    // One that was sent before the breaker opened.
                    *probe_at = (*probe_at).max(now.plus(wait));
                }
            }
            DestinationMeaning::Misconfigured => {
                // Whether its address is allowed may change with its name's addresses: look once a minute.
                self.doublings = DOUBLINGS_MAX;
                self.open(OpenReason::Misconfigured, None, now, random);
            }
        }
    }

    /// More events wait for another attempt than there is room for.
    pub fn overflow(&mut self, now: UnixMillis, random: &mut fastrand::Rng) {
        if self.is_closed() {
            self.open(OpenReason::TooManyWaiting, None, now, random);
        }
    }

    /// Nothing is sent until it is resumed.
    pub fn pause(&mut self, reason: PauseReason, now: UnixMillis) {
        self.failing_since.get_or_insert(now);
        self.state = State::Paused(reason);
    }

    /// Sends again, first a probe.
    pub fn resume(&mut self, now: UnixMillis) {
        if matches!(self.state, State::Paused(_)) {
            self.doublings = 0;
            self.state = State::Open { probe_at: now, reason: OpenReason::Resumed };
        }
    }

    /// Whether events are sent, and not only probes.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether this event is the probe under way.
    #[must_use]
    pub fn is_probe(&self, event: Uuid) -> bool {
        self.probe == Some(event)
    }

    /// Whether more than one event failed since the last success.
    #[must_use]
    pub fn several_failed(&self) -> bool {
        self.run.of_several
    }

    /// What people see of it.
    #[must_use]
    pub fn state(&self) -> DestinationState {
        match self.state {
            State::Closed => DestinationState::Running,
            State::Open { reason, .. } => DestinationState::Failing(reason),
            State::Paused(reason) => DestinationState::Paused(reason),
        }
    }

    /// Since when the destination fails or is paused.
    #[must_use]
    pub fn failing_since(&self) -> Option<UnixMillis> {
        self.failing_since
    }

    fn note(&mut self, event: Uuid, meaning: DestinationMeaning) {
        match meaning {
            DestinationMeaning::Nothing | DestinationMeaning::Gone => {}
            DestinationMeaning::Works => self.run = Run::default(),
            DestinationMeaning::Counts { .. }
            | DestinationMeaning::Fails(_)
            | DestinationMeaning::Misconfigured => self.run.add(event),
        }
    }

    fn succeeded(&mut self, was_probe: bool, now: UnixMillis) {
        match self.state {
            State::Closed => {
                self.successes += 1;
                if self.successes >= SUCCESSES_TO_DOUBLE {
                    self.successes = 0;
                    self.doublings = 0;
                    self.limit = self.limit.saturating_mul(2).min(self.in_flight_max);
                }
            }
            State::Open { .. } if was_probe => {
                self.state = State::Closed;
                (self.limit, self.successes) = (1, 0);
                self.closed_at = now;
                self.failing_since = None;
            }
            // One that was sent before the breaker opened: what the destination said since counts more.
            State::Open { .. } | State::Paused(_) => {}
        }
    }

    /// Opens it, or leaves it open after a probe that failed.
    fn open(
        &mut self,
        reason: OpenReason,
        wait: Option<Duration>,
        now: UnixMillis,
        random: &mut fastrand::Rng,
    ) {
        if matches!(self.state, State::Paused(_)) {
            return;
        }
        // Where it had just closed, the pauses go on where they were: else a destination that fails again at once would be asked every
        // second for ever.
        let had_worked = self.is_closed() && now.since(self.closed_at) >= PROBE_PAUSE_MAX;
        if had_worked && reason != OpenReason::Misconfigured {
            self.doublings = 0;
        }
        let longest = PROBE_PAUSE_FIRST.saturating_mul(1 << self.doublings.min(DOUBLINGS_MAX));
        let pause = longest.min(PROBE_PAUSE_MAX).mul_f64(random.f64()).max(PROBE_PAUSE_MIN);
        self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
        self.failing_since.get_or_insert(now);
        let probe_at = now.plus(pause.max(wait.unwrap_or_default()));
        // A probe that fails as the events before it makes no more room for those.
        let reason = match self.state {
            State::Open { reason: full @ OpenReason::TooManyWaiting, .. }
                if reason == OpenReason::Failing =>
            {
                full
            }
            _ => reason,
        };
        self.state = State::Open { probe_at, reason };
    }
}

impl Run {
    fn add(&mut self, event: Uuid) {
        self.count = self.count.saturating_add(1);
        let first = *self.first.get_or_insert(event);
        self.of_several |= first != event;
    }
}
