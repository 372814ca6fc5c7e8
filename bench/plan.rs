//! Which runs there are, and in which order. Those that are compared stand close together in time.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::contender::{Kind, Programs, Storage};
use crate::corpus::{Corpus, Made, Sent, Wanted};
use crate::database::Databases;
use crate::measure::{self, Lab, Load, Requests};
use crate::report::{self, Report};
use crate::summary::Runs;
use crate::{Asked, Mode, chart, forward, growth, machine, targets};

/// How many rows are copied in one transaction.
const ROWS_IN_CHUNK: usize = 1000;
/// How large each body is where dialects are compared, in bytes.
const BODY_BYTES: usize = 1000;

pub(crate) async fn run(asked: &Asked, admin: &str) -> Result<()> {
    let programs = Programs::find()?;
    if let Some(warning) = machine::busy() {
        println!("{warning}");
    }
    if asked.mode == Mode::Growth {
        let mut databases = Databases::open(admin).await?;
        let done = growth::run(asked, &programs, &mut databases).await;
        databases.drop_all().await?;
        return done;
    }
    if asked.mode == Mode::Forward {
        let mut databases = Databases::open(admin).await?;
        let done = forward::run(asked, &programs, &mut databases).await;
        databases.drop_all().await?;
        return done;
    }
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let events =
        number("BENCH_REQUESTS", if asked.mode == Mode::Full { 200_000 } else { 100_000 })?;
    let rows = if asked.mode == Mode::Full { 60_000 } else { 30_000 };
    println!("making {events} requests");
    let wanted = Wanted { sent: Sent::Kits, seed: 7, events, body_bytes: 0, folder: folder.path() };
    let mut of_one_size = Vec::new();
    if asked.mode == Mode::Dialects {
        for sent in [Sent::Calls, Sent::RtcEngine, Sent::Both] {
            let wanted = Wanted { sent, body_bytes: BODY_BYTES, ..wanted };
            of_one_size.push((sent, Corpus::make(&wanted)?));
        }
    }
    let made = Made::new(&wanted, rows, ROWS_IN_CHUNK)?;
    let databases = Databases::open(admin).await?;
    let mut lab = Lab { programs, databases, requests: Requests { made, of_one_size } };
    let measured = match asked.mode {
        Mode::Base => base(&mut lab).await,
        Mode::Dialects => dialects(&mut lab).await,
        Mode::Smoke => smoke(&mut lab).await,
        Mode::Full | Mode::Growth | Mode::Forward => full(&mut lab).await,
    };
    let dropped = lab.databases.drop_all().await;
    let runs = measured?;
    dropped?;

    let mut targets = match asked.mode {
        Mode::Dialects => targets::dialects(&runs),
        _ => targets::all(&runs, &lab.programs),
    };
    // What is built otherwise than a release has other sizes.
    targets.retain(|target| match asked.mode {
        Mode::Base => false,
        Mode::Smoke => target.is_guarded(),
        Mode::Full | Mode::Growth | Mode::Dialects | Mode::Forward => true,
    });
    let machine = machine::describe(&lab.programs, &lab.databases.version);
    let report = Report { machine, runs, targets };
    println!("\n{}", report::tables(&report));
    write(asked, &report)?;
    if asked.mode == Mode::Base {
        println!("every OK was a row in every run");
        return Ok(());
    }
    if asked.mode == Mode::Smoke {
        return close_smoke(&report);
    }
    let missed = report.targets.iter().filter(|target| !target.is_met()).count();
    let all = report.targets.len();
    println!("{} of {all} targets are met; every OK was a row in every run", all - missed);
    Ok(())
}

fn write(asked: &Asked, report: &Report) -> Result<()> {
    let docs = |name: &str| asked.docs.then(|| root().join("docs/reports").join(name));
    let json = format!("{:#}\n", report::json(report));
    for path in asked.json.clone().into_iter().chain(docs("performance.json")) {
        save(&path, &json)?;
    }
    for path in asked.chart.clone().into_iter().chain(docs("performance.svg")) {
        save(&path, &chart::bars(&report.runs))?;
    }
    if let Some(path) = docs("performance.md") {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        save(&path, &report::replaced(&text, "bench", &report::document(report))?)?;
    }
    Ok(())
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn save(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

pub(crate) fn number(variable: &str, usual: usize) -> Result<usize> {
    let Ok(text) = std::env::var(variable) else { return Ok(usual) };
    text.parse().with_context(|| format!("{variable} is `{text}`\nhint: make it a whole number"))
}

/// The kinds whose programs are there, those that are not with a line that says so.
fn present(programs: &Programs, kinds: &[Kind]) -> Vec<Kind> {
    let (present, absent): (Vec<Kind>, Vec<Kind>) =
        kinds.iter().partition(|kind| programs.has(**kind));
    for kind in absent {
        println!("SKIPPED: {}: what runs it is not installed", kind.name());
    }
    present
}

/// What takes runs and shows each as it comes.
struct Taking<'a> {
    lab: &'a mut Lab,
    runs: Runs,
    round: u32,
}

impl Taking<'_> {
    /// One run of each kind, in every second round the other way round.
    async fn take(&mut self, kinds: &[Kind], load: Load, seconds: u64) -> Result<()> {
        let mut kinds = kinds.to_vec();
        if self.round.is_multiple_of(2) {
            kinds.reverse();
        }
        for kind in kinds {
            let row = self.lab.run(self.round, kind, load, seconds).await?;
            println!("{}", report::line(&row));
            self.runs.rows.push(row);
        }
        Ok(())
    }
}

async fn full(lab: &mut Lab) -> Result<Runs> {
    let peers = present(&lab.programs, &Kind::PEERS);
    for kind in [Kind::Fastify, Kind::FastApi] {
        if peers.contains(&kind) {
            measure::choose_processes(lab, kind).await?;
        }
    }
    // Beside itself as it was, where BENCH_BASE names a commit.
    let base = present(&lab.programs, &Kind::BASE);
    let servers = [&Kind::OURS[..], &base, &peers].concat();
    let with_limit = [&servers[..], &[Kind::HttpNothing]].concat();
    let repeating = [&Kind::OURS[..], &[Kind::Axum]].concat();
    let seconds = number("BENCH_SECONDS", 3)? as u64;
    let rounds = u32::try_from(number("BENCH_ROUNDS", 3)?.max(1))?;
    println!("{}", report::line_head());
    let mut taking = Taking { lab, runs: Runs::default(), round: 1 };
    for round in 1..=rounds {
        taking.round = round;
        taking.take(&[Kind::Copy, Kind::SqliteDirect], Load::Rows, seconds).await?;
        taking.take(&with_limit, Load::Full(64), seconds).await?;
        taking.take(&with_limit, Load::Full(128), seconds).await?;
        // How the figures go with the connections is seen in one round, too, and all of it would take too long.
        let others = if round == 1 { &[1, 16, 256][..] } else { &[] };
        for connections in others {
            taking.take(&servers, Load::Full(*connections), seconds.div_ceil(2)).await?;
        }
        taking.take(&repeating, Load::Repeating(64), seconds.div_ceil(2)).await?;
        let best = taking.runs.best_peer(round, Load::Full(64)).context("no peer was measured")?;
        let (best, rate) = (best.kind, best.events_per_s.floor());
        let paced = [&Kind::OURS[..], &[Kind::Axum]].concat();
        let at_least = if best == Kind::Axum { vec![] } else { vec![best] };
        let paced = [&paced[..], &at_least].concat();
        taking.take(&[&paced[..], &base].concat(), Load::Paced(1000), seconds).await?;
        for load in [Load::Paced(5000), Load::BestPeers(rate)] {
            taking.take(&paced, load, seconds).await?;
        }
    }
    Ok(taking.runs)
}

/// This server beside itself at an earlier commit.
async fn base(lab: &mut Lab) -> Result<Runs> {
    if !lab.programs.has(Kind::Base) {
        bail!(
            "there is no base to compare with\nhint: say which commit: BENCH_BASE=1f2ffd0 ./scripts/bench base"
        );
    }
    let seconds = number("BENCH_SECONDS", 3)? as u64;
    let rounds = u32::try_from(number("BENCH_ROUNDS", 3)?.max(1))?;
    let store = std::env::var("BENCH_STORE").unwrap_or_default();
    let wanted = match store.as_str() {
        "" => None,
        "sqlite" => Some(Storage::Sqlite),
        "postgres" => Some(Storage::Postgres),
        other => bail!("BENCH_STORE is `{other}`\nhint: make it sqlite or postgres, or unset it"),
    };
    let pairs = Kind::OURS.into_iter().zip(Kind::BASE);
    let pairs = pairs.filter(|(ours, _)| wanted.is_none_or(|store| ours.storage() == store));
    let pairs: Vec<Kind> = pairs.flat_map(|pair| [pair.0, pair.1]).collect();
    println!("{}", report::line_head());
    let mut taking = Taking { lab, runs: Runs::default(), round: 1 };
    for round in 1..=rounds {
        taking.round = round;
        taking.take(&pairs, Load::Full(64), seconds).await?;
        taking.take(&pairs, Load::Full(128), seconds).await?;
        taking.take(&pairs, Load::Paced(1000), seconds).await?;
    }
    Ok(taking.runs)
}

/// Events of both dialects with bodies of one size, each and mixed.
async fn dialects(lab: &mut Lab) -> Result<Runs> {
    let seconds = number("BENCH_SECONDS", 3)? as u64;
    let rounds = u32::try_from(number("BENCH_ROUNDS", 3)?.max(1))?;
    println!("{}", report::line_head());
    let mut taking = Taking { lab, runs: Runs::default(), round: 1 };
    for round in 1..=rounds {
        taking.round = round;
        for kind in Kind::OURS {
            for sent in [Sent::Calls, Sent::RtcEngine, Sent::Both] {
                taking.take(&[kind], Load::Of(sent, 64), seconds).await?;
            }
        }
    }
    Ok(taking.runs)
}

/// Short, for each change: are rows still OKs, and is no ratio off by far?
async fn smoke(lab: &mut Lab) -> Result<Runs> {
    let wanted = [&Kind::OURS[..], &[Kind::Axum, Kind::Fastify]].concat();
    let mut kinds = present(&lab.programs, &wanted);
    kinds.push(Kind::HttpNothing);
    println!("{}", report::line_head());
    let mut taking = Taking { lab, runs: Runs::default(), round: 1 };
    taking.take(&[Kind::Copy, Kind::SqliteDirect], Load::Rows, 2).await?;
    // Where batches are large already, so that runs differ less.
    taking.take(&kinds, Load::Full(128), 2).await?;
    Ok(taking.runs)
}

fn close_smoke(report: &Report) -> Result<()> {
    let far: Vec<_> = report.targets.iter().filter(|target| target.is_missed_by_far()).collect();
    for target in &far {
        eprintln!("{}: {}, and it is to be {}", target.what, target.reached(), target.wanted());
    }
    if !far.is_empty() {
        bail!(
            "{} ratios of CPU time are far from what they are to be\n\
             hint: look for what the last changes made dearer: `perf`, or `valgrind --tool=callgrind`, says where",
            far.len()
        );
    }
    println!(
        "bench: every OK was a row in every run, and no ratio of CPU time is far from its target"
    );
    Ok(())
}
