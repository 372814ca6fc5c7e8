//! The whole chain under load: from a request's first byte to the committed row, of this server, of its like, and of the two
//! parts that nobody can do without. `scripts/bench` runs it; `docs/reports/performance.md` says what is measured, and how.

mod chart;
mod contender;
mod corpus;
mod cost;
mod database;
mod direct;
mod figures;
mod forward;
mod growth;
mod growth_fill;
mod machine;
mod measure;
mod paced;
mod plan;
mod report;
mod summary;
mod targets;
mod wrk;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

/// Which runs are made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Full,
    /// Few and short ones, for each change.
    Smoke,
    /// This server beside itself at an earlier commit.
    Base,
    /// Events of both dialects, each and mixed.
    Dialects,
    /// With many stored rows.
    Growth,
    /// With destinations that stored events are forwarded to.
    Forward,
}

/// What the command line asks for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    mode: Mode,
    /// Whether its runs are to be short: for each change.
    is_short: bool,
    /// Files to write.
    json: Option<PathBuf>,
    chart: Option<PathBuf>,
    /// Whether the files in `docs/reports/` are to be written.
    docs: bool,
}

fn main() -> ExitCode {
    let admin = std::env::var("TEST_POSTGRES_URL").ok();
    // Without any argument it is `cargo test --benches`, which only wants to know that it starts.
    let Some(admin) = admin.filter(|_| std::env::args().len() > 1) else {
        println!("TEST_POSTGRES_URL is not set: run ./scripts/bench");
        return ExitCode::SUCCESS;
    };
    let done = asked().and_then(|asked| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(plan::run(&asked, &admin))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn asked() -> Result<Asked> {
    let mut asked = Asked::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut file = || arguments.next().map(PathBuf::from).context("the file's name is missing");
        match argument.as_str() {
            // Cargo's own.
            "--bench" => {}
            "smoke" | "--smoke" => asked.is_short = true,
            "forward" => asked.mode = Mode::Forward,
            "base" => asked.mode = Mode::Base,
            "dialects" => asked.mode = Mode::Dialects,
            "growth" => asked.mode = Mode::Growth,
            "--json" => asked.json = Some(file()?),
            "--chart" => asked.chart = Some(file()?),
            "--docs" => asked.docs = true,
            other => bail!("`{other}` is not known\nhint: see the head of scripts/bench"),
        }
    }
    if asked.is_short && asked.mode == Mode::Full {
        asked.mode = Mode::Smoke;
    }
    Ok(asked)
}
