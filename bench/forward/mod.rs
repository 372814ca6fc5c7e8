//! What forwarding costs: the ingest beside destinations, how fast and how soon events are delivered, and memory.

mod nats;
mod receiver;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use crate::contender::{Kind, Programs, Server, Storage};
use crate::corpus::{Corpus, Sent, Wanted};
use crate::cost::{self, TICK_US};
use crate::database::{Database, Databases};
use crate::figures::float;
use crate::paced::Pace;
use crate::plan::{number, save};
use crate::report::{self, rounded};
use crate::summary::Spread;
use crate::targets::{Bound, Target, plain};
use crate::{Asked, machine, wrk};
use nats::NatsCluster;
use receiver::{Receiver, table};

const CONNECTIONS: u32 = 64;
/// How many requests a destination of full speed has under way.
const IN_FLIGHT: u32 = 64;
/// The same for a destination of `JetStream`.
const NATS_IN_FLIGHT: u32 = 256;
/// And by default.
const DEFAULT_IN_FLIGHT: u32 = 8;
/// What a good destination takes to answer.
const ANSWER: Duration = Duration::from_millis(1);
/// The rate at which delays are measured, in events a second.
const RATE: f64 = 1000.0;
/// How many deliveries after an outage are not measured, but at most a quarter of them: it begins slowly.
const SLOW_START: u64 = 2000;
/// How long something may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// How many destinations are behind the end of the feed, in PostgreSQL.
const BEHIND: &str = "select count(*) from destinations, feed_head
    where destinations.position / 512 < feed_head.position";
const MIB: f64 = 1024.0 * 1024.0;

/// What there is beside the ingest.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Beside {
    /// The earlier commit, without destination.
    Base,
    Nothing,
    /// A destination that nobody listens at: all that the ingest pays.
    Dead,
    /// One that takes what it gets.
    Good,
}

impl Beside {
    fn text(self) -> &'static str {
        match self {
            Self::Base => "base, no destination",
            Self::Nothing => "no destination",
            Self::Dead => "a dead destination",
            Self::Good => "a destination",
        }
    }
}

/// What the ingest took.
#[derive(Debug, Clone, Copy)]
struct Ingest {
    round: u32,
    kind: Kind,
    beside: Beside,
    events_per_s: f64,
    p99_ms: f64,
    cpu_us: f64,
    wal_bytes: f64,
    /// Delivered in a second.
    delivered_per_s: f64,
}

struct Bench<'a> {
    programs: &'a Programs,
    databases: &'a mut Databases,
    corpus: Corpus,
    is_short: bool,
    rounds: u32,
    seconds: u64,
    rows: Vec<Ingest>,
    targets: Vec<Target>,
}

pub(crate) async fn run(
    asked: &Asked,
    programs: &Programs,
    databases: &mut Databases,
) -> Result<()> {
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let is_short = asked.is_short;
    let events = number("BENCH_REQUESTS", if is_short { 60_000 } else { 200_000 })?;
    println!("making {events} requests");
    let rounds = number("BENCH_ROUNDS", if is_short { 1 } else { 3 })?.max(1);
    let mut bench = Bench {
        programs,
        databases,
        corpus: corpus(folder.path(), events)?,
        is_short,
        rounds: u32::try_from(rounds)?,
        seconds: number("BENCH_SECONDS", if is_short { 1 } else { 3 })? as u64,
        rows: Vec::new(),
        targets: Vec::new(),
    };
    for kind in [Kind::Ours, Kind::OursSqlite] {
        bench.ingest(kind).await?;
        bench.throughput(kind).await?;
        bench.delays(kind).await?;
    }
    bench.nats_throughput().await?;
    bench.memory().await?;
    let (rows, targets) = (bench.rows, bench.targets);
    println!("\n{}", report::targets(&targets).text());
    if let Some(path) = &asked.json {
        let json = json!({
            "machine": machine::describe(programs, &databases.version),
            "runs": rows.iter().map(json_row).collect::<Vec<_>>(),
            "targets": targets.iter().map(json_target).collect::<Vec<_>>(),
        });
        save(path, &format!("{json:#}\n"))?;
    }
    let missed = targets.iter().filter(|target| !target.is_met()).count();
    println!("{} of {} targets are met", targets.len() - missed, targets.len());
    Ok(())
}

fn corpus(folder: &Path, events: usize) -> Result<Corpus> {
    Corpus::make(&Wanted { sent: Sent::Kits, seed: 7, events, body_bytes: 0, folder })
}

impl Bench<'_> {
    /// The ingest at full load beside this and that.
    async fn ingest(&mut self, kind: Kind) -> Result<()> {
        let base = if kind == Kind::Ours { Kind::Base } else { Kind::BaseSqlite };
        for round in 1..=self.rounds {
            let mut all = vec![Beside::Nothing, Beside::Dead, Beside::Good];
            if self.programs.has(base) {
                all.insert(0, Beside::Base);
            }
            if round.is_multiple_of(2) {
                all.reverse();
            }
            for beside in all {
                let row = self.full(round, kind, beside).await.with_context(|| {
                    format!("round {round}, {}, {}", kind.name(), beside.text())
                })?;
                println!(
                    "{round:>5} {:<16} {:<22} {:>7.0} events/s, p99 {:>6.1} ms, CPU {:>6.1} us, WAL {:>6.0} B, {:>6.0} delivered/s",
                    kind.name(),
                    beside.text(),
                    row.events_per_s,
                    row.p99_ms,
                    row.cpu_us,
                    row.wal_bytes,
                    row.delivered_per_s
                );
                self.rows.push(row);
            }
        }
        self.compare(kind);
        Ok(())
    }

    fn compare(&mut self, kind: Kind) {
        let is_sqlite = kind.storage() == Storage::Sqlite;
        let cpu: fn(&Ingest) -> f64 = |row| row.cpu_us;
        let wal: fn(&Ingest) -> f64 = |row| row.wal_bytes;
        let p99: fn(&Ingest) -> f64 = |row| row.p99_ms;
        let most = if is_sqlite { 1.05 } else { 1.03 };
        for (what, (one, other), figure, bound) in [
            ("CPU", (Beside::Nothing, Beside::Base), cpu, most),
            ("WAL", (Beside::Nothing, Beside::Base), wal, 1.03),
            ("CPU", (Beside::Dead, Beside::Nothing), cpu, 1.05),
            ("p99", (Beside::Good, Beside::Nothing), p99, 1.2),
        ] {
            let find = |round, beside| {
                let is = |row: &&Ingest| (row.round, row.kind, row.beside) == (round, kind, beside);
                self.rows.iter().find(is).map(figure)
            };
            let ratios =
                (1..=self.rounds).filter_map(|round| Some(find(round, one)? / find(round, other)?));
            let what = format!("{}, {what}: {} to {}", kind.key(), one.text(), other.text());
            let target = Spread::of(ratios).map(|it| plain(what, Bound::AtMost(bound), it, ""));
            self.targets.extend(target);
        }
    }

    async fn full(&mut self, round: u32, kind: Kind, beside: Beside) -> Result<Ingest> {
        let receiver = Receiver::start(ANSWER)?;
        let settings = match beside {
            Beside::Base | Beside::Nothing => String::new(),
            // Nobody listens at port 1.
            Beside::Dead => table("dead", "http://127.0.0.1:1/", IN_FLIGHT),
            Beside::Good => receiver.table("good", IN_FLIGHT),
        };
        let started = match (beside, kind) {
            (Beside::Base, Kind::OursSqlite) => Kind::BaseSqlite,
            (Beside::Base, _) => Kind::Base,
            _ => kind,
        };
        let (database, server) = self.start(started, &settings).await?;
        let corpus = &self.corpus;
        let load =
            wrk::Load { corpus, from: 1, again: false, connections: CONNECTIONS, seconds: 1 };
        let warm = load.run(server.port)?;
        let from = 1 + usize::try_from(warm.sent)?;
        let postmaster = self.databases.postmaster;
        let ticks = || cost::ticks(server.process()) + cost::ticks(postmaster);
        let (wal, before, taken) = (self.databases.wal_bytes().await?, ticks(), receiver.taken());
        let answered = wrk::Load { from, seconds: self.seconds, ..load }.run(server.port)?;
        let (after, delivered) = (ticks(), receiver.taken() - taken);
        let wal = self.databases.wal_bytes().await? - wal;
        ensure!(warm.errors + answered.errors == 0, "requests failed:\n{}", server.output());
        drop(server);
        self.databases.drop(database).await?;
        let (stored, seconds) = (float(answered.oks), float(answered.duration_us) / 1e6);
        Ok(Ingest {
            round,
            kind,
            beside,
            events_per_s: stored / seconds,
            p99_ms: float(answered.p99_us) / 1000.0,
            cpu_us: float(after.saturating_sub(before)) * TICK_US / stored,
            wal_bytes: float(wal) / stored,
            delivered_per_s: float(delivered) / seconds,
        })
    }

    /// How fast a backlog is delivered.
    async fn throughput(&mut self, kind: Kind) -> Result<()> {
        let receiver = Receiver::start(ANSWER)?;
        receiver.set_away(true);
        let (database, server) = self.start(kind, &receiver.table("good", IN_FLIGHT)).await?;
        let seconds = if self.is_short { 1 } else { 4 };
        let corpus = &self.corpus;
        let load = wrk::Load { corpus, from: 1, again: false, connections: CONNECTIONS, seconds };
        let stored = load.run(server.port)?.oks;
        ensure!(stored > 0, "no event was stored");
        let slow_start = SLOW_START.min(stored / 4);
        receiver.set_away(false);
        wait("the slow start is over", || receiver.taken() >= slow_start)?;
        let (begun, first, before) =
            (Instant::now(), receiver.taken(), cost::ticks(server.process()));
        wait("all are delivered", || receiver.taken() >= stored)?;
        let (seconds, delivered) = (begun.elapsed().as_secs_f64(), float(receiver.taken() - first));
        let cpu = float(cost::ticks(server.process()) - before) * TICK_US / delivered;
        let rate = delivered / seconds;
        let name = kind.key();
        println!(
            "{name}: {rate:.0} events/s are delivered of a backlog, {cpu:.1} us of the server each"
        );
        let what = format!("{name}, delivered a second, {IN_FLIGHT} in flight, answers in 1 ms");
        let measured = Spread { median: rate, least: rate, most: rate };
        self.targets.push(plain(what, Bound::AtLeast(5000.0), measured, ""));
        drop(server);
        self.databases.drop(database).await
    }

    /// How fast a backlog is taken by a stream of three nats-servers, on PostgreSQL.
    async fn nats_throughput(&mut self) -> Result<()> {
        let Some(cluster) = NatsCluster::start()? else {
            println!("there is no nats-server: JetStream is skipped");
            return Ok(());
        };
        let (database, server) =
            self.start(Kind::Ours, &cluster.table("stream", NATS_IN_FLIGHT)).await?;
        let url = database.url();
        self.forward("pause", &url)?;
        let seconds = if self.is_short { 1 } else { 4 };
        let corpus = &self.corpus;
        let load = wrk::Load { corpus, from: 1, again: false, connections: CONNECTIONS, seconds };
        let stored = load.run(server.port)?.oks;
        let mut connection = PgConnection::connect(&url).await?;
        let before = cost::ticks(server.process());
        self.forward("resume", &url)?;
        // The server hears of it a little later.
        let at_start = "select count(*) from destinations where position < 512 * 2";
        wait_for_none(&mut connection, at_start).await?;
        let begun = Instant::now();
        let left = "select coalesce(sum(cardinality(ids)), 0)::bigint from feed
             where position > (select position / 512 from destinations)";
        let left: i64 = sqlx::query_scalar(left).fetch_one(&mut connection).await?;
        wait_for_none(&mut connection, BEHIND).await?;
        let seconds = begun.elapsed().as_secs_f64();
        connection.close().await?;
        let rate = float(u64::try_from(left)?) / seconds;
        let cpu = float(cost::ticks(server.process()) - before) * TICK_US / float(stored);
        println!(
            "JetStream, three servers: {rate:.0} events/s of a backlog, {cpu:.1} us of the server each"
        );
        let what =
            format!("JetStream of three servers, taken a second, {NATS_IN_FLIGHT} in flight");
        let measured = Spread { median: rate, least: rate, most: rate };
        self.targets.push(plain(what, Bound::AtLeast(4000.0), measured, ""));
        drop(server);
        self.databases.drop(database).await
    }

    /// Runs `forward pause` or `forward resume` for the destination of that.
    fn forward(&self, what: &str, url: &str) -> Result<()> {
        let mut command = Command::new(&self.programs.ours);
        let output = command.args(["forward", what, "stream", "--store", url]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// How soon events are delivered: alone, and beside destinations that are dead and slow.
    async fn delays(&mut self, kind: Kind) -> Result<()> {
        let mut p99 = Vec::new();
        for is_alone in [true, false] {
            let (good, slow) = (Receiver::start(ANSWER)?, Receiver::start(Duration::from_secs(2))?);
            let mut settings = good.table("good", IN_FLIGHT);
            if !is_alone {
                settings += &table("dead", "http://127.0.0.1:1/", IN_FLIGHT);
                settings += &slow.table("slow", IN_FLIGHT);
            }
            let (database, server) = self.start(kind, &settings).await?;
            let (corpus, connections, rate) = (&self.corpus, CONNECTIONS, RATE);
            let duration = Duration::from_secs(1);
            let warm = Pace { corpus, from: 1, connections, rate, duration };
            let mut oks = warm.run(server.port)?.oks;
            wait("the first are delivered", || good.taken() >= oks)?;
            good.forget();
            let duration = Duration::from_secs(if self.is_short { 2 } else { 10 });
            let from = 1 + usize::try_from(oks)?;
            oks += Pace { from, duration, ..warm }.run(server.port)?.oks;
            wait("all are delivered", || good.taken() >= oks)?;
            let ms = [good.delay_ms(50), good.delay_ms(99)];
            let beside = if is_alone { "alone" } else { "beside a dead and a slow one" };
            println!("{}: delay {:.0} ms, p99 {:.0} ms, {beside}", kind.key(), ms[0], ms[1]);
            p99.push(ms[1]);
            drop(server);
            self.databases.drop(database).await?;
        }
        let one = |ms: f64| Spread { median: ms, least: ms, most: ms };
        let what = format!("{}, stored to delivered, p99 at {RATE} events/s", kind.key());
        self.targets.push(plain(what, Bound::AtMost(150.0), one(p99[0]), " ms"));
        let what = format!("{}, the same beside a dead and a slow destination, times", kind.key());
        self.targets.push(plain(what, Bound::AtMost(2.0), one(p99[1] / p99[0].max(1.0)), ""));
        Ok(())
    }

    /// What sixteen destinations with a long backlog take up, beside the same ingest without a destination.
    async fn memory(&mut self) -> Result<()> {
        for in_flight in [DEFAULT_IN_FLIGHT, IN_FLIGHT] {
            self.memory_of(in_flight).await?;
        }
        Ok(())
    }

    async fn memory_of(&mut self, in_flight: u32) -> Result<()> {
        let duration = Duration::from_secs(if self.is_short { 1 } else { 5 });
        let (database, server) = self.start(Kind::Ours, "").await?;
        self.pace(duration, server.port)?;
        let before = cost::memory(server.process(), "VmHWM");
        drop(server);
        self.databases.drop(database).await?;
        let receiver = Receiver::start(ANSWER)?;
        let settings: String =
            (0..16).map(|n| receiver.table(&format!("d{n}"), in_flight)).collect();
        let (database, server) = self.start(Kind::Ours, &settings).await?;
        receiver.set_away(true);
        self.pace(duration, server.port)?;
        // Behind them events that nobody has: as long a list, without their bodies.
        let gone: u32 = if self.is_short { 100_000 } else { 10_000_000 };
        let rows = gone / 500;
        let insert = format!(
            "begin; select from feed_head for update;
             insert into feed (position, ids, numbered_at)
                 select position + row, array(select ids[1] from feed limit 1) || array_fill(gen_random_uuid(), array[499]), now()
                 from feed_head, generate_series(1, {rows}) as row;
             update feed_head set position = position + {rows}; commit"
        );
        let mut connection = PgConnection::connect(&database.url()).await?;
        connection.execute(sqlx::raw_sql(AssertSqlSafe(insert))).await?;
        receiver.set_away(false);
        let patience = if self.is_short { PATIENCE / 8 } else { PATIENCE };
        let (begun, mut most) = (Instant::now(), 0);
        loop {
            most = most.max(cost::memory(server.process(), "VmHWM"));
            let left: i64 = sqlx::query_scalar(BEHIND).fetch_one(&mut connection).await?;
            // Those that are not through are as large as those that are.
            if left == 0 || begun.elapsed() > patience {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        connection.close().await?;
        let more = float(most.saturating_sub(before)) / MIB;
        println!(
            "16 destinations, {in_flight} in flight, a backlog of {gone}: {more:.1} MiB beside {:.1}",
            float(before) / MIB
        );
        let what =
            format!("memory more with 16 destinations, {in_flight} in flight, a backlog of {gone}");
        let measured = Spread { median: more, least: more, most: more };
        self.targets.push(plain(what, Bound::AtMost(32.0), measured, " MiB"));
        drop(server);
        self.databases.drop(database).await
    }

    /// Sends at a fixed rate.
    fn pace(&self, duration: Duration, port: u16) -> Result<()> {
        let (corpus, connections) = (&self.corpus, CONNECTIONS);
        Pace { corpus, from: 1, connections, rate: RATE, duration }.run(port)?;
        Ok(())
    }

    /// A server on a fresh database; returns when it forwards.
    async fn start(&mut self, kind: Kind, settings: &str) -> Result<(Database, Server)> {
        let databases = &mut *self.databases;
        let database = match (kind.storage(), kind.is_base()) {
            (Storage::Sqlite, true) => Databases::empty_sqlite()?,
            (Storage::Sqlite, false) => databases.fresh_sqlite()?,
            (_, true) => databases.empty_postgres().await?,
            (_, false) => databases.fresh_postgres().await?,
        };
        let first = self.corpus.request(0);
        let server = Server::start_with(self.programs, kind, Some(&database), first, settings)?;
        let wanted = i64::try_from(settings.matches("[[forward]]").count())?;
        let begun = Instant::now();
        while wanted > 0 && destinations(&database).await? < wanted {
            ensure!(begun.elapsed() < PATIENCE, "it does not forward:\n{}", server.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok((database, server))
    }
}

/// How many destinations there are to which somebody forwards.
async fn destinations(database: &Database) -> Result<i64> {
    let sql = "select count(*) from destinations where holder is not null";
    let url = database.url();
    if matches!(database, Database::Postgres { .. }) {
        let mut connection = PgConnection::connect(&url).await?;
        let count = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
        connection.close().await?;
        return Ok(count);
    }
    let mut connection = SqliteConnection::connect(&url).await?;
    let count = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(count)
}

/// Waits until the query counts none.
async fn wait_for_none(connection: &mut PgConnection, sql: &'static str) -> Result<()> {
    let begun = Instant::now();
    while sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut *connection).await? > 0 {
        ensure!(begun.elapsed() < PATIENCE, "it took too long until there is none: {sql}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Waits until it is so.
fn wait(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !is_so() {
        ensure!(begun.elapsed() < PATIENCE, "it took too long until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn json_row(row: &Ingest) -> Value {
    json!({
        "round": row.round,
        "server": row.kind.key(),
        "beside": row.beside.text(),
        "events_per_s": row.events_per_s.round(),
        "p99_ms": row.p99_ms,
        "cpu_us": rounded(row.cpu_us),
        "wal_bytes": row.wal_bytes.round(),
        "delivered_per_s": row.delivered_per_s.round(),
    })
}

fn json_target(target: &Target) -> Value {
    json!({
        "what": target.what,
        "wanted": target.wanted(),
        "measured": target.reached(),
        "met": target.is_met(),
    })
}
