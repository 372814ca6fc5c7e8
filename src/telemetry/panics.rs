//! Panics, in the log.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::PanicHookInfo;

use tracing::{dispatcher, error};

/// From now on, a panic anywhere in the process is logged with its place alone; on stderr where there is no log yet.
///
/// What a panic says is left out, because it may hold parts of a body: that of a slice shows the text it was to cut.
/// `RUST_BACKTRACE=1` adds who called.
pub fn log_panics() {
    std::panic::set_hook(Box::new(log));
}

fn log(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    if dispatcher::has_been_set() {
        error!(panic.place = place, backtrace, "a panic, which is a mistake of this program");
    } else {
        // A panic in here would end the process: where stderr takes nothing, nothing is said.
        let mut stderr = std::io::stderr();
        let _ = writeln!(stderr, "error: a panic at {place}, which is a mistake of this program");
        if let Some(backtrace) = backtrace {
            let _ = writeln!(stderr, "{backtrace}");
        }
    }
}
