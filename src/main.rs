//! The program: reads the command line, runs it, prints the error.

use std::process::ExitCode;

use clap::Parser;
use trtc_callbacks::cli::{Cli, run};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
