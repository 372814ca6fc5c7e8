//! One run: a fresh database, a server that is started for it, load, and what all of it took.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::contender::{Kind, Programs, Server, Storage};
use crate::corpus::{Corpus, Made, Sent};
use crate::cost::{self, TICK_US};
use crate::database::{Database, Databases};
use crate::direct::Direct;
use crate::figures::float;
use crate::paced::Pace;
use crate::wrk;

/// How long the same load runs before it is measured, in s.
const WARM_UP_S: u64 = 1;
/// The same for load at a fixed rate.
const PACED_WARM_UP: Duration = Duration::from_millis(500);
const PACED: Duration = Duration::from_secs(2);
const PACED_CONNECTIONS: u32 = 64;
/// How long rows may take to be there after their OKs: those that went to the spool.
const ROWS_WITHIN: Duration = Duration::from_secs(10);
/// How many of the chunks that are copied are not measured.
const CHUNKS_WARM_UP: usize = 10;
/// How many of the rows that are written to SQLite are not measured.
const DIRECT_WARM_UP: usize = 5000;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Load {
    /// So many connections, each of which has always a request under way.
    Full(u32),
    /// The same, where each tenth request repeats an earlier one.
    Repeating(u32),
    /// Bodies of one size: certain callbacks over so many connections.
    Of(Sent, u32),
    /// So many events a second.
    Paced(u32),
    /// As many events a second as the best peer takes at most, in the same round.
    BestPeers(f64),
    /// Rows alone, with no server before the database.
    Rows,
}

impl Load {
    /// Whether two loads are of one kind.
    pub(crate) fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::BestPeers(_), Self::BestPeers(_)) => true,
            _ => self == other,
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(1) => write!(out, "1 connection"),
            Self::Full(connections) => write!(out, "{connections} connections"),
            Self::Repeating(connections) => write!(out, "{connections}, 10 % twice"),
            Self::Of(Sent::Kits, connections) => write!(out, "{connections}, kits"),
            Self::Of(Sent::Calls, connections) => write!(out, "{connections}, calls"),
            Self::Of(Sent::RtcEngine, connections) => write!(out, "{connections}, RTC Engine"),
            Self::Of(Sent::Both, connections) => write!(out, "{connections}, both dialects"),
            Self::Paced(rate) => write!(out, "{rate} events/s"),
            Self::BestPeers(_) => write!(out, "best peer's rate"),
            Self::Rows => write!(out, "rows alone"),
        }
    }
}

/// What one run took.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) round: u32,
    pub(crate) kind: Kind,
    pub(crate) load: Load,
    /// How many were answered, and so are stored, in a second.
    pub(crate) events_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
    /// CPU time for each stored event, in us: of the server, and of all of PostgreSQL.
    pub(crate) server_us: f64,
    pub(crate) postgres_us: f64,
    /// For each stored event.
    pub(crate) wal_bytes: f64,
    pub(crate) stored_bytes: f64,
    pub(crate) memory_peak_bytes: u64,
    pub(crate) memory_idle_bytes: u64,
    /// From the start of the process until its first answer.
    pub(crate) first_answer_ms: f64,
    /// With those of the warm-up, as `rows`.
    pub(crate) oks: u64,
    pub(crate) rows: u64,
}

impl Row {
    fn new(round: u32, kind: Kind, load: Load) -> Self {
        Self {
            round,
            kind,
            load,
            events_per_s: 0.0,
            p50_ms: 0.0,
            p99_ms: 0.0,
            p999_ms: 0.0,
            max_ms: 0.0,
            server_us: 0.0,
            postgres_us: 0.0,
            wal_bytes: 0.0,
            stored_bytes: 0.0,
            memory_peak_bytes: 0,
            memory_idle_bytes: 0,
            first_answer_ms: 0.0,
            oks: 0,
            rows: 0,
        }
    }

    /// CPU time of server and PostgreSQL for each stored event, in us.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.server_us + self.postgres_us
    }
}

/// What runs are made with.
pub(crate) struct Lab {
    pub(crate) programs: Programs,
    pub(crate) databases: Databases,
    pub(crate) requests: Requests,
}

/// What is sent.
pub(crate) struct Requests {
    pub(crate) made: Made,
    /// For [`Load::Of`].
    pub(crate) of_one_size: Vec<(Sent, Corpus)>,
}

impl Requests {
    fn of(&self, load: Load) -> Result<&Corpus> {
        let Load::Of(sent, _) = load else {
            let repeats = matches!(load, Load::Repeating(_));
            return Ok(if repeats { &self.made.repeating } else { &self.made.plain });
        };
        let mut made = self.of_one_size.iter();
        let corpus = made.find(|(of, _)| *of == sent).map(|(_, corpus)| corpus);
        corpus.with_context(|| format!("no requests were made for {load}"))
    }
}

/// What was taken up to a moment.
struct Meter {
    wal_bytes: u64,
    server_ticks: u64,
    postgres_ticks: u64,
}

impl Lab {
    pub(crate) async fn run(
        &mut self,
        round: u32,
        kind: Kind,
        load: Load,
        seconds: u64,
    ) -> Result<Row> {
        let row = match load {
            Load::Full(connections) | Load::Repeating(connections) | Load::Of(_, connections) => {
                self.full(Row::new(round, kind, load), connections, seconds).await
            }
            Load::Paced(rate) => self.paced(Row::new(round, kind, load), f64::from(rate)).await,
            Load::BestPeers(rate) => self.paced(Row::new(round, kind, load), rate).await,
            Load::Rows if kind == Kind::SqliteDirect => {
                self.direct(Row::new(round, kind, load)).await
            }
            Load::Rows => self.copy(Row::new(round, kind, load)).await,
        };
        row.with_context(|| format!("round {round}, {}, {load}", kind.name()))
    }

    async fn full(&mut self, mut row: Row, connections: u32, seconds: u64) -> Result<Row> {
        let database = self.database(row.kind).await?;
        let corpus = self.requests.of(row.load)?;
        let server = Server::start(&self.programs, row.kind, database.as_ref(), corpus.request(0))?;
        let again = row.kind == Kind::HttpNothing;
        let size = size(&mut self.databases, database.as_ref()).await?;
        let load = wrk::Load { corpus, from: 1, again, connections, seconds: WARM_UP_S };
        let warm = load.run(server.port)?;
        let first = if again { 1 } else { 1 + usize::try_from(warm.sent)? };

        let before = meter(&mut self.databases, &server).await?;
        let answered = wrk::Load { from: first, seconds, ..load }.run(server.port)?;
        let after = meter(&mut self.databases, &server).await?;
        let errors = warm.errors + answered.errors;
        ensure!(errors == 0, "{errors} requests failed; the server wrote:\n{}", server.output());

        let mut stored = float(answered.oks);
        if let Some(database) = &database {
            row.oks = 1 + warm.oks + answered.oks;
            let ends = (first, first + usize::try_from(answered.sent)?);
            let distinct = [corpus.distinct(0..ends.0), corpus.distinct(0..ends.1)];
            // Those that were under way when the time was over may be rows, or not.
            let under_way = 1 + warm.sent + answered.sent - row.oks;
            row.rows = rows(database, distinct[1] - under_way, distinct[1]).await?;
            stored *= float(distinct[1] - distinct[0]) / float(answered.sent);
        }
        row.events_per_s = float(answered.oks) * 1e6 / float(answered.duration_us);
        let ms = |us: u64| float(us) / 1000.0;
        (row.p50_ms, row.p99_ms) = (ms(answered.p50_us), ms(answered.p99_us));
        (row.p999_ms, row.max_ms) = (ms(answered.p999_us), ms(answered.max_us));
        self.close(row, &server, database, size, (&before, &after), stored).await
    }

    async fn paced(&mut self, mut row: Row, rate: f64) -> Result<Row> {
        let database = self.database(row.kind).await?;
        let corpus = &self.requests.made.plain;
        let server = Server::start(&self.programs, row.kind, database.as_ref(), corpus.request(0))?;
        let size = size(&mut self.databases, database.as_ref()).await?;
        let connections = PACED_CONNECTIONS;
        let pace = Pace { corpus, from: 1, connections, rate, duration: PACED_WARM_UP };
        let warm = pace.run(server.port)?;
        let before = meter(&mut self.databases, &server).await?;
        let from = 1 + warm.latencies.len();
        let answered = Pace { from, duration: PACED, ..pace }.run(server.port)?;
        let after = meter(&mut self.databases, &server).await?;

        row.oks = 1 + warm.oks + answered.oks;
        if let Some(database) = &database {
            row.rows = rows(database, row.oks, row.oks).await?;
        }
        row.events_per_s = float(answered.oks) / answered.seconds;
        let all = &answered.latencies;
        let share = |of_thousand: usize| {
            let nth = (all.len() * of_thousand / 1000).min(all.len().saturating_sub(1));
            all.get(nth).map_or(0.0, |us| float(*us) / 1000.0)
        };
        (row.p50_ms, row.p99_ms) = (share(500), share(990));
        (row.p999_ms, row.max_ms) = (share(999), share(1000));
        let stored = float(answered.oks);
        self.close(row, &server, database, size, (&before, &after), stored).await
    }

    /// Fills in what is read of every run, and takes its database away.
    async fn close(
        &mut self,
        mut row: Row,
        server: &Server,
        database: Option<Database>,
        size_before: u64,
        (before, after): (&Meter, &Meter),
        stored: f64,
    ) -> Result<Row> {
        row.server_us = float(after.server_ticks - before.server_ticks) * TICK_US / stored;
        row.memory_peak_bytes = cost::memory(server.process(), "VmHWM");
        row.memory_idle_bytes = server.memory_idle;
        row.first_answer_ms = server.first_answer.as_secs_f64() * 1000.0;
        if let Some(database) = database {
            let grown = self.databases.size(&database).await?.saturating_sub(size_before);
            row.stored_bytes = float(grown) / float(row.rows);
            if matches!(database, Database::Postgres { .. }) {
                row.fill_in_postgres(before, after, stored);
            }
            self.databases.drop(database).await?;
        }
        Ok(row)
    }

    async fn copy(&mut self, mut row: Row) -> Result<Row> {
        let enough = self.requests.made.copies.len() > 2 * CHUNKS_WARM_UP;
        ensure!(enough, "too few requests to copy\nhint: set BENCH_REQUESTS to more");
        let database = self.databases.fresh_postgres().await?;
        let (warm_up, chunks) = self.requests.made.copies.split_at(CHUNKS_WARM_UP);
        let size_before = self.databases.size(&database).await?;
        self.databases.copy(&database, warm_up).await?;
        let before = meter_postgres(&mut self.databases).await?;
        let seconds = self.databases.copy(&database, chunks).await?;
        let after = meter_postgres(&mut self.databases).await?;
        let lines =
            |chunks: &[String]| chunks.iter().map(|chunk| chunk.lines().count()).sum::<usize>();
        row.oks = lines(&self.requests.made.copies) as u64;
        row.rows = rows(&database, row.oks, row.oks).await?;
        let stored = float(lines(chunks));
        row.events_per_s = stored / seconds;
        row.fill_in_postgres(&before, &after, stored);
        let grown = self.databases.size(&database).await?.saturating_sub(size_before);
        row.stored_bytes = float(grown) / float(row.rows);
        self.databases.drop(database).await?;
        Ok(row)
    }

    /// The same rows in SQLite, through its own interface.
    async fn direct(&mut self, mut row: Row) -> Result<Row> {
        let enough = self.requests.made.rows.len() > 2 * DIRECT_WARM_UP;
        ensure!(enough, "too few requests to insert\nhint: set BENCH_REQUESTS to more");
        let database = self.databases.fresh_sqlite()?;
        let (warm_up, rows) = self.requests.made.rows.split_at(DIRECT_WARM_UP);
        let size_before = self.databases.size(&database).await?;
        let mut direct = Direct::open(&database.url())?;
        direct.insert(warm_up)?;
        let (ticks, begun) = (cost::ticks(std::process::id()), Instant::now());
        direct.insert(rows)?;
        let seconds = begun.elapsed().as_secs_f64();
        let ticks = cost::ticks(std::process::id()) - ticks;
        row.oks = self.requests.made.rows.len() as u64;
        row.rows = self::rows(&database, row.oks, row.oks).await?;
        let stored = float(rows.len() as u64);
        row.events_per_s = stored / seconds;
        row.server_us = float(ticks) * TICK_US / stored;
        let grown = self.databases.size(&database).await?.saturating_sub(size_before);
        row.stored_bytes = float(grown) / float(row.rows);
        self.databases.drop(database).await?;
        Ok(row)
    }

    async fn database(&mut self, kind: Kind) -> Result<Option<Database>> {
        let databases = &mut self.databases;
        Ok(match kind.storage() {
            Storage::None => None,
            Storage::Sqlite if kind.is_base() => Some(Databases::empty_sqlite()?),
            Storage::Sqlite => Some(databases.fresh_sqlite()?),
            Storage::Postgres if kind.is_base() => Some(databases.empty_postgres().await?),
            Storage::Postgres => Some(databases.fresh_postgres().await?),
        })
    }
}

impl Row {
    fn fill_in_postgres(&mut self, before: &Meter, after: &Meter, stored: f64) {
        let ticks = after.postgres_ticks.saturating_sub(before.postgres_ticks);
        self.postgres_us = float(ticks) * TICK_US / stored;
        self.wal_bytes = float(after.wal_bytes - before.wal_bytes) / stored;
    }
}

async fn size(databases: &mut Databases, database: Option<&Database>) -> Result<u64> {
    match database {
        Some(database) => databases.size(database).await,
        None => Ok(0),
    }
}

async fn meter(databases: &mut Databases, server: &Server) -> Result<Meter> {
    let postgres = meter_postgres(databases).await?;
    Ok(Meter { server_ticks: cost::ticks(server.process()), ..postgres })
}

async fn meter_postgres(databases: &mut Databases) -> Result<Meter> {
    let wal_bytes = databases.wal_bytes().await?;
    Ok(Meter { wal_bytes, server_ticks: 0, postgres_ticks: cost::ticks(databases.postmaster) })
}

/// How many rows there are. Every OK must be one, and no row may be there of what was never sent.
async fn rows(database: &Database, least: u64, most: u64) -> Result<u64> {
    let until = Instant::now() + ROWS_WITHIN;
    loop {
        let rows = database.rows().await?;
        if rows >= least {
            ensure!(rows <= most, "there are {rows} rows of at most {most} events that were sent");
            return Ok(rows);
        }
        ensure!(
            Instant::now() < until,
            "there are {rows} rows of at least {least} events with an OK"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Tries how many processes of a peer are the fastest at 64 connections, and says so.
pub(crate) async fn choose_processes(lab: &mut Lab, kind: Kind) -> Result<()> {
    let mut rates = Vec::new();
    for processes in [1, 2] {
        lab.programs.set_processes(kind, processes);
        rates.push(lab.run(0, kind, Load::Full(64), 2).await?.events_per_s);
    }
    let best = if rates[1] > rates[0] { 2 } else { 1 };
    lab.programs.set_processes(kind, best);
    let name = kind.name();
    println!(
        "{name}: {:.0} events/s with 1 process, {:.0} with 2: {best} from here on",
        rates[0], rates[1]
    );
    Ok(())
}
