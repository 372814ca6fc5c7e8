//! `deploy/grafana/dashboard.json` is made from the metrics, and has all of them. `REFERENCE=write` writes it: `scripts/docs` does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::reference::all_series;

/// A panel's title, and the metrics that it shows.
type Panel = (&'static str, &'static [&'static str]);

/// The rows, and the panels of each.
const ROWS: [(&str, &[Panel]); 9] = [
    (
        "Callbacks",
        &[
            ("Requests", &["trtc_requests_total"]),
            ("Outcomes of requests", &["trtc_request_outcomes_total"]),
            ("Events by family", &["trtc_events_total"]),
            ("Silence of apps", &["trtc_silence_seconds"]),
            ("Lag of events when they arrive", &["trtc_event_lag_seconds"]),
            (
                "Bugs in decoding, reused signatures",
                &["trtc_decode_panics_total", "trtc_sign_reused_total"],
            ),
            ("Open anomalies", &["trtc_anomalies"]),
            ("Anomalies found", &["trtc_anomalies_found_total"]),
        ],
    ),
    (
        "Answers and connections",
        &[
            ("Time to answer", &["trtc_answer_seconds"]),
            ("Open connections", &["trtc_connections"]),
            ("Connections closed by the server", &["trtc_connections_closed_total"]),
            ("TLS: failed handshakes", &["trtc_tls_handshake_errors_total"]),
            ("TLS: reloads", &["trtc_tls_reloads_total"]),
            ("TLS: time until the certificate expires", &["trtc_tls_certificate_expiry_seconds"]),
        ],
    ),
    (
        "Store",
        &[
            ("Store away", &["trtc_store_circuit_open"]),
            ("Time to commit a batch", &["trtc_commit_seconds"]),
            ("Rows of a batch", &["trtc_batch_rows"]),
            ("Errors of the store", &["trtc_store_errors_total"]),
            ("Events on their way", &["trtc_queue_events"]),
            ("Bytes on their way", &["trtc_queue_bytes"]),
            ("Events that nothing kept", &["trtc_last_resort_total"]),
            ("Deleted by retention", &["trtc_retention_dropped_total"]),
        ],
    ),
    (
        "Spool",
        &[
            ("Events in the spool", &["trtc_spool_events"]),
            ("Size of the spool, and its limit", &["trtc_spool_bytes", "trtc_spool_limit_bytes"]),
            ("Events replayed", &["trtc_spool_drained_total"]),
            ("Errors, damaged records", &["trtc_spool_errors_total", "trtc_spool_damaged_total"]),
        ],
    ),
    (
        "Read models",
        &[
            ("Rooms in the queue", &["trtc_settle_queue_rooms", "trtc_settle_backoff_rooms"]),
            ("Age of the oldest room in the queue", &["trtc_settle_oldest_seconds"]),
            ("Time to compute sessions", &["trtc_settle_seconds"]),
            ("Failed computations", &["trtc_settle_failures_total"]),
        ],
    ),
    (
        "Forwarding",
        &[
            ("State of destinations", &["trtc_forward_state"]),
            ("Age of the oldest event that waits", &["trtc_forward_lag_seconds"]),
            ("Events done with", &["trtc_forward_events_total"]),
            ("Attempts", &["trtc_forward_attempts_total"]),
            ("Time of an attempt", &["trtc_forward_attempt_seconds"]),
            ("Delay until an event is delivered", &["trtc_forward_delay_seconds"]),
            ("Backlog", &["trtc_forward_backlog_events"]),
            ("Events that failed, dead letters", &["trtc_forward_waiting", "trtc_forward_dead"]),
            ("Server that assigns positions", &["trtc_feed_leader"]),
            ("Events without a position", &["trtc_feed_unnumbered"]),
            ("Events of the feed", &["trtc_feed_events"]),
            ("Derived events: lag", &["trtc_derived_lag_seconds"]),
            ("Derived events: backlog", &["trtc_derived_backlog_events", "trtc_derived_pending"]),
        ],
    ),
    (
        "Stream (scale-out mode)",
        &[
            ("Stream away", &["trtc_stream_circuit_open"]),
            ("Fill level of the stream", &["trtc_stream_fill_ratio"]),
            ("Events that wait for writers", &["trtc_stream_pending"]),
            ("Events that writers hold", &["trtc_stream_ack_pending"]),
            ("Time to publish a batch", &["trtc_stream_publish_seconds"]),
            ("Events published", &["trtc_stream_publish_total"]),
            (
                "Events of writers",
                &[
                    "trtc_stream_purged_total",
                    "trtc_stream_redelivered_total",
                    "trtc_stream_unreadable_total",
                ],
            ),
        ],
    ),
    (
        "Registration and the vendor's addresses",
        &[
            ("Drift", &["trtc_registration_drift"]),
            ("Time since the vendor's last answer", &["trtc_registration_checked_seconds"]),
            ("Checks of the registration", &["trtc_registration_checks_total"]),
            ("Networks of the vendor's list", &["trtc_vendor_networks"]),
            ("Age of the vendor's list", &["trtc_vendor_list_seconds"]),
            ("Refreshes of the vendor's list", &["trtc_vendor_list_refreshes_total"]),
        ],
    ),
    (
        "Process",
        &[
            ("CPU", &["process_cpu_seconds_total"]),
            ("Memory", &["process_resident_memory_bytes"]),
            ("Open files, and their limit", &["process_open_fds", "process_max_fds"]),
            ("Time since the start", &["process_start_time_seconds"]),
            ("Version", &["trtc_build_info"]),
            (
                "Log lines dropped, wrong tokens",
                &["trtc_log_lines_dropped_total", "trtc_ops_wrong_tokens_total"],
            ),
        ],
    ),
];

/// From where on `deploy/prometheus/alerts.yml` complains, where that is one figure of a panel; below it where `is_low`.
const THRESHOLDS: [(&str, f64, bool); 13] = [
    ("trtc_answer_seconds", 0.5, false),
    ("trtc_tls_certificate_expiry_seconds", 14.0 * 86400.0, true),
    ("trtc_store_circuit_open", 1.0, false),
    ("trtc_settle_oldest_seconds", 300.0, false),
    ("trtc_forward_lag_seconds", 900.0, false),
    ("trtc_forward_state", 2.0, false),
    ("trtc_derived_lag_seconds", 300.0, false),
    ("trtc_stream_circuit_open", 1.0, false),
    ("trtc_stream_fill_ratio", 0.7, false),
    ("trtc_stream_ack_pending", 20_000.0, false),
    ("trtc_registration_drift", 1.0, false),
    ("trtc_vendor_list_seconds", 3.0 * 86400.0, false),
    ("trtc_vendor_networks", 1.0, true),
];

/// Panels in a line of 24 units.
const WIDTH: usize = 8;
const HEIGHT: usize = 8;

/// What the text of `/metrics` says of one metric.
#[derive(Default)]
struct Metric {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

fn metrics() -> BTreeMap<String, Metric> {
    let text = all_series();
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help] => {
                (*help).clone_into(&mut metrics.entry((*name).to_owned()).or_default().help);
            }
            ["#", "TYPE", name, kind] => {
                (*kind).clone_into(&mut metrics.entry((*name).to_owned()).or_default().kind);
            }
            _ => {
                let (name, labels) = line.split_once('{').unwrap_or((line, ""));
                let labels = labels.split(',').filter_map(|pair| pair.split_once("=\""));
                if let Some(metric) = metrics.get_mut(name) {
                    metric.labels.extend(labels.map(|(label, _)| label.to_owned()));
                }
            }
        }
    }
    metrics
}

/// The unit of the figures of a metric, in Grafana's words.
fn unit(name: &str, metric: &Metric) -> &'static str {
    match name {
        "process_cpu_seconds_total" | "trtc_stream_fill_ratio" => "percentunit",
        _ if metric.kind == "counter" => "cps",
        _ if name.ends_with("_seconds") => "s",
        _ if name.ends_with("_bytes") => "bytes",
        _ => "short",
    }
}

/// What is asked of one metric: each expression with its legend.
fn queries(name: &str, metric: &Metric) -> Vec<(String, String)> {
    let one = format!("{name}{{job=~\"$job\",instance=~\"$instance\"}}");
    let labels: Vec<&str> = metric.labels.iter().map(String::as_str).collect();
    let (by, legend) = if labels.is_empty() {
        ("instance".to_owned(), "{{instance}}".to_owned())
    } else {
        let legend: Vec<String> = labels.iter().map(|label| format!("{{{{{label}}}}}")).collect();
        (labels.join(", "), legend.join(" "))
    };
    match (metric.kind.as_str(), name) {
        ("histogram", _) => {
            let buckets = one.replacen(name, &format!("{name}_bucket"), 1);
            let quantiles = [("0.5", "half"), ("0.9", "90 %"), ("0.99", "99 %")];
            let query = |(share, legend): (&str, &str)| {
                let expression = format!(
                    "histogram_quantile({share}, sum by (le) (rate({buckets}[$__rate_interval])))"
                );
                (expression, format!("{legend} at most"))
            };
            quantiles.map(query).to_vec()
        }
        ("counter", _) => vec![(format!("sum by ({by}) (rate({one}[$__rate_interval]))"), legend)],
        (_, "trtc_build_info") => {
            vec![(format!("count by (version) ({one})"), "servers of {{version}}".to_owned())]
        }
        (_, "trtc_tls_certificate_expiry_seconds") => vec![(format!("{one} - time()"), legend)],
        (_, "process_start_time_seconds") => {
            let ours = "trtc_build_info{job=~\"$job\",instance=~\"$instance\"}";
            vec![(format!("time() - {one} and on (job, instance) {ours}"), legend)]
        }
        (_, "trtc_registration_checked_seconds" | "trtc_vendor_list_seconds") => {
            vec![(format!("time() - max by ({by}) ({one})"), legend)]
        }
        _ => vec![(format!("max by ({by}) ({one})"), legend)],
    }
}

fn panel(title: &str, names: &[&str], all: &BTreeMap<String, Metric>) -> Value {
    let mut targets = Vec::new();
    let mut helps = Vec::new();
    for name in names {
        let metric = all.get(*name).unwrap_or_else(|| panic!("there is no metric {name}"));
        helps.push(format!("{name}: {}", metric.help));
        for (expression, legend) in queries(name, metric) {
            // Which of several metrics a line is.
            let word =
                name.trim_start_matches("trtc_").trim_end_matches("_total").replace('_', " ");
            let legend = if names.len() > 1 { format!("{word} {legend}") } else { legend };
            let id = char::from(b'A' + u8::try_from(targets.len()).unwrap()).to_string();
            targets.push(json!({"refId": id, "expr": expression, "legendFormat": legend, "editorMode": "code"}));
        }
    }
    let first = names[0];
    let threshold = THRESHOLDS.iter().find(|(name, ..)| *name == first);
    let steps = match threshold {
        None => json!([{"color": "green", "value": null}]),
        Some((_, at, true)) => {
            json!([{"color": "red", "value": null}, {"color": "green", "value": at}])
        }
        Some((_, at, false)) => {
            json!([{"color": "green", "value": null}, {"color": "red", "value": at}])
        }
    };
    let style = if threshold.is_some() { "line" } else { "off" };
    json!({
        "type": "timeseries",
        "title": title,
        "description": helps.join("\n\n"),
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "targets": targets,
        "fieldConfig": {
            "defaults": {
                "unit": unit(first, &all[first]),
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
                "custom": {"lineWidth": 1, "fillOpacity": 5, "showPoints": "never", "thresholdsStyle": {"mode": style}},
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "table", "placement": "bottom", "showLegend": true, "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    })
}

fn variable(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name, "label": label, "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name}, "definition": query,
        "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    })
}

fn dashboard() -> Value {
    let all = metrics();
    let (mut panels, mut top) = (Vec::new(), 0);
    for (row, shown) in ROWS {
        panels.push(json!({"type": "row", "title": row, "collapsed": false, "panels": [],
            "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}}));
        top += 1;
        for (number, (title, names)) in shown.iter().enumerate() {
            let mut panel = panel(title, names, &all);
            let (line, column) = (number * WIDTH / 24, number * WIDTH % 24);
            panel["gridPos"] =
                json!({"x": column, "y": top + line * HEIGHT, "w": WIDTH, "h": HEIGHT});
            panels.push(panel);
        }
        top += (shown.len() * WIDTH).div_ceil(24) * HEIGHT;
    }
    for (number, panel) in panels.iter_mut().enumerate() {
        panel["id"] = (number + 1).into();
    }
    json!({
        "title": "trtc-callbacks", "uid": "trtc-callbacks", "tags": ["trtc-callbacks"],
        "description": "Callbacks of Tencent RTC: what arrives, where it is, and what is wrong. Made by scripts/docs.",
        "schemaVersion": 37, "version": 1, "editable": true, "graphTooltip": 1, "refresh": "30s",
        "timezone": "browser", "time": {"from": "now-6h", "to": "now"},
        "__requires": [
            {"type": "grafana", "id": "grafana", "name": "Grafana", "version": "9.0.0"},
            {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
        ],
        "annotations": {"list": []},
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}},
            variable("job", "Job", "label_values(trtc_build_info, job)"),
            variable("instance", "Instance", "label_values(trtc_build_info{job=~\"$job\"}, instance)"),
        ]},
        "panels": panels,
    })
}

#[test]
fn the_dashboard_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/dashboard.json");
    let text = format!("{:#}\n", dashboard());
    if std::env::var("REFERENCE").is_ok_and(|wish| wish == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        return;
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == text,
        "deploy/grafana/dashboard.json is not current: ./scripts/docs writes it"
    );
}

#[test]
fn the_dashboard_shows_every_metric_once() {
    let shown = ROWS.iter().flat_map(|(_, panels)| panels.iter()).flat_map(|(_, names)| *names);
    let shown: Vec<&str> = shown.copied().collect();
    let unique: BTreeSet<&str> = shown.iter().copied().collect();
    assert_eq!(unique.len(), shown.len(), "one is shown twice");
    let all = metrics();
    let all: BTreeSet<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(unique, all);
}

#[test]
fn the_thresholds_of_the_dashboard_are_those_of_the_alerts() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/alerts.yml");
    let rules = std::fs::read_to_string(rules).unwrap();
    let expressions: Vec<&str> = rules.lines().filter(|line| line.contains("expr: ")).collect();
    for (name, at, is_low) in THRESHOLDS {
        let of_metric = expressions.iter().filter(|line| line.contains(name));
        let days = at / 86400.0;
        let figures = match (name, is_low) {
            ("trtc_vendor_networks", _) => vec!["== 0".to_owned()],
            (_, true) => vec![format!("< {days} * 86400")],
            _ => vec![
                format!("> {at}"),
                format!(">= {at}"),
                format!("== {at}"),
                format!("> {days} * 86400"),
            ],
        };
        let mut of_metric = of_metric.peekable();
        assert!(of_metric.peek().is_some(), "{name}");
        let is_there = |line: &&str| figures.iter().any(|figure| line.contains(figure));
        assert!(of_metric.any(is_there), "{name}: {figures:?}");
    }
}
