//! The metrics, for Prometheus.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Recorder, Unit};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::telemetry::outcome::{CheckResult, Closed, RefusedHead, outcome_index, outcome_labels};
use crate::telemetry::recorder::{counter, gauge, histogram};
use crate::telemetry::topics::forward::{self, DerivedMetrics, DestinationMetrics, FeedMetrics};
use crate::telemetry::topics::process;
use crate::telemetry::topics::settle::{self, ANOMALIES, SettleMetrics};
use crate::telemetry::topics::spool::{self, SpoolMetrics};
use crate::telemetry::topics::stream::{self, StreamMetrics};
use protocol::{AppId, Body, Event, Family};
use receiver::RequestOutcome;

/// Every metric of the server, with handles made once, so that counting costs an addition.
///
/// Each server has its own: two in one process do not mix.
pub struct Metrics {
    recorder: PrometheusRecorder,
    requests: Counter,
    outcomes: Vec<Counter>,
    events: Vec<[Counter; 3]>,
    closed: [Counter; 4],
    decode_panics: Counter,
    /// Rows of one batch.
    pub batch_rows: Histogram,
    /// From handing a batch to the store until it was committed, in s.
    pub commit_seconds: Histogram,
    /// From the head of a request until its answer, in s.
    pub answer_seconds: Histogram,
    /// From an event's own time until it was received, in s.
    pub lag_seconds: Histogram,
    /// Events that wait for a writer.
    pub queue_events: Gauge,
    /// Bytes of the bodies of events that wait or are being written.
    pub queue_bytes: Gauge,
    /// Open connections of the public listener.
    pub connections: Gauge,
    /// Batches the store did not take because it was not available.
    pub store_unavailable: Counter,
    /// Batches the store did not finish in time.
    pub store_timeouts: Counter,
    /// Rows the store refused.
    pub store_refused: Counter,
    /// Partitions that were dropped because of their age.
    pub retention_partitions: Counter,
    /// Rows that were deleted one by one because of their age.
    pub retention_rows: Counter,
    /// Of the settling of rooms.
    pub settle: SettleMetrics,
    /// Of the stream of scale-out mode.
    pub stream: StreamMetrics,
    anomalies: [Gauge; ANOMALIES.len()],
    anomalies_found: [Counter; ANOMALIES.len()],
    /// Whether events go straight to the spool, because the store does not take them: 0 or 1.
    pub store_circuit_open: Gauge,
    /// Of the spool.
    pub spool: SpoolMetrics,
    /// New events under a signature that was first seen a while ago.
    pub sign_reused: Counter,
    registration_checks: [Counter; CheckResult::ALL.len()],
    /// The vendor's list of addresses was taken.
    pub vendor_list_done: Counter,
    /// It was not, or not all of it.
    pub vendor_list_failed: Counter,
    /// Connections that ended before TLS was agreed on.
    pub tls_handshake_errors: Counter,
    /// Certificates that took the place of the one in use.
    pub tls_reloads_done: Counter,
    /// Changed certificate files that could not be used.
    pub tls_reloads_failed: Counter,
    /// Events that were not stored and stand in the error log.
    pub last_resort_written: Counter,
    /// Events that neither the store nor the error log took.
    pub last_resort_lost: Counter,
    /// Wrong tokens that the operations listener was given.
    pub ops_wrong_tokens: Counter,
    /// The feed.
    pub feed: FeedMetrics,
    /// Of the job that derives events.
    pub derived: DerivedMetrics,
    /// Lines of the log that stderr did not take; of the whole process, which has one log.
    pub log_lines_dropped: Counter,
}

const REQUESTS: &str = "trtc_requests_total";
const OUTCOMES: &str = "trtc_request_outcomes_total";
const EVENTS: &str = "trtc_events_total";
const DECODE_PANICS: &str = "trtc_decode_panics_total";
const BATCH_ROWS: &str = "trtc_batch_rows";
const COMMIT_SECONDS: &str = "trtc_commit_seconds";
const ANSWER_SECONDS: &str = "trtc_answer_seconds";
const LAG_SECONDS: &str = "trtc_event_lag_seconds";
const QUEUE_EVENTS: &str = "trtc_queue_events";
const QUEUE_BYTES: &str = "trtc_queue_bytes";
const CONNECTIONS: &str = "trtc_connections";
const CONNECTIONS_CLOSED: &str = "trtc_connections_closed_total";
const STORE_ERRORS: &str = "trtc_store_errors_total";
const STORE_CIRCUIT_OPEN: &str = "trtc_store_circuit_open";
const SIGN_REUSED: &str = "trtc_sign_reused_total";
const TLS_HANDSHAKE_ERRORS: &str = "trtc_tls_handshake_errors_total";
const TLS_RELOADS: &str = "trtc_tls_reloads_total";
const TLS_EXPIRY: &str = "trtc_tls_certificate_expiry_seconds";
const LAST_RESORT: &str = "trtc_last_resort_total";
const OPS_WRONG_TOKENS: &str = "trtc_ops_wrong_tokens_total";
const LOG_LINES_DROPPED: &str = "trtc_log_lines_dropped_total";
const RETENTION: &str = "trtc_retention_dropped_total";
const ANOMALIES_OPEN: &str = "trtc_anomalies";
const ANOMALIES_FOUND: &str = "trtc_anomalies_found_total";
const SILENCE_SECONDS: &str = "trtc_silence_seconds";
const REGISTRATION_DRIFT: &str = "trtc_registration_drift";
const REGISTRATION_CHECKED: &str = "trtc_registration_checked_seconds";
const REGISTRATION_CHECKS: &str = "trtc_registration_checks_total";
const VENDOR_NETWORKS: &str = "trtc_vendor_networks";
const VENDOR_LIST: &str = "trtc_vendor_list_refreshes_total";
const VENDOR_LIST_AT: &str = "trtc_vendor_list_seconds";

impl Metrics {
    /// All figures at zero.
    #[must_use]
    pub fn new() -> Self {
        let recorder = recorder();
        describe(&recorder);
        let outcome = |label| counter(&recorder, OUTCOMES, &[("outcome", label)]);
        let events = |family: &Family| {
            ["typed", "untyped", "undecoded"].map(|body| {
                let labels = [("family", family.to_string()), ("body", body.to_owned())];
                counter(&recorder, EVENTS, &labels)
            })
        };
        let error = |kind: &str| counter(&recorder, STORE_ERRORS, &[("kind", kind.to_owned())]);
        let dropped = |what: &str| counter(&recorder, RETENTION, &[("what", what.to_owned())]);
        let last_resort =
            |result: &str| counter(&recorder, LAST_RESORT, &[("result", result.to_owned())]);
        let closed = |closed: Closed| {
            counter(&recorder, CONNECTIONS_CLOSED, &[("reason", closed.as_str().to_owned())])
        };
        let reload =
            |result: &str| counter(&recorder, TLS_RELOADS, &[("result", result.to_owned())]);
        let checks = |checked: CheckResult| {
            counter(&recorder, REGISTRATION_CHECKS, &[("result", checked.as_str().to_owned())])
        };
        let list = |result: &str| counter(&recorder, VENDOR_LIST, &[("result", result.to_owned())]);
        process::show_version(&recorder);
        Self {
            requests: counter(&recorder, REQUESTS, &[]),
            outcomes: outcome_labels().map(outcome).collect(),
            events: Family::ALL.iter().map(events).collect(),
            closed: Closed::ALL.map(closed),
            decode_panics: counter(&recorder, DECODE_PANICS, &[]),
            batch_rows: histogram(&recorder, BATCH_ROWS),
            commit_seconds: histogram(&recorder, COMMIT_SECONDS),
            answer_seconds: histogram(&recorder, ANSWER_SECONDS),
            lag_seconds: histogram(&recorder, LAG_SECONDS),
            queue_events: gauge(&recorder, QUEUE_EVENTS, &[]),
            queue_bytes: gauge(&recorder, QUEUE_BYTES, &[]),
            connections: gauge(&recorder, CONNECTIONS, &[]),
            store_unavailable: error("unavailable"),
            store_timeouts: error("timeout"),
            store_refused: error("refused"),
            retention_partitions: dropped("partitions"),
            retention_rows: dropped("rows"),
            settle: SettleMetrics::new(&recorder),
            stream: StreamMetrics::new(&recorder),
            anomalies: ANOMALIES
                .map(|kind| gauge(&recorder, ANOMALIES_OPEN, &[("kind", kind.to_owned())])),
            anomalies_found: ANOMALIES
                .map(|kind| counter(&recorder, ANOMALIES_FOUND, &[("kind", kind.to_owned())])),
            store_circuit_open: gauge(&recorder, STORE_CIRCUIT_OPEN, &[]),
            spool: SpoolMetrics::new(&recorder),
            sign_reused: counter(&recorder, SIGN_REUSED, &[]),
            registration_checks: CheckResult::ALL.map(checks),
            vendor_list_done: list("done"),
            vendor_list_failed: list("failed"),
            tls_handshake_errors: counter(&recorder, TLS_HANDSHAKE_ERRORS, &[]),
            tls_reloads_done: reload("done"),
            tls_reloads_failed: reload("failed"),
            last_resort_written: last_resort("written"),
            last_resort_lost: last_resort("lost"),
            ops_wrong_tokens: counter(&recorder, OPS_WRONG_TOKENS, &[]),
            log_lines_dropped: counter(&recorder, LOG_LINES_DROPPED, &[]),
            feed: FeedMetrics::new(&recorder),
            derived: DerivedMetrics::new(&recorder),
            recorder,
        }
    }

    /// Shows when the server started, as the time since 1970. Until this is called, nothing is shown.
    pub fn started(&self, since_1970: Duration) {
        process::show_start(&self.recorder, since_1970);
    }

    /// Counts a request when its head has arrived.
    pub fn request(&self) {
        self.requests.increment(1);
    }

    /// Counts what became of a request.
    pub fn outcome(&self, outcome: RequestOutcome) {
        self.outcomes[outcome_index(outcome)].increment(1);
    }

    /// Counts a request whose head was refused, and that as its outcome.
    pub fn refused_head(&self, refused: RefusedHead) {
        self.request();
        self.outcomes[refused.index()].increment(1);
    }

    /// Counts a connection that we closed.
    pub fn closed(&self, closed: Closed) {
        self.closed[closed.index()].increment(1);
    }

    /// Counts a decoded event and how late it came.
    pub fn event(&self, event: &Event) {
        let body = match event.body {
            _ if event.decode_error.is_some() => 2,
            Body::Untyped => 1,
            _ => 0,
        };
        let family = Family::ALL.iter().position(|family| *family == event.family);
        if let Some(counters) = family.and_then(|index| self.events.get(index)) {
            counters[body].increment(1);
        }
        if event.decode_panicked {
            self.decode_panics.increment(1);
        }
        if event.timed {
            let lag = event.received_at.since(event.event_time);
            self.lag_seconds.record(lag.as_secs_f64());
        }
    }

    /// Counts an anomaly that was found.
    pub fn anomaly_found(&self, kind: &str) {
        let place = ANOMALIES.iter().position(|known| *known == kind);
        if let Some(place) = place {
            self.anomalies_found[place].increment(1);
        }
    }

    /// Shows how many anomalies there are of each kind, none where it is not given.
    pub fn anomalies(&self, counts: &[(String, i64)]) {
        for (kind, gauge) in ANOMALIES.iter().zip(&self.anomalies) {
            let count =
                counts.iter().find(|(known, _)| known == kind).map_or(0, |(_, count)| *count);
            gauge.set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        }
    }

    /// Shows how long ago the last event of an app happened.
    pub fn silence(&self, app: AppId, since: Duration) {
        gauge(&self.recorder, SILENCE_SECONDS, &[("app", app.to_string())])
            .set(since.as_secs_f64());
    }

    /// Counts a look at what is registered at the vendor.
    pub fn registration_checked(&self, checked: CheckResult) {
        self.registration_checks[checked.index()].increment(1);
    }

    /// Shows whether what is registered differs from what is wanted, and when that was seen, as the time since 1970.
    pub fn registration(&self, app: AppId, product: &str, differs: bool, at: Duration) {
        let labels = [("app", app.to_string()), ("product", product.to_owned())];
        gauge(&self.recorder, REGISTRATION_DRIFT, &labels).set(f64::from(u8::from(differs)));
        gauge(&self.recorder, REGISTRATION_CHECKED, &labels).set(at.as_secs_f64());
    }

    /// Shows how many networks of the vendor's list are in force, and from when it is, as the time since 1970: none
    /// while all addresses are let in. Until this is called, nothing is shown.
    pub fn vendor_list(&self, networks: usize, at: Option<Duration>) {
        let networks = u32::try_from(networks).unwrap_or(u32::MAX);
        gauge(&self.recorder, VENDOR_NETWORKS, &[]).set(f64::from(networks));
        if let Some(at) = at {
            gauge(&self.recorder, VENDOR_LIST_AT, &[]).set(at.as_secs_f64());
        }
    }

    /// Shows when the certificate in use ends, as the time since 1970. Until this is called, nothing is shown.
    pub fn certificate_ends(&self, since_1970: Duration) {
        gauge(&self.recorder, TLS_EXPIRY, &[]).set(since_1970.as_secs_f64());
    }

    /// The figures of one destination of forwarding, of which there are few.
    #[must_use]
    pub fn destination(&self, name: &str) -> DestinationMetrics {
        DestinationMetrics::new(&self.recorder, name)
    }

    /// Reads the figures, and keeps them small while nobody does.
    #[must_use]
    pub fn handle(&self) -> PrometheusHandle {
        self.recorder.handle()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn recorder() -> PrometheusRecorder {
    let exact = |name: &str| Matcher::Full(name.to_owned());
    let rows = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];
    let seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0];
    let lags = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 3600.0];
    [
        (BATCH_ROWS, rows.as_slice()),
        (COMMIT_SECONDS, &seconds),
        (ANSWER_SECONDS, &seconds),
        (LAG_SECONDS, &lags),
        (settle::SECONDS, &seconds),
        (forward::ATTEMPT_SECONDS, &lags),
        (forward::DELAY_SECONDS, &lags),
        (stream::PUBLISH_SECONDS, &seconds),
    ]
    .into_iter()
    .try_fold(PrometheusBuilder::new(), |builder, (name, bounds)| {
        builder.set_buckets_for_metric(exact(name), bounds)
    })
    .expect("each list of bounds has members")
    .build_recorder()
}

fn describe(recorder: &PrometheusRecorder) {
    settle::describe(recorder);
    forward::describe(recorder);
    stream::describe(recorder);
    spool::describe(recorder);
    process::describe(recorder);
    let counters = [
        (REQUESTS, "HTTP requests to the public listener"),
        (OUTCOMES, "Outcomes of the requests; they add up to trtc_requests_total"),
        (
            EVENTS,
            "Verified events; `untyped` is a command without a type here, `undecoded` a body in which something did not fit its type",
        ),
        (
            CONNECTIONS_CLOSED,
            "Connections of the public listener that the server closed; `evicted` is to make room for others, `write_too_slow` a client that did not read its answer",
        ),
        (
            DECODE_PANICS,
            "Events that were stored undecoded because decoding panicked: a bug in this program, which the log locates",
        ),
        (STORE_ERRORS, "Batches or rows that the store did not take"),
        (RETENTION, "Whole partitions and single rows that were deleted because of their age"),
        (ANOMALIES_FOUND, "Gaps found in what the vendor sent"),
        (
            LAST_RESORT,
            "Events that neither store nor spool took: `written` to the error log, or `lost`, if standard error did not take them either or storing one panicked",
        ),
        (OPS_WRONG_TOKENS, "Wrong tokens that the operations listener received"),
        (
            LOG_LINES_DROPPED,
            "Log lines that standard error did not take, or not fast enough; up to 5 s behind",
        ),
        (SIGN_REUSED, "New events under a signature that was first seen more than 5 s before"),
        (TLS_HANDSHAKE_ERRORS, "Connections that ended during the TLS handshake"),
        (
            TLS_RELOADS,
            "Reloads of changed certificate files; after `failed` the previous certificate stays in use",
        ),
        (
            REGISTRATION_CHECKS,
            "Checks of the registration at the vendor; `repaired` differed and was corrected, `failed` is an error of the vendor's API",
        ),
        (
            VENDOR_LIST,
            "Refreshes of the vendor's address list; `failed` is no answer, or one that was not accepted as a whole",
        ),
    ];
    for (name, text) in counters {
        recorder.describe_counter(name.into(), Some(Unit::Count), text.into());
    }
    describe_gauges(recorder);
    let histograms = [
        (BATCH_ROWS, "Rows of a batch"),
        (COMMIT_SECONDS, "Seconds from handing a batch to the store until it is committed"),
        (ANSWER_SECONDS, "Seconds from the head of a request until its answer"),
        (LAG_SECONDS, "Seconds from an event's own time until it is received"),
    ];
    for (name, text) in histograms {
        recorder.describe_histogram(name.into(), None, text.into());
    }
}

fn describe_gauges(recorder: &PrometheusRecorder) {
    let gauges = [
        (QUEUE_EVENTS, "Events on their way into the store or the spool"),
        (QUEUE_BYTES, "Bytes of the bodies of events on their way into the store or the spool"),
        (
            STORE_CIRCUIT_OPEN,
            "1 while the store does not take events and they go straight to the spool",
        ),
        (CONNECTIONS, "Open connections of the public listener"),
        (
            ANOMALIES_OPEN,
            "Open gaps in what the vendor sent; on the server that computes sessions, elsewhere 0",
        ),
        (
            SILENCE_SECONDS,
            "Seconds since the last event of an app, to the minute; on the server that computes sessions",
        ),
        (
            TLS_EXPIRY,
            "Expiry time of the certificate in use, in seconds since 1970; absent without HTTPS",
        ),
        (
            REGISTRATION_DRIFT,
            "1 if the registration at the vendor differs from what is wanted; absent until the vendor has answered",
        ),
        (
            REGISTRATION_CHECKED,
            "Time of the vendor's last answer about the registration, in seconds since 1970",
        ),
        (
            VENDOR_NETWORKS,
            "Networks of the vendor's address list in force; 0 while all addresses are accepted; absent if the list is not used",
        ),
        (VENDOR_LIST_AT, "Time of the vendor's address list in force, in seconds since 1970"),
    ];
    for (name, text) in gauges {
        recorder.describe_gauge(name.into(), None, text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Rejection;

    #[test]
    fn every_outcome_has_a_counter_of_its_own() {
        let metrics = Metrics::new();
        let app = AppId::parse("1").unwrap();
        let outcomes = [
            RequestOutcome::Stored,
            RequestOutcome::Duplicate,
            RequestOutcome::DeadLetter,
            RequestOutcome::Spooled,
            RequestOutcome::NotStored,
            RequestOutcome::Shed,
            RequestOutcome::NotFound,
            RequestOutcome::MethodNotAllowed,
            RequestOutcome::BodyTooLarge,
            RequestOutcome::BodyTooSlow,
            RequestOutcome::BodyBroken,
            RequestOutcome::Abandoned,
            RequestOutcome::Rejected(Rejection::AppMissing),
            RequestOutcome::Rejected(Rejection::AppMalformed),
            RequestOutcome::Rejected(Rejection::AppForeign(app)),
            RequestOutcome::Rejected(Rejection::SignMissing(app)),
            RequestOutcome::Rejected(Rejection::SignWrong(app)),
            RequestOutcome::Rejected(Rejection::RequestTimeStale(app)),
            RequestOutcome::Rejected(Rejection::AddressForeign(None)),
            RequestOutcome::Rejected(Rejection::AppConflicting),
            RequestOutcome::Rejected(Rejection::RtcSignMissing(app)),
            RequestOutcome::Rejected(Rejection::RtcSignWrong(app)),
        ];
        for (times, outcome) in outcomes.iter().enumerate() {
            (0..=times).for_each(|_| metrics.outcome(*outcome));
        }
        let refused = [RefusedHead::TooSlow, RefusedHead::TooLarge, RefusedHead::Broken];
        for (times, refused) in (outcomes.len()..).zip(refused) {
            (0..=times).for_each(|_| metrics.refused_head(refused));
        }
        let text = metrics.handle().render();
        let mut counts: Vec<u32> = text
            .lines()
            .filter(|line| line.starts_with("trtc_request_outcomes_total{"))
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect();
        counts.sort_unstable();
        let all = u32::try_from(outcome_labels().count()).unwrap();
        assert_eq!(counts, (1..=all).collect::<Vec<_>>(), "{text}");
    }
}
