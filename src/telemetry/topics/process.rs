//! The figures of the process, under the names that Prometheus' own libraries give them.

use std::fmt::Write;
use std::time::Duration;

use metrics::{Recorder, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;
use rustix::process::{Resource, getrlimit};

use crate::telemetry::recorder::gauge;

const BUILD_INFO: &str = "trtc_build_info";
const START_TIME: &str = "process_start_time_seconds";

/// The unit of CPU times in /proc, in 1/s: Linux shows programs this one, whatever its own is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Shows the running version.
pub(crate) fn show_version(recorder: &PrometheusRecorder) {
    gauge(recorder, BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1.0);
}

/// Shows when the server started, as the time since 1970.
pub(crate) fn show_start(recorder: &PrometheusRecorder, since_1970: Duration) {
    gauge(recorder, START_TIME, &[]).set(since_1970.as_secs_f64());
}

pub(crate) fn describe(recorder: &PrometheusRecorder) {
    recorder.describe_gauge(BUILD_INFO.into(), None, "1, with the running version".into());
    let text = "Time when the server started, in seconds since 1970";
    recorder.describe_gauge(START_TIME.into(), Some(Unit::Seconds), text.into());
}

/// What the process uses at this moment, as text for Prometheus. What the system does not tell is left out: outside Linux all
/// but the limit of open files.
#[must_use]
pub fn process_figures() -> String {
    let mut text = String::new();
    let mut put = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
        }
    };
    let help = "CPU time that the process has used, in seconds; on Linux";
    put("process_cpu_seconds_total", "counter", help, cpu_seconds());
    let help = "Memory of the process that is in RAM, in bytes; on Linux";
    put("process_resident_memory_bytes", "gauge", help, resident_bytes());
    put(
        "process_open_fds",
        "gauge",
        "Open files and connections of the process; on Linux",
        open_fds(),
    );
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let fds_max = getrlimit(Resource::Nofile).current.map(|limit| limit as f64);
    put(
        "process_max_fds",
        "gauge",
        "Open files and connections that the process may have",
        fds_max,
    );
    text
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in brackets, and may contain anything.
    let (_, behind) = stat.rsplit_once(") ")?;
    let mut times = behind.split(' ').skip(11).map(str::parse::<f64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = size.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn open_fds() -> Option<f64> {
    // One of them is the folder that is being read.
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count().checked_sub(1)?;
    Some(f64::from(u32::try_from(count).ok()?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_measured() {
        assert!(cpu_seconds().is_some());
        assert!(resident_bytes().unwrap() > 1e6);
        assert!(open_fds().unwrap() >= 3.0);
    }
}
