//! The loop around the window of one destination: reads, sends, writes down, and looks what people want.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::forwarding::attempt::{Tried, attempt};
use crate::forwarding::backlog_age::BacklogAge;
use crate::forwarding::database::Loaded;
use crate::forwarding::forwarder::{Forwarder, LEASE};
use crate::forwarding::rows;
use crate::store::{Backlog, Control, DeliveryException, FeedLimit, FeedRead, Lease};
use crate::telemetry::OnChange;
use forward::breaker::{DestinationState, OpenReason, PauseReason};
use forward::event_columns::EventColumns;
use forward::window::{FeedEvent, Rules, Start, Window};
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// How often the lease is renewed, and what people want is looked for.
const RENEW_EVERY: Duration = Duration::from_millis(600);
/// How often the figures of the backlog are read.
const FIGURES_EVERY: Duration = Duration::from_secs(5);
/// An event that was read longer ago is read again before it is sent: it may have been deleted, or an account of it erased.
const BODY_AGE_MAX: Duration = Duration::from_secs(5);
/// The room in the window for which reading pays, in events, and as a share of its bytes.
const READ_EVENTS_MIN: usize = 500;
const READ_BYTES_SHARE: usize = 4;
/// How long a stop waits for answers, and after that for the store.
const STOP_MAX: Duration = Duration::from_secs(2);
/// How long to wait before a store that failed is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// After so many renewals of the lease it is said that the feed ends too early.
const BEYOND_MAX: u32 = 10;
/// How often a destination that is misconfigured is logged.
const MISCONFIGURED_EVERY: Duration = Duration::from_mins(1);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was to stop, and all is written down.
    Stopped,
    /// Another server forwards, or the destination was removed.
    Lost,
    /// The backlog was cut: it goes on where that begins now.
    BacklogSkipped,
}

/// The result of a step on the connection that writes.
enum Step {
    Renewed(Result<Option<(Control, UnixMillis)>, Diagnostic>),
    Written(Result<bool, Diagnostic>),
    Pending(Result<Vec<DeliveryException>, Diagnostic>),
    Figures(Result<Backlog, Diagnostic>),
}

/// An event that was read, and when.
struct Body {
    event: Arc<EventColumns>,
    read_at: Instant,
}

/// Forwards to one destination while its lease lasts.
pub(super) struct Runner {
    of: Forwarder,
    lease: Arc<Lease>,
    window: Window,
    bodies: HashMap<Uuid, Body>,
    random: fastrand::Rng,
    /// The database's clock when it was read last.
    synced: (UnixMillis, Instant),
    control: Control,
    /// Whether exceptions are to be read again.
    exceptions_changed: bool,
    /// The feed is read up to here.
    read_to: i64,
    renewed_at: Instant,
    figures_at: Instant,
    backlog_age: BacklogAge,
    /// What went wrong last, and whether that is to be written down.
    last_error: Option<String>,
    is_error_new: bool,
    logged_state: DestinationState,
    misconfigured_at: Option<Instant>,
    failed_step: OnChange<Diagnostic>,
    failed_read: OnChange<Diagnostic>,
    /// How often in a row the feed ended before the place where this destination is.
    beyond_end: u32,
    /// When a stop waits no longer.
    stop_at: Option<Instant>,
    ended: Option<Ended>,
    sends: FuturesUnordered<Boxed<Tried>>,
    step: Option<Boxed<Step>>,
    reading: Option<Boxed<Result<FeedRead, Diagnostic>>>,
    /// Where the store failed, when to ask it again.
    retry_at: Option<Instant>,
}

impl Runner {
    pub(super) fn new(of: Forwarder, lease: Lease, loaded: Loaded) -> Self {
        let Loaded { row, exceptions, dead } = loaded;
        let start = Start {
            position: row.position.number(),
            exceptions: exceptions.into_iter().map(rows::exception).collect(),
            dead,
            state: rows::state(&row.state),
        };
        let rules = Rules { window_bytes: of.window_bytes, ..Rules::of(&of.destination) };
        let mut window = Window::new(rules, start, row.now);
        if row.control.paused {
            window.pause(PauseReason::ByHand, row.now);
        }
        of.metrics.state(rows::figure(window.state().state));
        let now = Instant::now();
        Self {
            lease: Arc::new(lease),
            logged_state: window.state().state,
            read_to: window.read_position(),
            window,
            bodies: HashMap::new(),
            random: fastrand::Rng::new(),
            synced: (row.now, now),
            control: row.control,
            exceptions_changed: false,
            renewed_at: now,
            figures_at: now,
            backlog_age: BacklogAge::default(),
            last_error: row.last_error,
            is_error_new: false,
            misconfigured_at: None,
            failed_step: OnChange::default(),
            failed_read: OnChange::default(),
            beyond_end: 0,
            stop_at: None,
            ended: None,
            sends: FuturesUnordered::new(),
            step: None,
            reading: None,
            retry_at: None,
            of,
        }
    }

    /// Forwards until it is to stop, or may not any more.
    pub(super) async fn run(mut self) -> Ended {
        loop {
            self.begin_all();
            if let Some(ended) = self.is_over() {
                return ended;
            }
            let wake_at = self.wake_at();
            let waits_for_events = self.reading.is_none() && self.stop_at.is_none();
            tokio::select! {
                Some(tried) = self.sends.next(), if !self.sends.is_empty() => self.tried(tried),
                done = next(&mut self.step) => self.stepped(done),
                read = next(&mut self.reading) => self.took(read),
                changed = self.of.end.changed(), if waits_for_events => {
                    // Its other side lives as long as the server.
                    if changed.is_err() {
                        sleep(RENEW_EVERY).await;
                    }
                }
                () = sleep_until(wake_at) => {}
                () = self.of.stop.cancelled(), if self.stop_at.is_none() => {
                    self.stop_at = Some(Instant::now() + STOP_MAX);
                }
            }
        }
    }

    /// Begins whatever may be begun.
    fn begin_all(&mut self) {
        let now = self.now();
        // Where the lease cannot be renewed, another server may forward already.
        let may_send =
            self.stop_at.is_none() && self.ended.is_none() && self.renewed_at.elapsed() < LEASE;
        if self.stop_at.is_some_and(|at| at <= Instant::now()) {
            // They are sent again by whoever forwards next.
            self.sends.clear();
        }
        if may_send {
            for send in self.window.sends(now) {
                let body = self.bodies.get(&send.id);
                let fresh = body.filter(|body| body.read_at.elapsed() < BODY_AGE_MAX);
                let event = fresh.map(|body| body.event.clone());
                let (database, sender) = (self.of.database.clone(), self.of.sender.clone());
                let client_ip = self.of.destination.client_ip;
                self.sends.push(Box::pin(attempt(send, event, client_ip, database, sender)));
            }
        }
        let may_ask = self.retry_at.is_none_or(|at| at <= Instant::now());
        if self.step.is_none() && may_ask && self.ended != Some(Ended::Lost) {
            self.step = self.next_step(now);
        }
        if self.reading.is_none() && may_ask && may_send && self.wants_to_read() {
            self.read();
        }
        self.tell(now);
    }

    fn next_step(&mut self, now: UnixMillis) -> Option<Boxed<Step>> {
        let (database, lease) = (self.of.database.clone(), self.lease.clone());
        let is_ending = self.stop_at.is_some() || self.ended.is_some();
        if self.renewed_at.elapsed() >= RENEW_EVERY && !is_ending {
            let renew = async move { Step::Renewed(database.renew(&lease, LEASE).await) };
            return Some(Box::pin(renew));
        }
        let write = if is_ending && self.sends.is_empty() {
            self.window.write_now(now)
        } else {
            self.window.write(now)
        };
        if let Some(write) = write {
            let is_new = std::mem::take(&mut self.is_error_new);
            let last_error = self.last_error.clone().filter(|_| is_new);
            let write = rows::write(write, last_error);
            let write = async move { Step::Written(database.write(&lease, &write, LEASE).await) };
            return Some(Box::pin(write));
        }
        if is_ending {
            return None;
        }
        if std::mem::take(&mut self.exceptions_changed) {
            let pending = async move { Step::Pending(database.pending(&lease.destination).await) };
            return Some(Box::pin(pending));
        }
        if self.figures_at <= Instant::now() {
            self.figures_at = Instant::now() + FIGURES_EVERY;
            let figures = async move { Step::Figures(database.backlog(&lease.destination).await) };
            return Some(Box::pin(figures));
        }
        None
    }

    fn wants_to_read(&self) -> bool {
        if *self.of.end.borrow() <= self.read_to {
            return false;
        }
        let room = self.window.room();
        match self.window.state().state {
            DestinationState::Paused(_) => false,
            // A probe needs an event.
            DestinationState::Failing(_) => self.window.is_idle(),
            DestinationState::Running => {
                let is_idle = self.window.in_flight() == 0 && room.events > 0;
                let bytes_min = self.of.window_bytes / READ_BYTES_SHARE;
                is_idle || (room.events >= READ_EVENTS_MIN && room.bytes >= bytes_min)
            }
        }
    }

    fn read(&mut self) {
        let room = self.window.room();
        let limit = FeedLimit {
            events: u32::try_from(room.events).unwrap_or(u32::MAX),
            bytes: room.bytes.max(1),
        };
        let (database, after) = (self.of.database.clone(), self.read_to);
        self.reading = Some(Box::pin(async move { database.page(after, limit).await }));
    }

    /// Takes a page of the feed.
    fn took(&mut self, read: Result<FeedRead, Diagnostic>) {
        let page = match read {
            Ok(FeedRead::Page(page)) => page,
            Ok(FeedRead::Outside(span)) => {
                if span.start.number() > self.read_to {
                    // What was skipped is counted in the store.
                    self.ended = self.ended.or(Some(Ended::BacklogSkipped));
                } else {
                    self.read_failed(rows::nowhere());
                }
                return;
            }
            Err(found) => return self.read_failed(found),
        };
        self.failed_read.clear();
        self.read_to = self.read_to.max(page.next.number());
        let now = Instant::now();
        let events = page.events.into_iter();
        let events: Vec<EventColumns> =
            events.map(|(position, event)| rows::columns(position, event)).collect();
        // Their rows are read when they are sent.
        let derived: Vec<EventColumns> = page
            .derived
            .into_iter()
            .filter_map(|(position, event)| rows::derived(position, event, None))
            .collect();
        let mut feed: Vec<FeedEvent<'_>> = events.iter().chain(&derived).map(rows::known).collect();
        feed.extend(page.gone.iter().map(rows::gone));
        feed.extend(page.unreadable.iter().map(rows::unreadable));
        feed.sort_unstable_by_key(|event| event.position);
        self.window.take_events(feed);
        let is_running = self.window.state().state == DestinationState::Running;
        for event in events {
            if is_running && self.window.holds(event.id) {
                self.bodies.insert(event.id, Body { event: Arc::new(event), read_at: now });
            }
        }
    }

    /// A try ended.
    fn tried(&mut self, tried: Tried) {
        let metrics = &self.of.metrics;
        if let Some((result, took)) = tried.counted {
            metrics.attempt(result.as_str(), took);
        }
        let now = self.now();
        if let Some(received_at) = tried.delivered {
            metrics.delay_seconds.record(self.of.clock.now().since(received_at).as_secs_f64());
        }
        if tried.problem.is_some() {
            (self.last_error, self.is_error_new) = (tried.problem, true);
        }
        self.window.ended(tried.id, tried.outcome, now, &mut self.random);
        if !self.window.holds(tried.id) {
            self.bodies.remove(&tried.id);
        }
        if self.window.state().state != DestinationState::Running {
            self.bodies.clear();
        }
    }

    /// A step on the connection that writes is done.
    fn stepped(&mut self, step: Step) {
        match step {
            Step::Renewed(Ok(Some((control, now)))) => {
                self.renewed_at = Instant::now();
                self.synced = (now, Instant::now());
                self.failed_step.clear();
                self.apply_control(control);
                self.check_place();
                self.bodies.retain(|_, body| body.read_at.elapsed() < BODY_AGE_MAX);
            }
            Step::Written(Ok(true)) => {
                self.renewed_at = Instant::now();
                self.failed_step.clear();
                self.window.written(true);
            }
            Step::Renewed(Ok(None)) | Step::Written(Ok(false)) => {
                self.ended = Some(Ended::Lost);
            }
            Step::Written(Err(found)) => {
                self.window.written(false);
                self.step_failed(found);
            }
            Step::Pending(Ok(rows)) => {
                let now = self.now();
                self.window.take_exceptions(rows.into_iter().map(rows::exception), now);
            }
            Step::Pending(Err(found)) => {
                self.exceptions_changed = true;
                self.step_failed(found);
            }
            Step::Figures(Ok(backlog)) => {
                self.backlog_age.show(&self.of, &backlog);
                self.window.count_dead(usize::try_from(backlog.dead).unwrap_or_default());
            }
            Step::Renewed(Err(found)) | Step::Figures(Err(found)) => self.step_failed(found),
        }
    }

    /// Says so where the feed ends before this destination's place, and not only for a moment.
    fn check_place(&mut self) {
        let is_beyond = *self.of.end.borrow() < self.read_to;
        self.beyond_end = if is_beyond { self.beyond_end.saturating_add(1) } else { 0 };
        if self.beyond_end == BEYOND_MAX {
            self.read_failed(rows::nowhere());
        }
    }

    fn read_failed(&mut self, found: Diagnostic) {
        if self.failed_read.is_new(&found) {
            let destination = self.of.destination.name.as_str();
            let Diagnostic { problem: reason, hint } = found;
            warn!(destination, reason, hint, "new events cannot be read; trying again");
        }
        self.retry_at = Some(Instant::now() + RETRY_PAUSE);
    }

    fn step_failed(&mut self, found: Diagnostic) {
        if self.failed_step.is_new(&found) {
            let destination = self.of.destination.name.as_str();
            let Diagnostic { problem: reason, hint } = found;
            warn!(
                destination,
                reason, hint, "the forwarder's place cannot be read or kept; trying again"
            );
        }
        // The next one would fail as fast.
        self.retry_at = Some(Instant::now() + RETRY_PAUSE);
    }

    /// What people want.
    fn apply_control(&mut self, control: Control) {
        let (before, now) = (std::mem::replace(&mut self.control, control), self.now());
        if control.paused && !before.paused {
            self.window.pause(PauseReason::ByHand, now);
        }
        if control.resume_requests != before.resume_requests || (before.paused && !control.paused) {
            self.window.resume(now);
        }
        self.exceptions_changed |= control.exceptions_version != before.exceptions_version;
    }

    /// Tells the metrics and the log.
    fn tell(&mut self, now: UnixMillis) {
        let (tallies, metrics) = (self.window.take_tallies(), &self.of.metrics);
        metrics.delivered.increment(tallies.delivered);
        metrics.filtered.increment(tallies.filtered);
        metrics.gone.increment(tallies.gone);
        metrics.dead_letters.increment(tallies.dead);
        let row = self.window.state();
        let destination = self.of.destination.name.as_str();
        let is_misconfigured = row.state == DestinationState::Failing(OpenReason::Misconfigured);
        let reason = self.last_error.as_deref();
        if is_misconfigured {
            let is_due = self.misconfigured_at.is_none_or(|at| at.elapsed() >= MISCONFIGURED_EVERY);
            if is_due {
                self.misconfigured_at = Some(Instant::now());
                error!(
                    destination,
                    reason, "nothing can be sent as it is configured; trying again"
                );
            }
        } else {
            self.misconfigured_at = None;
        }
        if std::mem::replace(&mut self.logged_state, row.state) == row.state {
            return;
        }
        metrics.state(rows::figure(row.state));
        match row.state {
            DestinationState::Running => info!(destination, "events are forwarded again"),
            DestinationState::Failing(OpenReason::Resumed) => {
                info!(destination, "resumed: trying one event first");
            }
            DestinationState::Failing(_) if is_misconfigured => {}
            DestinationState::Failing(_) => {
                let since = row.failing_since.unwrap_or(now).to_string();
                warn!(destination, reason, since, "the destination fails; its events wait");
            }
            DestinationState::Paused(PauseReason::ByHand) => {
                info!(destination, "paused by hand: its events wait");
            }
            DestinationState::Paused(PauseReason::Gone) => {
                let hint = "see that it wants events, and resume it";
                warn!(destination, reason, hint, "the destination wants no more events: paused");
            }
        }
    }

    fn is_over(&self) -> Option<Ended> {
        match (self.ended, self.stop_at) {
            (Some(Ended::Lost), _) => Some(Ended::Lost),
            (ended, Some(at)) if at + STOP_MAX <= Instant::now() => {
                Some(ended.unwrap_or(Ended::Stopped))
            }
            (ended, stop_at) if ended.is_some() || stop_at.is_some() => {
                let is_done = self.sends.is_empty() && self.step.is_none();
                is_done.then(|| ended.unwrap_or(Ended::Stopped))
            }
            _ => None,
        }
    }

    /// When there is something to do at the latest.
    fn wake_at(&self) -> Instant {
        let now = self.now();
        let in_time = |at: UnixMillis| Instant::now() + at.since(now);
        let window = self.window.wake_at(now).map(in_time);
        let renew = (self.renewed_at + RENEW_EVERY).max(Instant::now() + Duration::from_millis(10));
        let is_ahead = |at: &Instant| *at > Instant::now();
        let (stop, retry) = (self.stop_at.filter(is_ahead), self.retry_at.filter(is_ahead));
        [window, Some(renew), stop, retry].into_iter().flatten().min().unwrap_or(renew)
    }

    /// The database's clock, by which all servers agree on when something is due.
    fn now(&self) -> UnixMillis {
        let (read, read_at) = self.synced;
        read.plus(read_at.elapsed())
    }
}

/// The result of a future, once it is there; then there is none any more.
async fn next<T>(future: &mut Option<Boxed<T>>) -> T {
    let Some(running) = future.as_mut() else { return std::future::pending().await };
    let done = running.await;
    *future = None;
    done
}
