//! A panic is a mistake of ours, which must cost no event and show no body.

use std::process::Command;

use protocol::{AppId, Apps, Event, Query};
use trtc_callbacks::telemetry::{self, LogFormat, Metrics};

use crate::support::{APP, NOW};

/// Set in the process that is to panic.
const CHILD: &str = "TEST_PANICS";

#[test]
fn a_panic_while_decoding_is_counted() {
    let apps = Apps::new().with(AppId::parse(APP).unwrap(), Vec::new());
    let verified = apps.verify(Query::parse(&format!("SdkAppid={APP}")), NOW).unwrap();
    let mut event = Event::decode(&verified, b"{}", NOW);
    let metrics = Metrics::new();
    metrics.event(&event);
    event.decode_panicked = true;
    metrics.event(&event);
    let figures = metrics.handle().render();
    assert!(figures.contains("\ntrtc_decode_panics_total 1\n"), "{figures}");
}

#[test]
fn a_panic_is_logged_with_its_location_and_without_its_text() {
    if let Ok(log) = std::env::var(CHILD) {
        return panic_as_told(&log);
    }
    for log in ["none", "json"] {
        // This test again, in a process of its own: the hook is the whole process's.
        let test = "panics::a_panic_is_logged_with_its_location_and_without_its_text";
        let child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(CHILD, log)
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        let said = String::from_utf8(child.stderr).unwrap();
        assert!(child.status.success(), "{said}");
        assert_eq!(said.matches("a mistake of this program").count(), 1, "{said}");
        assert!(said.contains("panics.rs:"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        assert_eq!(said.contains("\"level\":\"ERROR\""), log == "json", "{said}");
    }
}

fn panic_as_told(log: &str) {
    let _at_the_end = telemetry::FlushLogs;
    telemetry::log_panics();
    if log == "json" {
        telemetry::init_logs(LogFormat::Json, "info").unwrap();
    }
    let body = String::from("s3cret");
    let thread = std::thread::spawn(move || panic!("the body is {body}"));
    assert!(thread.join().is_err());
}
