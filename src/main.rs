//! The program: reads the command line, runs it, prints the error.

use std::process::ExitCode;

use clap::Parser;
use trtc_callbacks::cli::{Cli, error_text, exit_code, run};
use trtc_callbacks::telemetry;

#[cfg(not(panic = "unwind"))]
compile_error!(
    "a panic must cost one request at most, and not the server: build with `panic = \"unwind\"`"
);

/// The standard library's takes a tenth of the time of each event, and more where two threads work.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    telemetry::log_panics();
    let _at_the_end = telemetry::FlushLogs;
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::print_error(&error_text(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}
