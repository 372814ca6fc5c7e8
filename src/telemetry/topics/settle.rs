//! The figures of the settling of rooms, on the server that settles; elsewhere 0. And which anomalies are counted.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Recorder, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;

use crate::telemetry::recorder::{counter, gauge, histogram};

const QUEUE: &str = "trtc_settle_queue_rooms";
const OLDEST: &str = "trtc_settle_oldest_seconds";
const BACKOFF: &str = "trtc_settle_backoff_rooms";
const FAILURES: &str = "trtc_settle_failures_total";
pub(crate) const SECONDS: &str = "trtc_settle_seconds";

/// The kinds of anomalies, the values of the label.
pub(crate) const ANOMALIES: [&str; 17] = [
    "call_without_end",
    "call_without_start",
    "room_without_destroy",
    "room_without_create",
    "leaves_missing",
    "enters_missing",
    "rtc_room_without_create",
    "rtc_room_without_dismiss",
    "rtc_exits_missing",
    "rtc_stops_missing",
    "rtc_dismiss_unattached",
    "recording_without_end",
    "recording_file_left",
    "rtc_task_without_end",
    "silence",
    "registration_drift",
    "forwarding_failing",
];

/// The handles.
#[derive(Debug)]
pub struct SettleMetrics {
    queue: Gauge,
    oldest: Gauge,
    backoff: Gauge,
    /// How often some rooms could not be settled, or not in time.
    pub failures: Counter,
    /// How long settling some took.
    pub seconds: Histogram,
}

impl SettleMetrics {
    pub(crate) fn new(recorder: &PrometheusRecorder) -> Self {
        Self {
            queue: gauge(recorder, QUEUE, &[]),
            oldest: gauge(recorder, OLDEST, &[]),
            backoff: gauge(recorder, BACKOFF, &[]),
            failures: counter(recorder, FAILURES, &[]),
            seconds: histogram(recorder, SECONDS),
        }
    }

    /// Shows how many rooms and days are queued, and for how long the one that waits the longest.
    pub fn queue(&self, rooms: u32, age: Duration) {
        self.queue.set(rooms);
        self.oldest.set(u32::try_from(age.as_secs()).unwrap_or(u32::MAX));
    }

    /// Shows how many rooms could not be settled and are tried again later.
    pub fn backing_off(&self, rooms: usize) {
        self.backoff.set(u32::try_from(rooms).unwrap_or(u32::MAX));
    }
}

pub(crate) fn describe(recorder: &PrometheusRecorder) {
    let gauges = [
        (
            QUEUE,
            "Rooms whose sessions are to be computed, once for each day they have new events of; 100,000 at most",
        ),
        (
            BACKOFF,
            "Rooms whose computation failed and is retried, after 10 s and up to half an hour",
        ),
    ];
    for (name, text) in gauges {
        recorder.describe_gauge(name.into(), Some(Unit::Count), text.into());
    }
    let text = "Seconds since the oldest room in that queue was added; up to 10 is usual";
    recorder.describe_gauge(OLDEST.into(), Some(Unit::Seconds), text.into());
    let text = "Failed or timed-out computations of sessions; the log says why";
    recorder.describe_counter(FAILURES.into(), Some(Unit::Count), text.into());
    let text = "Seconds that computing the sessions of up to 32 rooms took";
    recorder.describe_histogram(SECONDS.into(), Some(Unit::Seconds), text.into());
}
