//! What this server is to reach, and whether it does.

use crate::contender::{Kind, Programs};
use crate::corpus::Sent;
use crate::figures::float;
use crate::measure::{Load, Row};
use crate::summary::{Runs, Spread};

const MIB: f64 = 1024.0 * 1024.0;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) bound: Bound,
    pub(crate) measured: Spread,
    pub(crate) unit: &'static str,
    /// Whether every run has to reach it, and not only the middle one.
    every_run: bool,
    /// Beyond which the short form fails. Only of ratios of CPU times, which hold on any machine.
    guard: Option<f64>,
}

impl Target {
    pub(crate) fn is_met(&self) -> bool {
        let Spread { median, least, most } = self.measured;
        let (least, most) = if self.every_run { (least, most) } else { (median, median) };
        match self.bound {
            Bound::AtLeast(bound) => least >= bound,
            Bound::AtMost(bound) => most <= bound,
        }
    }

    /// Whether it is a ratio of CPU times, which the short form looks at.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// Whether it is a ratio of CPU times that is beyond its guard.
    pub(crate) fn is_missed_by_far(&self) -> bool {
        self.guard.is_some_and(|guard| match self.bound {
            Bound::AtLeast(_) => self.measured.median < guard,
            Bound::AtMost(_) => self.measured.median > guard,
        })
    }

    pub(crate) fn wanted(&self) -> String {
        match self.bound {
            Bound::AtLeast(bound) => format!("at least {bound}{}", self.unit),
            Bound::AtMost(bound) => format!("at most {bound}{}", self.unit),
        }
    }

    pub(crate) fn reached(&self) -> String {
        let Spread { median, least, most } = self.measured;
        if least.total_cmp(&most).is_eq() {
            return format!("{median:.2}{}", self.unit);
        }
        format!("{median:.2}{} ({least:.2} to {most:.2})", self.unit)
    }
}

/// All of which there are runs.
pub(crate) fn all(runs: &Runs, programs: &Programs) -> Vec<Target> {
    let mut targets = Vec::new();
    for load in [Load::Full(64), Load::Full(128)] {
        targets.extend(cpu(runs, load));
        let ratio = |round| {
            let ours = runs.row(round, Kind::Ours, load)?;
            Some(ours.events_per_s / runs.best_peer(round, load)?.events_per_s)
        };
        let what = format!("events/s: times those of the best peer, {load}");
        targets.extend(runs.of_rounds(ratio).map(|it| plain(what, Bound::AtLeast(3.0), it, "")));
    }
    targets.extend(base(runs));
    targets.extend(few(runs));
    targets.extend(latency(runs));
    targets.extend(size(runs, programs));
    targets
}

/// What the dialects cost beside each other, with bodies of one size.
pub(crate) fn dialects(runs: &Runs) -> Vec<Target> {
    let mut targets = Vec::new();
    for ours in Kind::OURS {
        for (sent, what) in [(Sent::RtcEngine, "an event of the RTC Engine"), (Sent::Both, "both")]
        {
            let ratio = |round| {
                let calls = runs.row(round, ours, Load::Of(Sent::Calls, 64))?.cpu_us();
                Some(runs.row(round, ours, Load::Of(sent, 64))?.cpu_us() / calls)
            };
            let what =
                format!("CPU: {what} takes so many times an event of a call, {}", ours.name());
            let target = |it| plain(what, Bound::AtMost(1.15), it, "");
            targets.extend(runs.of_rounds(ratio).map(target));
        }
    }
    targets
}

pub(crate) fn plain(what: String, bound: Bound, measured: Spread, unit: &'static str) -> Target {
    Target { what, bound, measured, unit, every_run: false, guard: None }
}

fn cpu(runs: &Runs, load: Load) -> Vec<Target> {
    let mut targets = Vec::new();
    // The short form lets pass what is half as good as wanted, and more where its build takes more: it compiles dependencies as
    // the tests do, SQLite among them.
    for (ours, suffix, wanted, limit, slack) in [
        (Kind::Ours, "", Some([4.0, 4.0, 10.0]), 2.7, 2.6),
        (Kind::OursAlone, ", without read models", Some([4.0, 4.0, 10.0]), 2.0, 2.0),
        // Its like write to PostgreSQL.
        (Kind::OursSqliteAlone, ", on SQLite without read models", None, 1.6, 2.5),
    ] {
        for (peer, wanted) in Kind::PEERS.into_iter().zip(wanted.into_iter().flatten()) {
            let ratio = |round| {
                let ours = runs.row(round, ours, load)?.cpu_us();
                Some(runs.row(round, peer, load)?.cpu_us() / ours)
            };
            let what = format!("CPU: {} takes so many times ours{suffix}, {load}", peer.name());
            let target = |it| Target {
                guard: Some(wanted / slack),
                ..plain(what, Bound::AtLeast(wanted), it, "")
            };
            targets.extend(runs.of_rounds(ratio).map(target));
        }
        let ratio = |round| {
            let limits = runs.limits_us(round, load, ours.storage())?;
            Some(runs.row(round, ours, load)?.cpu_us() / limits)
        };
        let what = format!("CPU: ours{suffix} takes so many times the two limits, {load}");
        let target =
            |it| Target { guard: Some(limit * slack), ..plain(what, Bound::AtMost(limit), it, "") };
        targets.extend(runs.of_rounds(ratio).map(target));
    }
    targets
}

/// This server beside itself as it was at an earlier commit.
fn base(runs: &Runs) -> Vec<Target> {
    let mut targets = Vec::new();
    let cpu: fn(&Row) -> f64 = Row::cpu_us;
    let rate: fn(&Row) -> f64 = |row| row.events_per_s;
    let wal: fn(&Row) -> f64 = |row| row.wal_bytes;
    let stored: fn(&Row) -> f64 = |row| row.stored_bytes;
    for (ours, base, load, what, figure, bound) in [
        (Kind::Ours, Kind::Base, 64, "CPU", cpu, Bound::AtMost(0.65)),
        (Kind::Ours, Kind::Base, 128, "CPU", cpu, Bound::AtMost(0.65)),
        (Kind::Ours, Kind::Base, 64, "WAL", wal, Bound::AtMost(0.75)),
        (Kind::Ours, Kind::Base, 64, "stored bytes", stored, Bound::AtMost(0.8)),
        (Kind::OursSqlite, Kind::BaseSqlite, 64, "CPU", cpu, Bound::AtMost(0.45)),
        (Kind::OursSqliteAlone, Kind::BaseSqliteAlone, 64, "CPU", cpu, Bound::AtMost(0.45)),
        (Kind::OursSqlite, Kind::BaseSqlite, 64, "events/s", rate, Bound::AtLeast(2.5)),
        (Kind::OursSqliteAlone, Kind::BaseSqliteAlone, 64, "events/s", rate, Bound::AtLeast(2.5)),
    ] {
        let load = Load::Full(load);
        let ratio = |round| {
            Some(figure(runs.row(round, ours, load)?) / figure(runs.row(round, base, load)?))
        };
        let what = format!("{what}: {} takes so many times the base's, {load}", ours.key());
        targets.extend(runs.of_rounds(ratio).map(|it| plain(what, bound, it, "")));
    }
    targets
}

/// With few events at once, beside one `insert` for each.
fn few(runs: &Runs) -> Vec<Target> {
    let mut targets = Vec::new();
    let cpu: fn(&Row) -> f64 = Row::cpu_us;
    let time: fn(&Row) -> f64 = |row| row.p50_ms;
    for (what, figure, load, bound) in [
        ("CPU", cpu, Load::Full(1), 1.2),
        ("p50", time, Load::Full(1), 1.2),
        ("CPU", cpu, Load::Paced(1000), 0.6),
    ] {
        let ratio = |round| {
            let axum = figure(runs.row(round, Kind::Axum, load)?);
            Some(figure(runs.row(round, Kind::Ours, load)?) / axum)
        };
        let what = format!("{what}: ours takes so many times axum-sqlx's, {load}");
        targets.extend(runs.of_rounds(ratio).map(|it| plain(what, Bound::AtMost(bound), it, "")));
    }
    targets
}

fn latency(runs: &Runs) -> Vec<Target> {
    let mut targets = Vec::new();
    let at_peers_best = |round| {
        let ours = runs.row(round, Kind::Ours, Load::BestPeers(0.0))?.p99_ms;
        // The smaller one of its own two: with 64 requests always under way, and at the rate this gives.
        let peer = runs.best_peer(round, Load::Full(64))?;
        let paced = runs.row(round, peer.kind, Load::BestPeers(0.0)).map(|row| row.p99_ms);
        Some(ours / paced.map_or(peer.p99_ms, |paced| paced.min(peer.p99_ms)))
    };
    let what = "p99: times the best peer's, at that peer's own most events/s".to_owned();
    let target = |it| plain(what, Bound::AtMost(1.0), it, "");
    targets.extend(runs.of_rounds(at_peers_best).map(target));
    let slow = runs.spread(Kind::Ours, Load::Paced(1000), |row| row.p99_ms);
    let what = "p99 at 1000 events/s".to_owned();
    targets.extend(slow.map(|it| plain(what, Bound::AtMost(20.0), it, " ms")));
    targets
}

fn size(runs: &Runs, programs: &Programs) -> Vec<Target> {
    let ours = |figure: fn(&Row) -> f64| {
        Spread::of(runs.rows.iter().filter(|row| row.kind.is_ours()).map(figure))
    };
    let postgres = runs.rows.iter().filter(|row| matches!(row.kind, Kind::Ours | Kind::OursAlone));
    let first_answer = Spread::of(postgres.map(|row| row.first_answer_ms));
    let binary = std::fs::metadata(&programs.ours).map_or(0, |file| file.len());
    let binary = Spread::of([float(binary) / MIB]);
    [
        (
            "memory at most, in every run",
            48.0,
            ours(|row| float(row.memory_peak_bytes) / MIB),
            " MiB",
        ),
        (
            "memory before any load, in every run",
            10.0,
            ours(|row| float(row.memory_idle_bytes) / MIB),
            " MiB",
        ),
        ("from start to first answer, in every run", 300.0, first_answer, " ms"),
        ("the program's size", 25.0, binary, " MiB"),
    ]
    .into_iter()
    .filter_map(|(what, bound, measured, unit)| {
        let target = plain(what.to_owned(), Bound::AtMost(bound), measured?, unit);
        Some(Target { every_run: true, ..target })
    })
    .collect()
}
