//! The servers that are measured: how each is started, and that it is gone when its run ends.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::corpus::{APP, RTC_KEY};
use crate::cost;
use crate::database::Database;

/// What every server answers.
pub(crate) const ENVELOPE: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;
/// What this server answers to an event of the RTC Engine.
const RTC_ENVELOPE: &str = r#"{"code":0}"#;
/// How long a server may take until it is ready.
const READY_WITHIN: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// This server, with its default settings.
    Ours,
    /// This server without read models.
    OursAlone,
    /// This server on SQLite.
    OursSqlite,
    /// This server on SQLite, without read models.
    OursSqliteAlone,
    /// This server as it was at an earlier commit, in the same four ways.
    Base,
    BaseAlone,
    BaseSqlite,
    BaseSqliteAlone,
    Axum,
    Fastify,
    FastApi,
    /// An HTTP answer, and nothing else.
    HttpNothing,
    /// The rows in PostgreSQL, and nothing else.
    Copy,
    /// The rows in SQLite, and nothing else.
    SqliteDirect,
}

impl Kind {
    pub(crate) const PEERS: [Self; 3] = [Self::Axum, Self::Fastify, Self::FastApi];
    pub(crate) const OURS: [Self; 4] =
        [Self::Ours, Self::OursAlone, Self::OursSqlite, Self::OursSqliteAlone];
    /// The same of the earlier commit, in the same order.
    pub(crate) const BASE: [Self; 4] =
        [Self::Base, Self::BaseAlone, Self::BaseSqlite, Self::BaseSqliteAlone];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "trtc-callbacks",
            Self::OursAlone => "… without read models",
            Self::OursSqlite => "… on SQLite",
            Self::OursSqliteAlone => "… on SQLite, without",
            Self::Base => "base",
            Self::BaseAlone => "base without r. models",
            Self::BaseSqlite => "base on SQLite",
            Self::BaseSqliteAlone => "base, SQLite, without",
            Self::Axum => "axum-sqlx",
            Self::Fastify => "fastify-pg",
            Self::FastApi => "fastapi-asyncpg",
            Self::HttpNothing => "http-nothing",
            Self::Copy => "COPY",
            Self::SqliteDirect => "sqlite-direct",
        }
    }

    /// A name that stands by itself.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::OursAlone => "without read models",
            Self::OursSqlite => "on SQLite",
            Self::OursSqliteAlone => "on SQLite without read models",
            other => other.name(),
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        Self::OURS.contains(&self)
    }

    pub(crate) fn is_base(self) -> bool {
        Self::BASE.contains(&self)
    }

    /// Whether no server is before the database.
    pub(crate) fn is_rows_alone(self) -> bool {
        matches!(self, Self::Copy | Self::SqliteDirect)
    }

    fn is_on_sqlite(self) -> bool {
        matches!(
            self,
            Self::OursSqlite
                | Self::OursSqliteAlone
                | Self::BaseSqlite
                | Self::BaseSqliteAlone
                | Self::SqliteDirect
        )
    }

    fn has_no_read_models(self) -> bool {
        matches!(
            self,
            Self::OursAlone | Self::OursSqliteAlone | Self::BaseAlone | Self::BaseSqliteAlone
        )
    }

    /// What keeps its rows.
    pub(crate) fn storage(self) -> Storage {
        match self {
            Self::HttpNothing => Storage::None,
            kind if kind.is_on_sqlite() => Storage::Sqlite,
            _ => Storage::Postgres,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    None,
    Sqlite,
    Postgres,
}

/// Where the programs are.
pub(crate) struct Programs {
    pub(crate) ours: PathBuf,
    /// This server as it was at an earlier commit.
    base: Option<PathBuf>,
    examples: PathBuf,
    /// The folder with the program and its packages.
    fastify: Option<PathBuf>,
    /// The Python of a virtual environment that has its packages.
    fastapi: Option<PathBuf>,
    /// How many processes of those two are started.
    fastify_processes: u32,
    fastapi_processes: u32,
}

impl Programs {
    /// What cargo built, and what `scripts/bench` set up.
    pub(crate) fn find() -> Result<Self> {
        let ours = PathBuf::from(env!("CARGO_BIN_EXE_trtc-callbacks"));
        let examples = ours.parent().context("the program is in no folder")?.join("examples");
        let folder = |variable: &str| {
            std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
        };
        let programs = Self {
            ours,
            base: folder("BENCH_BASE_PROGRAM"),
            examples,
            fastify: folder("BENCH_FASTIFY"),
            fastapi: folder("BENCH_FASTAPI_PYTHON"),
            fastify_processes: 1,
            fastapi_processes: 1,
        };
        for name in ["axum-sqlx", "http-nothing"] {
            let path = programs.examples.join(name);
            ensure!(
                path.exists(),
                "{} is not there\nhint: run ./scripts/bench, which builds it",
                path.display()
            );
        }
        Ok(programs)
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Fastify => self.fastify.is_some(),
            Kind::FastApi => self.fastapi.is_some(),
            kind if kind.is_base() => self.base.is_some(),
            _ => true,
        }
    }

    pub(crate) fn set_processes(&mut self, kind: Kind, processes: u32) {
        match kind {
            Kind::Fastify => self.fastify_processes = processes,
            Kind::FastApi => self.fastapi_processes = processes,
            _ => {}
        }
    }

    /// How many are started, and say that they are ready.
    pub(crate) fn processes(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Fastify => self.fastify_processes,
            Kind::FastApi => self.fastapi_processes,
            _ => 1,
        }
    }

    fn command(&self, kind: Kind, database: Option<&Database>, port: u16, home: &Path) -> Command {
        let url = database.map(Database::url).unwrap_or_default();
        let port = port.to_string();
        let processes = self.processes(kind).to_string();
        match kind {
            Kind::Ours
            | Kind::OursAlone
            | Kind::OursSqlite
            | Kind::OursSqliteAlone
            | Kind::Base
            | Kind::BaseAlone
            | Kind::BaseSqlite
            | Kind::BaseSqliteAlone => {
                let base = self.base.as_ref().filter(|_| kind.is_base());
                let mut command = Command::new(base.unwrap_or(&self.ours));
                command
                    .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
                    .env("TRTC_SDK_APP_ID", APP)
                    .env("TRTC_RTC_KEY", RTC_KEY)
                    .env("TRTC_STORE__URL", url)
                    .env("TRTC_SPOOL__PATH", home.join("spool.db"));
                if kind.has_no_read_models() {
                    command.env("TRTC_INGEST__READ_MODELS", "false");
                }
                command
            }
            Kind::Axum => {
                let mut command = Command::new(self.examples.join("axum-sqlx"));
                command.args([port, url]);
                command
            }
            Kind::HttpNothing | Kind::Copy | Kind::SqliteDirect => {
                let mut command = Command::new(self.examples.join("http-nothing"));
                command.arg(port);
                command
            }
            Kind::Fastify => {
                let mut command = Command::new("node");
                let program = self.fastify.clone().unwrap_or_default().join("server.mjs");
                command.arg(program).args([port, url, processes]).env("NODE_ENV", "production");
                command
            }
            Kind::FastApi => {
                let mut command = Command::new(self.fastapi.clone().unwrap_or_default());
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/peers/fastapi-asyncpg");
                command
                    .args(["-m", "uvicorn", "server:app", "--app-dir", folder])
                    .args(["--port", &port, "--workers", &processes])
                    .args(["--loop", "uvloop", "--http", "httptools", "--no-access-log"])
                    .args(["--log-level", "warning"])
                    .env("BENCH_DATABASE_URL", url)
                    .env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
        }
    }
}

/// A server that runs. It is gone, with all it started, when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    ops_port: u16,
    home: TempDir,
    /// From the start of the process until its first answer.
    pub(crate) first_answer: Duration,
    /// What it takes up before any load, in bytes.
    pub(crate) memory_idle: u64,
}

impl Server {
    /// Starts one and posts `first` to it; returns when it takes events.
    pub(crate) fn start(
        programs: &Programs,
        kind: Kind,
        database: Option<&Database>,
        first: &[u8],
    ) -> Result<Self> {
        Self::start_with(programs, kind, database, first, "")
    }

    /// The same with a file of settings.
    pub(crate) fn start_with(
        programs: &Programs,
        kind: Kind,
        database: Option<&Database>,
        first: &[u8],
        settings: &str,
    ) -> Result<Self> {
        let home = tempfile::tempdir().context("make a temporary folder")?;
        let (port, ops_port) = (free_port()?, free_port()?);
        let output = File::create(home.path().join("output"))?;
        let mut command = programs.command(kind, database, port, home.path());
        command.env("TRTC_OPS__LISTEN", format!("127.0.0.1:{ops_port}"));
        if !settings.is_empty() {
            std::fs::write(home.path().join("bench.toml"), settings)?;
            command.env("TRTC_CONFIG", "bench.toml");
        }
        let begun = Instant::now();
        let child = command
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {}", kind.name()))?;
        let first_answer = Duration::ZERO;
        let mut server = Self { child, port, ops_port, home, first_answer, memory_idle: 0 };
        server.wait(kind, "answers", |server| post(server.port, first))?;
        server.first_answer = begun.elapsed();
        let processes = programs.processes(kind) as usize;
        server.wait(kind, "is ready", |server| server.is_ready(kind, processes))?;
        server.memory_idle = cost::memory(server.process(), "VmRSS");
        Ok(server)
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    fn wait(&mut self, kind: Kind, what: &str, mut done: impl FnMut(&Self) -> bool) -> Result<()> {
        let until = Instant::now() + READY_WITHIN;
        while !done(self) {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}) before it {what}:\n{}", kind.name(), self.output());
            }
            ensure!(
                Instant::now() < until,
                "{} took longer than {READY_WITHIN:?} until it {what}:\n{}",
                kind.name(),
                self.output()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Whether an event goes to the store now: until then this server gives it to the spool.
    fn is_ready(&self, kind: Kind, processes: usize) -> bool {
        if kind.is_ours() || kind.is_base() {
            let request = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
            ask(self.ops_port, request).is_some_and(|answer| answer.contains("\r\n\r\nok\n"))
        } else {
            self.output().lines().filter(|line| *line == "ready").count() >= processes
        }
    }

    /// What it wrote.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.home.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in cost::processes(self.child.id()) {
            if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
                // It may have ended just now.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Whether a request is answered the envelope.
fn post(port: u16, request: &[u8]) -> bool {
    let request = String::from_utf8_lossy(request);
    // So that the end of the answer is the end of the stream.
    let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let answer = ask(port, request.as_bytes()).unwrap_or_default();
    let is_envelope = [ENVELOPE, RTC_ENVELOPE].iter().any(|envelope| answer.ends_with(envelope));
    answer.starts_with("HTTP/1.1 200 ") && is_envelope
}

fn ask(port: u16, request: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(request).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
