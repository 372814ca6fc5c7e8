//! The figures of the spool; without one they are 0.

use metrics::{Counter, Gauge, Recorder, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;

use crate::telemetry::recorder::{counter, gauge};

const EVENTS: &str = "trtc_spool_events";
const BYTES: &str = "trtc_spool_bytes";
const LIMIT_BYTES: &str = "trtc_spool_limit_bytes";
const DRAINED: &str = "trtc_spool_drained_total";
const ERRORS: &str = "trtc_spool_errors_total";
const DAMAGED: &str = "trtc_spool_damaged_total";

/// The handles.
#[derive(Debug)]
pub struct SpoolMetrics {
    /// Events that wait in it.
    pub events: Gauge,
    /// What they take of its file, in bytes.
    pub bytes: Gauge,
    limit_bytes: Gauge,
    /// Events that came from it into the store.
    pub drained: Counter,
    /// What it did not do.
    pub errors: Counter,
    /// Files and records that could not be trusted and were quarantined.
    pub damaged: Counter,
}

impl SpoolMetrics {
    pub(crate) fn new(recorder: &PrometheusRecorder) -> Self {
        Self {
            events: gauge(recorder, EVENTS, &[]),
            bytes: gauge(recorder, BYTES, &[]),
            limit_bytes: gauge(recorder, LIMIT_BYTES, &[]),
            drained: counter(recorder, DRAINED, &[]),
            errors: counter(recorder, ERRORS, &[]),
            damaged: counter(recorder, DAMAGED, &[]),
        }
    }

    /// Shows how large it may become.
    pub fn limit(&self, bytes: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        self.limit_bytes.set(bytes as f64);
    }
}

pub(crate) fn describe(recorder: &PrometheusRecorder) {
    let gauges = [
        (EVENTS, Unit::Count, "Events in the spool"),
        (BYTES, Unit::Bytes, "Bytes of the spool's file that are in use"),
        (
            LIMIT_BYTES,
            Unit::Bytes,
            "Bytes that the spool may use (spool.bytes_max); 0 without a spool. At the limit events go to the error log",
        ),
    ];
    for (name, unit, text) in gauges {
        recorder.describe_gauge(name.into(), Some(unit), text.into());
    }
    let counters = [
        (DRAINED, "Events that were replayed from the spool into the store"),
        (ERRORS, "Failed operations of the spool, for example because its disk is full"),
        (DAMAGED, "Damaged files and records of the spool that were quarantined"),
    ];
    for (name, text) in counters {
        recorder.describe_counter(name.into(), Some(Unit::Count), text.into());
    }
}
