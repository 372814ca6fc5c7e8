//! The figures of writing batches, and of the stream of scale-out mode; without one they are 0.

use metrics::{Counter, Gauge, Histogram, Recorder, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;

use crate::telemetry::recorder::{counter, gauge, histogram};

const PUBLISH: &str = "trtc_stream_publish_total";
pub(crate) const PUBLISH_SECONDS: &str = "trtc_stream_publish_seconds";
const CIRCUIT_OPEN: &str = "trtc_stream_circuit_open";
const PENDING: &str = "trtc_stream_pending";
const ACK_PENDING: &str = "trtc_stream_ack_pending";
const REDELIVERED: &str = "trtc_stream_redelivered_total";
const FILL_RATIO: &str = "trtc_stream_fill_ratio";
const PURGED: &str = "trtc_stream_purged_total";
const UNREADABLE: &str = "trtc_stream_unreadable_total";

/// The figures of a place that batches are written to.
#[derive(Debug, Clone)]
pub struct WriteMetrics {
    /// Rows of one batch.
    pub rows: Histogram,
    /// From handing a batch over until it was taken, in s.
    pub seconds: Histogram,
    /// Batches that were not taken because the place was not available.
    pub unavailable: Counter,
    /// Batches that were not taken in time.
    pub timeouts: Counter,
    /// Batches or rows that were refused.
    pub refused: Counter,
    /// Whether events bypass it: 0 or 1.
    pub circuit_open: Gauge,
}

/// The handles.
#[derive(Debug)]
pub struct StreamMetrics {
    /// Events that the stream stored.
    pub stored: Counter,
    /// Events that it had already.
    pub duplicate: Counter,
    /// Events that it refuses for good, such as those above its maximum size.
    pub refused: Counter,
    /// Events that it does not take now: it is full, has no leader, or is not there.
    pub unavailable: Counter,
    /// Events that it did not acknowledge in time.
    pub timeout: Counter,
    seconds: Histogram,
    circuit_open: Gauge,
    /// Events that the writers have not been given yet.
    pub pending: Gauge,
    /// Events that they were given and have not acknowledged.
    pub ack_pending: Gauge,
    /// Events that this writer was given again.
    pub redelivered: Counter,
    /// How full the stream is, of 1.
    pub fill_ratio: Gauge,
    /// Events that this writer removed from the stream, long after they were stored.
    pub purged: Counter,
    /// Records that could not be read.
    pub unreadable: Counter,
}

impl StreamMetrics {
    pub(crate) fn new(recorder: &PrometheusRecorder) -> Self {
        let publish = |result: &str| counter(recorder, PUBLISH, &[("result", result.to_owned())]);
        Self {
            stored: publish("stored"),
            duplicate: publish("duplicate"),
            refused: publish("refused"),
            unavailable: publish("unavailable"),
            timeout: publish("timeout"),
            seconds: histogram(recorder, PUBLISH_SECONDS),
            circuit_open: gauge(recorder, CIRCUIT_OPEN, &[]),
            pending: gauge(recorder, PENDING, &[]),
            ack_pending: gauge(recorder, ACK_PENDING, &[]),
            redelivered: counter(recorder, REDELIVERED, &[]),
            fill_ratio: gauge(recorder, FILL_RATIO, &[]),
            purged: counter(recorder, PURGED, &[]),
            unreadable: counter(recorder, UNREADABLE, &[]),
        }
    }

    /// Of batches that are published: what became of each event is counted by the publisher.
    #[must_use]
    pub fn writes(&self) -> WriteMetrics {
        WriteMetrics {
            rows: Histogram::noop(),
            seconds: self.seconds.clone(),
            unavailable: Counter::noop(),
            timeouts: Counter::noop(),
            refused: Counter::noop(),
            circuit_open: self.circuit_open.clone(),
        }
    }
}

pub(crate) fn describe(recorder: &PrometheusRecorder) {
    let counters = [
        (
            PUBLISH,
            "Attempts to publish an event to the stream; `unavailable` is a stream that is full, has no leader or is not there",
        ),
        (REDELIVERED, "Events that the stream delivered to this writer again"),
        (PURGED, "Stored events that this writer removed from the stream"),
        (
            UNREADABLE,
            "Messages of the stream that are no records of events; they are in dead_letter_events",
        ),
    ];
    for (name, text) in counters {
        recorder.describe_counter(name.into(), Some(Unit::Count), text.into());
    }
    let gauges = [
        (CIRCUIT_OPEN, "1 while the stream does not take events and they go straight to the spool"),
        (PENDING, "Events in the stream not yet delivered to a writer"),
        (ACK_PENDING, "Events delivered to writers and not yet stored; at most 20,000"),
        (FILL_RATIO, "Fill level of the stream, 0 to 1; at 1 events go to the spools"),
    ];
    for (name, text) in gauges {
        recorder.describe_gauge(name.into(), None, text.into());
    }
    let text =
        "Seconds from publishing a batch of events until the stream has acknowledged all of it";
    recorder.describe_histogram(PUBLISH_SECONDS.into(), Some(Unit::Seconds), text.into());
}
