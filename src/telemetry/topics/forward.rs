//! The figures of the destinations of forwarding, on the server that forwards to them.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Recorder, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;

use crate::telemetry::recorder::{counter, gauge, labelled_histogram};

const EVENTS: &str = "trtc_forward_events_total";
const ATTEMPTS: &str = "trtc_forward_attempts_total";
pub(crate) const ATTEMPT_SECONDS: &str = "trtc_forward_attempt_seconds";
pub(crate) const DELAY_SECONDS: &str = "trtc_forward_delay_seconds";
const LAG: &str = "trtc_forward_lag_seconds";
const BACKLOG: &str = "trtc_forward_backlog_events";
const WAITING: &str = "trtc_forward_waiting";
const DEAD: &str = "trtc_forward_dead";
const UNNUMBERED: &str = "trtc_feed_unnumbered";
const FEED_EVENTS: &str = "trtc_feed_events";
const LEADER: &str = "trtc_feed_leader";
const DERIVED_BACKLOG: &str = "trtc_derived_backlog_events";
const DERIVED_PENDING: &str = "trtc_derived_pending";
const DERIVED_LAG: &str = "trtc_derived_lag_seconds";
const STATE: &str = "trtc_forward_state";

/// The results of attempts, by the label they have.
const RESULTS: [&str; 10] = [
    "ok",
    "client_error",
    "server_error",
    "throttled",
    "timeout",
    "connect",
    "tls",
    "redirect",
    "blocked_address",
    "too_large",
];

/// The figures of one destination.
#[derive(Debug)]
pub struct DestinationMetrics {
    /// Events that were taken.
    pub delivered: Counter,
    /// Events that are not for it.
    pub filtered: Counter,
    /// Events that were given up.
    pub dead_letters: Counter,
    /// Events that were deleted before they were sent.
    pub gone: Counter,
    /// Events that went out of the backlog before they were sent.
    pub skipped: Counter,
    attempts: [Counter; RESULTS.len()],
    /// How long an attempt took, in s.
    pub attempt_seconds: Histogram,
    /// From storing an event until it was taken, in s.
    pub delay_seconds: Histogram,
    lag: Gauge,
    backlog: Gauge,
    waiting: Gauge,
    dead: Gauge,
    state: Gauge,
}

impl DestinationMetrics {
    pub(crate) fn new(recorder: &PrometheusRecorder, destination: &str) -> Self {
        let name = || ("destination", destination.to_owned());
        let of = |metric, result: &str| {
            counter(recorder, metric, &[name(), ("result", result.to_owned())])
        };
        Self {
            delivered: of(EVENTS, "delivered"),
            filtered: of(EVENTS, "filtered"),
            dead_letters: of(EVENTS, "dead"),
            gone: of(EVENTS, "gone"),
            skipped: of(EVENTS, "skipped"),
            attempts: RESULTS.map(|result| of(ATTEMPTS, result)),
            attempt_seconds: labelled_histogram(recorder, ATTEMPT_SECONDS, &[name()]),
            delay_seconds: labelled_histogram(recorder, DELAY_SECONDS, &[name()]),
            lag: gauge(recorder, LAG, &[name()]),
            backlog: gauge(recorder, BACKLOG, &[name()]),
            waiting: gauge(recorder, WAITING, &[name()]),
            dead: gauge(recorder, DEAD, &[name()]),
            state: gauge(recorder, STATE, &[name()]),
        }
    }

    /// Counts an attempt.
    pub fn attempt(&self, result: &str, took: Duration) {
        let counters = RESULTS.iter().zip(&self.attempts);
        if let Some((_, counter)) = counters.into_iter().find(|(name, _)| **name == result) {
            counter.increment(1);
        }
        self.attempt_seconds.record(took.as_secs_f64());
    }

    /// Shows what waits for the destination.
    pub fn backlog(&self, events: i64, lag: Duration, waiting: i64, dead: i64) {
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let figure = |figure: i64| figure as f64;
        self.lag.set(lag.as_secs_f64());
        self.backlog.set(figure(events));
        self.waiting.set(figure(waiting));
        self.dead.set(figure(dead));
    }

    /// Shows its state: 0 running, 1 failing, 2 paused, 3 misconfigured.
    pub fn state(&self, state: u8) {
        self.state.set(state);
    }

    /// Another server forwards: its figures are there.
    pub fn left(&self) {
        self.backlog(0, Duration::ZERO, 0, 0);
        self.state(0);
    }
}

/// The figures of the feed.
#[derive(Debug)]
pub struct FeedMetrics {
    unnumbered: Gauge,
    events: Gauge,
    leader: Gauge,
}

impl FeedMetrics {
    pub(crate) fn new(recorder: &PrometheusRecorder) -> Self {
        let of = |metric| gauge(recorder, metric, &[]);
        Self { unnumbered: of(UNNUMBERED), events: of(FEED_EVENTS), leader: of(LEADER) }
    }

    /// Shows how many events have no position, and of how many it is kept.
    pub fn length(&self, unnumbered: i64, events: i64) {
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let figure = |figure: i64| figure as f64;
        self.unnumbered.set(figure(unnumbered));
        self.events.set(figure(events));
    }

    /// Shows whether this server gives positions.
    pub fn leader(&self, is_leader: bool) {
        self.leader.set(u8::from(is_leader));
    }
}

/// The figures of the job that derives events.
#[derive(Debug)]
pub struct DerivedMetrics {
    backlog: Gauge,
    pending: Gauge,
    lag: Gauge,
}

impl DerivedMetrics {
    pub(crate) fn new(recorder: &PrometheusRecorder) -> Self {
        let of = |metric| gauge(recorder, metric, &[]);
        Self { backlog: of(DERIVED_BACKLOG), pending: of(DERIVED_PENDING), lag: of(DERIVED_LAG) }
    }

    /// Shows what waits for it, and for how long.
    pub fn progress(&self, events: i64, pending: i64, lag: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let figure = |figure: i64| figure as f64;
        self.backlog.set(figure(events));
        self.pending.set(figure(pending));
        self.lag.set(lag.as_secs_f64());
    }
}

pub(crate) fn describe(recorder: &PrometheusRecorder) {
    let text = "Events a destination is done with: `filtered` are not for it, `dead` became dead letters, `gone` were deleted before they \
                were sent, `skipped` went out of its bounded backlog";
    recorder.describe_counter(EVENTS.into(), Some(Unit::Count), text.into());
    let text = "Attempts to send an event, by result";
    recorder.describe_counter(ATTEMPTS.into(), Some(Unit::Count), text.into());
    let text = "Seconds that an attempt took";
    recorder.describe_histogram(ATTEMPT_SECONDS.into(), Some(Unit::Seconds), text.into());
    let text = "Seconds from receiving an event until a destination took it";
    recorder.describe_histogram(DELAY_SECONDS.into(), Some(Unit::Seconds), text.into());
    let gauges = [
        (LAG, "Seconds for which the oldest event that waits for a destination has been stored"),
        (BACKLOG, "Events that wait for a destination, estimated where there are very many"),
        (WAITING, "Events that failed and wait for their next attempt, or are to be sent again"),
        (
            UNNUMBERED,
            "Stored events without a position yet. If it stays above 0, no server assigns positions and nothing is forwarded",
        ),
        (
            FEED_EVENTS,
            "Events whose positions are kept, for readers and destinations that go on from there; estimated where there are very many",
        ),
        (
            LEADER,
            "1 if this server assigned positions within the last minute; of several servers one at a time does",
        ),
        (
            DERIVED_BACKLOG,
            "Stored events that the job behind derived events has not read, estimated where there are very many; 0 on servers without a destination for derived events",
        ),
        (
            DERIVED_PENDING,
            "Calls, rooms and recordings that the job behind derived events is to look at, counted up to 10,000",
        ),
        (
            DERIVED_LAG,
            "Seconds for which the first of both has waited; a few seconds are normal. If it keeps growing, no events are derived",
        ),
        (DEAD, "Dead letters"),
        (STATE, "0 working, 1 failing, 2 paused, 3 misconfigured"),
    ];
    for (name, text) in gauges {
        recorder.describe_gauge(name.into(), None, text.into());
    }
}
