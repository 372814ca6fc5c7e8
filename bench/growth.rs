//! What bends the cost of an event: rows that are stored already, several servers on one PostgreSQL, and large bodies.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::contender::{Kind, Programs, Server};
use crate::corpus::{Corpus, Sent, Wanted};
use crate::cost::{self, TICK_US};
use crate::database::{Database, Databases};
use crate::figures::{float, whole};
use crate::growth_fill::Fill;
use crate::paced::Pace;
use crate::plan::{number, root, save};
use crate::report::{self, Table, rounded};
use crate::summary::Spread;
use crate::{Asked, chart, machine, wrk};

const CONNECTIONS: u32 = 64;
const KINDS: [Kind; 2] = [Kind::Ours, Kind::OursAlone];
/// How many events the server takes for what the database is filled with.
const SAMPLE: usize = 20_000;
const SAMPLE_RATE: f64 = 4000.0;

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bend {
    /// Stored rows, in millions.
    Rows(f64),
    /// Servers on one PostgreSQL.
    Servers(u32),
    /// The least size of a body, in KB.
    Body(u32),
}

impl Bend {
    fn text(self) -> String {
        match self {
            Self::Rows(millions) => format!("{millions} million stored rows"),
            Self::Servers(1) => "1 server".to_owned(),
            Self::Servers(servers) => format!("{servers} servers"),
            Self::Body(kb) => format!("bodies of {kb} KB"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Row {
    bend: Bend,
    kind: Kind,
    events_per_s: f64,
    p99_ms: f64,
    server_us: f64,
    postgres_us: f64,
    wal_bytes: f64,
    first_answer_ms: f64,
}

struct Growth<'a> {
    programs: &'a Programs,
    databases: &'a mut Databases,
    folder: &'a Path,
    rounds: usize,
    seconds: u64,
    rows: Vec<Row>,
}

pub(crate) async fn run(
    asked: &Asked,
    programs: &Programs,
    databases: &mut Databases,
) -> Result<()> {
    let millions = std::env::var("BENCH_ROWS").unwrap_or("0,1,10,50".to_owned());
    let millions: Vec<f64> = millions
        .split(',')
        .map(|text| text.trim().parse())
        .collect::<Result<_, _>>()
        .with_context(|| {
            format!("BENCH_ROWS is `{millions}`\nhint: make it millions of rows, such as 0,1,10")
        })?;
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let (rounds, seconds) = (number("BENCH_ROUNDS", 3)?.max(1), number("BENCH_SECONDS", 3)? as u64);
    let folder = folder.path();
    let mut growth = Growth { programs, databases, folder, rounds, seconds, rows: Vec::new() };
    growth.bodies().await?;
    growth.servers().await?;
    growth.stored_rows(millions).await?;
    let rows = growth.rows;

    let text = tables(&rows);
    println!("\n{text}");
    let json = json!({
        "machine": machine::describe(programs, &databases.version),
        "runs": rows.iter().map(json_row).collect::<Vec<_>>(),
    });
    let docs = |name: &str| asked.docs.then(|| root().join("docs/reports").join(name));
    for path in asked.json.clone().into_iter().chain(docs("performance-growth.json")) {
        save(&path, &format!("{json:#}\n"))?;
    }
    for path in asked.chart.clone().into_iter().chain(docs("performance-growth.svg")) {
        save(&path, &picture(&rows))?;
    }
    if let Some(path) = docs("performance.md") {
        let document =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let picture = "![CPU time for each stored event by stored rows](performance-growth.svg)";
        let date = json["machine"]["date"].as_str().unwrap_or_default().to_owned();
        let part = format!(
            "Measured on {date}; medians of {rounds} rounds, 64 connections.\n\n{picture}\n\n{text}"
        );
        save(&path, &report::replaced(&document, "growth", &part)?)?;
    }
    Ok(())
}

impl Growth<'_> {
    async fn bodies(&mut self) -> Result<()> {
        for (kb, events) in [(1, 120_000), (4, 80_000), (64, 15_000)] {
            let corpus = self.corpus(7, events, kb * 1024)?;
            for _ in 0..self.rounds {
                for kind in KINDS {
                    self.on_fresh(Bend::Body(u32::try_from(kb)?), kind, &corpus, 1).await?;
                }
            }
            std::fs::remove_file(&corpus.path)?;
        }
        Ok(())
    }

    async fn servers(&mut self) -> Result<()> {
        let corpus = self.corpus(8, number("BENCH_REQUESTS", 200_000)?, 0)?;
        for _ in 0..self.rounds {
            for servers in [1, 2, 4] {
                for kind in KINDS {
                    self.on_fresh(Bend::Servers(servers), kind, &corpus, servers).await?;
                }
            }
        }
        Ok(())
    }

    async fn stored_rows(&mut self, mut millions: Vec<f64>) -> Result<()> {
        millions.sort_by(f64::total_cmp);
        let database = self.databases.fresh_postgres().await?;
        let done = self.fill_and_measure(&database, &millions).await;
        self.databases.drop(database).await?;
        done
    }

    async fn fill_and_measure(&mut self, database: &Database, millions: &[f64]) -> Result<()> {
        let mut fill: Option<Fill> = None;
        for (seed, millions) in (10..).zip(millions) {
            // All that one server stores on this database is another event.
            let corpus = self.corpus(seed, number("BENCH_REQUESTS", 400_000)?, 0)?;
            if *millions == 0.0 {
                for _ in 0..self.rounds {
                    for kind in KINDS {
                        self.on_fresh(Bend::Rows(0.0), kind, &corpus, 1).await?;
                    }
                }
                continue;
            }
            if fill.is_none() {
                self.take_sample(database, &corpus)?;
                fill = Some(Fill::of(&database.url()).await?);
            }
            if let Some(fill) = &mut fill {
                fill.up_to(whole(millions * 1e6) as u64).await?;
            }
            let mut from = 1 + SAMPLE;
            for _ in 0..self.rounds {
                for kind in KINDS {
                    self.databases.checkpoint().await?;
                    let bend = Bend::Rows(*millions);
                    from = self.measure(bend, kind, database, &corpus, &[from]).await?;
                }
            }
            std::fs::remove_file(&corpus.path)?;
        }
        Ok(())
    }

    /// Has the server store the first events of a corpus.
    fn take_sample(&self, database: &Database, corpus: &Corpus) -> Result<()> {
        let server = Server::start(self.programs, Kind::Ours, Some(database), corpus.request(0))?;
        let duration = std::time::Duration::from_secs_f64(float(SAMPLE) / SAMPLE_RATE);
        let pace = Pace { corpus, from: 1, connections: CONNECTIONS, rate: SAMPLE_RATE, duration };
        let answered = pace.run(server.port)?;
        ensure!(
            answered.oks == SAMPLE as u64,
            "{} of {SAMPLE} events of the sample were stored",
            answered.oks
        );
        // What it has put off, it does within seconds.
        std::thread::sleep(std::time::Duration::from_secs(8));
        Ok(())
    }

    fn corpus(&self, seed: u64, events: usize, body_bytes: usize) -> Result<Corpus> {
        Corpus::make(&Wanted { sent: Sent::Kits, seed, events, body_bytes, folder: self.folder })
    }

    async fn on_fresh(
        &mut self,
        bend: Bend,
        kind: Kind,
        corpus: &Corpus,
        servers: u32,
    ) -> Result<()> {
        let database = self.databases.fresh_postgres().await?;
        let servers = servers as usize;
        let each = corpus.len() / servers;
        let starts: Vec<usize> = (0..servers).map(|number| number * each).collect();
        self.measure(bend, kind, &database, corpus, &starts).await?;
        self.databases.drop(database).await
    }

    /// Starts so many servers and has each store from a place of the corpus on; where the first of them came to.
    async fn measure(
        &mut self,
        bend: Bend,
        kind: Kind,
        database: &Database,
        corpus: &Corpus,
        starts: &[usize],
    ) -> Result<usize> {
        let before_all = database.rows_since(corpus.first_at).await?;
        let start = |from: &usize| {
            Server::start(self.programs, kind, Some(database), corpus.request(*from))
        };
        let servers = starts.iter().map(start).collect::<Result<Vec<_>>>()?;
        let connections = CONNECTIONS / u32::try_from(starts.len())?;
        let load = |from, seconds| wrk::Load { corpus, from, again: false, connections, seconds };
        let all = |from: &[usize], seconds| {
            let running = from
                .iter()
                .zip(&servers)
                .map(|(from, server)| load(*from, seconds).start(server.port));
            let running = running.collect::<Result<Vec<_>>>()?;
            running.into_iter().map(wrk::Running::finish).collect::<Result<Vec<_>>>()
        };
        let mut from: Vec<usize> = starts.iter().map(|from| from + 1).collect();
        let warm = all(&from, 1)?;
        for (from, warm) in from.iter_mut().zip(&warm) {
            *from += usize::try_from(warm.sent)?;
        }
        let ticks = || servers.iter().map(|server| cost::ticks(server.process())).sum::<u64>();
        let before =
            (self.databases.wal_bytes().await?, ticks(), cost::ticks(self.databases.postmaster));
        let answered = all(&from, self.seconds)?;
        let after =
            (self.databases.wal_bytes().await?, ticks(), cost::ticks(self.databases.postmaster));

        let sum = |of: fn(&wrk::Answered) -> u64, part: &[wrk::Answered]| {
            part.iter().map(of).sum::<u64>()
        };
        let first = starts.len() as u64;
        let oks = first + sum(|it| it.oks, &warm) + sum(|it| it.oks, &answered);
        let sent = first + sum(|it| it.sent, &warm) + sum(|it| it.sent, &answered);
        let errors = sum(|it| it.errors, &warm) + sum(|it| it.errors, &answered);
        ensure!(errors == 0, "{errors} requests failed: {}", bend.text());
        let rows = database.rows_since(corpus.first_at).await? - before_all;
        ensure!(
            (oks..=sent).contains(&rows),
            "{rows} rows of {oks} OKs and {sent} requests: {}",
            bend.text()
        );

        let stored = float(sum(|it| it.oks, &answered));
        let longest = answered.iter().map(|it| it.duration_us).max().unwrap_or(1);
        let worst = answered.iter().map(|it| it.p99_us).max().unwrap_or(0);
        let row = Row {
            bend,
            kind,
            events_per_s: stored * 1e6 / float(longest),
            p99_ms: float(worst) / 1000.0,
            server_us: float(after.1 - before.1) * TICK_US / stored,
            postgres_us: float(after.2.saturating_sub(before.2)) * TICK_US / stored,
            wal_bytes: float(after.0 - before.0) / stored,
            first_answer_ms: servers[0].first_answer.as_secs_f64() * 1000.0,
        };
        println!(
            "{:<26} {:<22} {:>7.0} events/s, p99 {:>6.1} ms, CPU {:>6.1} + {:>6.1} us, WAL {:>6.0} B, start {:>4.0} ms",
            bend.text(),
            kind.name(),
            row.events_per_s,
            row.p99_ms,
            row.server_us,
            row.postgres_us,
            row.wal_bytes,
            row.first_answer_ms
        );
        self.rows.push(row);
        Ok(from[0] + usize::try_from(answered[0].sent)?)
    }
}

/// The bends that were measured, in their order, without repeats.
fn bends(rows: &[Row]) -> Vec<Bend> {
    let mut bends: Vec<Bend> = Vec::new();
    for row in rows {
        if !bends.contains(&row.bend) {
            bends.push(row.bend);
        }
    }
    bends
}

fn median(rows: &[Row], bend: Bend, kind: Kind, figure: impl Fn(&Row) -> f64) -> f64 {
    let rows = rows.iter().filter(|row| row.bend == bend && row.kind == kind);
    Spread::of(rows.map(figure)).map_or(0.0, |spread| spread.median)
}

fn tables(rows: &[Row]) -> String {
    let mut table = Table::new(&[
        "",
        "read models",
        "events/s",
        "p99 ms",
        "CPU µs: server",
        "PostgreSQL",
        "both",
        "WAL bytes",
        "first answer ms",
    ]);
    for bend in bends(rows) {
        for kind in KINDS {
            let figure = |figure: fn(&Row) -> f64, after: usize| {
                format!("{:.after$}", median(rows, bend, kind, figure))
            };
            table.row(vec![
                bend.text(),
                if kind == Kind::Ours { "with" } else { "without" }.to_owned(),
                figure(|row| row.events_per_s, 0),
                figure(|row| row.p99_ms, 1),
                figure(|row| row.server_us, 1),
                figure(|row| row.postgres_us, 1),
                figure(|row| row.server_us + row.postgres_us, 1),
                figure(|row| row.wal_bytes, 0),
                figure(|row| row.first_answer_ms, 0),
            ]);
        }
    }
    table.text()
}

fn json_row(row: &Row) -> Value {
    json!({
        "what": row.bend.text(),
        "server": row.kind.key(),
        "events_per_s": row.events_per_s.round(),
        "p99_ms": row.p99_ms,
        "server_cpu_us": rounded(row.server_us),
        "postgres_cpu_us": rounded(row.postgres_us),
        "wal_bytes": row.wal_bytes.round(),
        "first_answer_ms": rounded(row.first_answer_ms),
    })
}

/// CPU time for each stored event against stored rows.
fn picture(rows: &[Row]) -> String {
    let mut lines = Vec::new();
    for (class, kind, name) in
        [("one", Kind::Ours, "with read models"), ("two", Kind::OursAlone, "without read models")]
    {
        let points = bends(rows).into_iter().filter_map(|bend| match bend {
            Bend::Rows(millions) => {
                Some((millions, median(rows, bend, kind, |row| row.server_us + row.postgres_us)))
            }
            _ => None,
        });
        lines.push(chart::Line { class, name, points: points.collect() });
    }
    chart::lines("CPU time for each stored event, by stored rows", "million rows", &lines)
}
