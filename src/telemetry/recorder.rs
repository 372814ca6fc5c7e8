//! Handles of single metrics, registered with a recorder.

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

const METADATA: Metadata<'_> = Metadata::new("trtc_callbacks", Level::INFO, None);

fn key(name: &'static str, labels: &[(&'static str, String)]) -> Key {
    let labels = labels.iter().map(|(name, value)| Label::new(*name, value.clone()));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}

pub(super) fn counter(
    recorder: &PrometheusRecorder,
    name: &'static str,
    labels: &[(&'static str, String)],
) -> Counter {
    let counter = recorder.register_counter(&key(name, labels), &METADATA);
    // So that it is shown from the start, and a sum over the outcomes has all its terms.
    counter.absolute(0);
    counter
}

pub(super) fn gauge(
    recorder: &PrometheusRecorder,
    name: &'static str,
    labels: &[(&'static str, String)],
) -> Gauge {
    recorder.register_gauge(&key(name, labels), &METADATA)
}

pub(super) fn histogram(recorder: &PrometheusRecorder, name: &'static str) -> Histogram {
    labelled_histogram(recorder, name, &[])
}

pub(super) fn labelled_histogram(
    recorder: &PrometheusRecorder,
    name: &'static str,
    labels: &[(&'static str, String)],
) -> Histogram {
    recorder.register_histogram(&key(name, labels), &METADATA)
}
