//! What is shown and written: a line for each run, tables of the medians, and JSON with all of it.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::contender::Kind;
use crate::figures::float;
use crate::measure::{Load, Row};
use crate::summary::Runs;
use crate::targets::Target;

const KINDS: [Kind; 14] = [
    Kind::Ours,
    Kind::OursAlone,
    Kind::OursSqlite,
    Kind::OursSqliteAlone,
    Kind::Base,
    Kind::BaseAlone,
    Kind::BaseSqlite,
    Kind::BaseSqliteAlone,
    Kind::Axum,
    Kind::Fastify,
    Kind::FastApi,
    Kind::HttpNothing,
    Kind::Copy,
    Kind::SqliteDirect,
];
const CONNECTIONS: [u32; 5] = [1, 16, 64, 128, 256];
const MIB: f64 = 1024.0 * 1024.0;

pub(crate) struct Report {
    pub(crate) machine: Map<String, Value>,
    pub(crate) runs: Runs,
    pub(crate) targets: Vec<Target>,
}

pub(crate) fn line_head() -> String {
    format!(
        "{:>5} {:<22} {:<18} {:>8} {:>8} {:>8} {:>8} {:>15} {:>7} {:>7} {:>6} {:>5} {:>6}",
        "round",
        "server",
        "load",
        "events/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "CPU us/event",
        "WAL B",
        "disk B",
        "MiB",
        "start",
        "rows"
    )
}

pub(crate) fn line(row: &Row) -> String {
    format!(
        "{:>5} {:<22} {:<18} {:>8.0} {:>8.2} {:>8.2} {:>8.2} {:>15} {:>7.0} {:>7.0} {:>6.1} {:>5.0} {:>6}",
        row.round,
        row.kind.name(),
        row.load.to_string(),
        row.events_per_s,
        row.p50_ms,
        row.p99_ms,
        row.p999_ms,
        format!("{:.1} + {:.1}", row.server_us, row.postgres_us),
        row.wal_bytes,
        row.stored_bytes,
        float(row.memory_peak_bytes) / MIB,
        row.first_answer_ms,
        row.rows
    )
}

/// A table in Markdown that reads well as it stands, too.
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|text| (*text).to_owned()).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.head]).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &[String]| {
            let mut text = format!("| {:<width$} |", cells[0], width = widths[0]);
            for (cell, width) in cells.iter().zip(&widths).skip(1) {
                let _ = write!(text, " {cell:>width$} |");
            }
            text + "\n"
        };
        let mut text = line(&self.head);
        let _ = write!(text, "|{}|", "-".repeat(widths[0] + 2));
        for width in &widths[1..] {
            let _ = write!(text, "{}:|", "-".repeat(width + 1));
        }
        text.push('\n');
        self.rows.iter().for_each(|row| text += &line(row));
        text
    }
}

/// All that is shown at the end.
pub(crate) fn tables(report: &Report) -> String {
    let runs = &report.runs;
    let mut text = String::new();
    let mut part = |title: &str, table: Table| {
        if !table.rows.is_empty() {
            let _ = write!(text, "### {title}\n\n{}\n", table.text());
        }
    };
    part("64 connections", at(64, runs));
    part("128 connections", at(128, runs));
    part(
        "CPU for each stored event, server + PostgreSQL, in µs",
        by_connections(runs, Row::cpu_us, 1),
    );
    part("Events a second", by_connections(runs, |row| row.events_per_s, 0));
    part("p99 under full load, in ms", by_connections(runs, |row| row.p99_ms, 1));
    part("At a fixed rate, 64 connections", paced(runs));
    part("Each tenth event sent twice, 64 connections", repeating(runs));
    part("Start and memory", memory(runs));
    part("Times the base", beside_base(runs));
    part("Targets", targets(&report.targets));
    text
}

/// The part of `docs/reports/performance.md` that is written by the bench.
pub(crate) fn document(report: &Report) -> String {
    let mut text = "### Measured on\n\n".to_owned();
    for (name, value) in &report.machine {
        let _ = writeln!(text, "- {name}: {}", value.as_str().unwrap_or_default());
    }
    let rounds = report.runs.rows.iter().map(|row| row.round).max().unwrap_or(0);
    let _ = write!(
        text,
        "\nFigures are medians of {rounds} rounds; those with 1, 16 and 256 connections are of the first one.\n\n{}",
        tables(report)
    );
    text
}

/// A document with another text between two markers.
pub(crate) fn replaced(document: &str, name: &str, text: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->"));
    let parts =
        document.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
    let (head, tail) = parts.with_context(|| {
        format!(
            "the document has no `{begin}` and `{end}`\nhint: put them where the figures belong"
        )
    })?;
    Ok(format!("{head}{begin}\n\n{}\n\n{end}{tail}", text.trim()))
}

fn median(runs: &Runs, kind: Kind, load: Load, figure: impl Fn(&Row) -> f64) -> Option<f64> {
    runs.spread(kind, load, figure).map(|spread| spread.median)
}

fn digits(number: Option<f64>, after_point: usize) -> String {
    number.map_or_else(|| "–".to_owned(), |number| format!("{number:.after_point$}"))
}

fn at(connections: u32, runs: &Runs) -> Table {
    let full = Load::Full(connections);
    let mut table = Table::new(&[
        "",
        "events/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "CPU µs: server",
        "PostgreSQL",
        "both",
        "WAL bytes",
        "stored bytes",
    ]);
    for kind in KINDS {
        let load = if kind.is_rows_alone() { Load::Rows } else { full };
        // They stand beside others, and not alone.
        let is_alone = !runs.rows.iter().any(|row| row.load.is(full));
        if is_alone || runs.of(kind, load).next().is_none() {
            continue;
        }
        let figure = |figure: fn(&Row) -> f64, after| {
            digits(median(runs, kind, load, figure).filter(|it| *it > 0.0), after)
        };
        table.row(vec![
            kind.name().to_owned(),
            figure(|row| row.events_per_s, 0),
            figure(|row| row.p50_ms, 1),
            figure(|row| row.p99_ms, 1),
            figure(|row| row.p999_ms, 1),
            figure(|row| row.server_us, 1),
            figure(|row| row.postgres_us, 1),
            figure(Row::cpu_us, 1),
            figure(|row| row.wal_bytes, 0),
            figure(|row| row.stored_bytes, 0),
        ]);
    }
    table
}

fn by_connections(runs: &Runs, figure: fn(&Row) -> f64, after_point: usize) -> Table {
    let mut table = Table::new(&["connections", "1", "16", "64", "128", "256"]);
    let is_there = |connections: u32| runs.of(Kind::Ours, Load::Full(connections)).next().is_some();
    if !CONNECTIONS.into_iter().all(is_there) {
        return table;
    }
    for kind in KINDS {
        let of = |connections| median(runs, kind, Load::Full(connections), figure);
        if of(64).is_some() {
            let cells = CONNECTIONS.map(|connections| digits(of(connections), after_point));
            table.row([vec![kind.name().to_owned()], cells.to_vec()].concat());
        }
    }
    table
}

fn paced(runs: &Runs) -> Table {
    let mut table = Table::new(&[
        "",
        "events/s",
        "kept up with",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "CPU µs, both",
    ]);
    for load in [Load::Paced(1000), Load::Paced(5000), Load::BestPeers(0.0)] {
        for kind in KINDS {
            let Some(rate) = median(runs, kind, load, |row| row.events_per_s) else { continue };
            let figure =
                |figure: fn(&Row) -> f64, after| digits(median(runs, kind, load, figure), after);
            table.row(vec![
                kind.name().to_owned(),
                load.to_string().trim_end_matches(" events/s").to_owned(),
                format!("{rate:.0}"),
                figure(|row| row.p50_ms, 2),
                figure(|row| row.p99_ms, 2),
                figure(|row| row.p999_ms, 2),
                figure(Row::cpu_us, 1),
            ]);
        }
    }
    table
}

fn repeating(runs: &Runs) -> Table {
    let mut table = Table::new(&["", "answers/s", "p99 ms", "CPU µs for each stored event"]);
    let load = Load::Repeating(64);
    for kind in KINDS {
        let Some(rate) = median(runs, kind, load, |row| row.events_per_s) else { continue };
        let p99 = digits(median(runs, kind, load, |row| row.p99_ms), 1);
        let cpu = digits(median(runs, kind, load, Row::cpu_us), 1);
        table.row(vec![kind.name().to_owned(), format!("{rate:.0}"), p99, cpu]);
    }
    table
}

fn memory(runs: &Runs) -> Table {
    let mut table = Table::new(&["", "first answer ms", "idle MiB", "most MiB"]);
    for kind in KINDS.into_iter().filter(|kind| !kind.is_rows_alone()) {
        let spread = |figure: fn(&Row) -> f64| {
            crate::summary::Spread::of(runs.rows.iter().filter(|row| row.kind == kind).map(figure))
        };
        let Some(first) = spread(|row| row.first_answer_ms) else { continue };
        let idle = spread(|row| float(row.memory_idle_bytes) / MIB).map(|it| it.median);
        let most = spread(|row| float(row.memory_peak_bytes) / MIB).map(|it| it.most);
        let name = kind.name().to_owned();
        table.row(vec![name, format!("{:.0}", first.median), digits(idle, 1), digits(most, 1)]);
    }
    table
}

/// What each figure is beside that of the base, in the same round.
fn beside_base(runs: &Runs) -> Table {
    let mut table = Table::new(&["", "CPU: server", "PostgreSQL", "both", "events/s", "p99"]);
    let figures: [fn(&Row) -> f64; 5] = [
        |row| row.server_us,
        |row| row.postgres_us,
        Row::cpu_us,
        |row| row.events_per_s,
        |row| row.p99_ms,
    ];
    for load in [Load::Full(64), Load::Full(128), Load::Paced(1000)] {
        for (ours, base) in Kind::OURS.into_iter().zip(Kind::BASE) {
            let ratio = |figure: fn(&Row) -> f64| {
                runs.of_rounds(|round| {
                    let base = figure(runs.row(round, base, load)?);
                    Some(figure(runs.row(round, ours, load)?) / base)
                })
            };
            if ratio(Row::cpu_us).is_none() {
                continue;
            }
            let cells = figures.map(|figure| {
                ratio(figure).map_or_else(
                    || "–".to_owned(),
                    |it| format!("{:.2} ({:.2} to {:.2})", it.median, it.least, it.most),
                )
            });
            let name = format!("{}, {load}", ours.name());
            table.row([vec![name], cells.to_vec()].concat());
        }
    }
    table
}

pub(crate) fn targets(targets: &[Target]) -> Table {
    let mut table = Table::new(&["", "wanted", "measured: median (least to most)", ""]);
    for target in targets {
        let met = if target.is_met() { "met" } else { "missed" };
        table.row(vec![target.what.clone(), target.wanted(), target.reached(), met.to_owned()]);
    }
    table
}

/// Every run, what they say together, and on what they ran.
pub(crate) fn json(report: &Report) -> Value {
    let targets = report.targets.iter().map(|target| {
        json!({
            "what": target.what,
            "wanted": target.wanted(),
            "median": rounded(target.measured.median),
            "least": rounded(target.measured.least),
            "most": rounded(target.measured.most),
            "met": target.is_met(),
        })
    });
    json!({
        "machine": report.machine,
        "targets": targets.collect::<Vec<_>>(),
        "runs": report.runs.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn row(row: &Row) -> Value {
    json!({
        "round": row.round,
        "server": row.kind.key(),
        "load": row.load.to_string(),
        "events_per_s": row.events_per_s.round(),
        "p50_ms": row.p50_ms,
        "p99_ms": row.p99_ms,
        "p999_ms": row.p999_ms,
        "max_ms": row.max_ms,
        "server_cpu_us": rounded(row.server_us),
        "postgres_cpu_us": rounded(row.postgres_us),
        "wal_bytes": row.wal_bytes.round(),
        "stored_bytes": row.stored_bytes.round(),
        "memory_peak_bytes": row.memory_peak_bytes,
        "memory_idle_bytes": row.memory_idle_bytes,
        "first_answer_ms": rounded(row.first_answer_ms),
        "oks": row.oks,
        "rows": row.rows,
    })
}

pub(crate) fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
