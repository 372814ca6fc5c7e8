//! What it was measured on and with.

use std::process::Command;

use serde_json::{Map, Value, json};
use trtc_callbacks::clock::Clock;

use crate::contender::{Kind, Programs};

/// Names and values, in the order they are shown in.
pub(crate) fn describe(programs: &Programs, postgres: &str) -> Map<String, Value> {
    let now = jiff::Timestamp::from_millisecond(Clock::system().now().0);
    let date = now.map_or_else(|_| String::new(), |now| now.strftime("%Y-%m-%d").to_string());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = proc_field("/proc/meminfo", "MemTotal");
    let memory = memory.trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024 / 1024;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut machine = Map::new();
    let mut put = |name: &str, value: String| drop(machine.insert(name.to_owned(), json!(value)));
    put("date", date);
    put("processor", format!("{cores} cores of {}", proc_field("/proc/cpuinfo", "model name")));
    put("memory", format!("{memory} GiB"));
    // Without what distributions append.
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    put("kernel", format!("Linux {kernel}"));
    put("PostgreSQL", format!("{postgres}, fsync on, its default settings"));
    put("rustc", first_line("rustc", "--version").replace("rustc ", ""));
    put("trtc-callbacks", env!("CARGO_PKG_VERSION").to_owned());
    if let (true, Ok(commit)) = (programs.has(Kind::Base), std::env::var("BENCH_BASE_COMMIT")) {
        put("base", format!("this server at commit {commit}"));
    }
    let wrk = first_line("wrk", "--version");
    put("wrk", wrk.split(' ').nth(1).unwrap_or_default().replace("debian/", ""));
    put("axum-sqlx", crates(&["axum", "sqlx", "hyper", "tokio"]));
    if programs.has(Kind::Fastify) {
        let packages = include_str!("peers/fastify-pg/package.json");
        let packages: Value = serde_json::from_str(packages).unwrap_or_default();
        let version =
            |name: &str| packages["dependencies"][name].as_str().unwrap_or_default().to_owned();
        let (fastify, pg) = (version("fastify"), version("pg"));
        let node = first_line("node", "--version").replace('v', "");
        put("fastify-pg", format!("fastify {fastify}, pg {pg}, node {node}"));
    }
    if programs.has(Kind::FastApi) {
        let packages = include_str!("peers/fastapi-asyncpg/requirements.txt");
        let wanted = ["fastapi==", "uvicorn==", "uvloop==", "httptools==", "asyncpg=="];
        let lines = packages.lines().filter(|line| wanted.iter().any(|it| line.starts_with(it)));
        let packages: Vec<_> = lines.map(|line| line.replace("==", " ")).collect();
        let python = first_line("python3", "--version").to_lowercase();
        put("fastapi-asyncpg", format!("{}, {python}", packages.join(", ")));
    }
    machine
}

/// A line that says so where the processors are busy with other things.
pub(crate) fn busy() -> Option<String> {
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = load.split(' ').next()?.parse().ok()?;
    (load > 0.5).then(|| {
        format!("WARNING: the machine was busy in the last minute (load {load}): ratios hold, other figures may not")
    })
}

/// What stands behind a name and a colon.
fn proc_field(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim()).to_owned()
}

fn first_line(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// The versions of some crates, as the lock file has them.
fn crates(names: &[&str]) -> String {
    let lock = include_str!("../Cargo.lock");
    let version = |name: &&str| {
        let package = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?.1;
        Some(format!("{name} {}", package.split_once('"')?.0))
    };
    names.iter().filter_map(version).collect::<Vec<_>>().join(", ")
}
