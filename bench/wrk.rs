//! Load from wrk: so many connections, each of which sends its next request when the last one is answered.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::corpus::Corpus;

/// What `load.lua` says at its end.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Answered {
    pub(crate) oks: u64,
    pub(crate) errors: u64,
    /// With those that were under way when the time was over.
    pub(crate) sent: u64,
    exhausted: bool,
    pub(crate) duration_us: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) max_us: u64,
}

/// What is sent, and how.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) corpus: &'a Corpus,
    /// The first request that is sent.
    pub(crate) from: usize,
    /// Whether the first follows the last.
    pub(crate) again: bool,
    pub(crate) connections: u32,
    pub(crate) seconds: u64,
}

/// A wrk that runs.
pub(crate) struct Running(Child);

impl Load<'_> {
    /// Sends, and waits until the time is over.
    pub(crate) fn run(&self, port: u16) -> Result<Answered> {
        self.start(port)?.finish()
    }

    pub(crate) fn start(&self, port: u16) -> Result<Running> {
        ensure!(
            self.from < self.corpus.len(),
            "all {} requests are used up\nhint: set BENCH_REQUESTS to more",
            self.corpus.len()
        );
        let mut command = Command::new(std::env::var_os("BENCH_WRK").unwrap_or("wrk".into()));
        command
            .args(["--threads", "1", "--timeout", "10s"])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.seconds)])
            .args(["--script", concat!(env!("CARGO_MANIFEST_DIR"), "/bench/load.lua")])
            .args([&format!("http://127.0.0.1:{port}/"), "--"])
            .arg(&self.corpus.path)
            .arg(self.corpus.offset(self.from).to_string());
        if self.again {
            command.arg("again");
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let hint = "hint: install it, or run ./scripts/bench, which does";
        Ok(Running(child.spawn().with_context(|| format!("start wrk\n{hint}"))?))
    }
}

impl Running {
    pub(crate) fn finish(self) -> Result<Answered> {
        let output = self.0.wait_with_output().context("wait for wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.starts_with("{\"oks\""));
        let said = || format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        let line = line.with_context(|| format!("wrk did not say what came of it:\n{}", said()))?;
        let answered: Answered = serde_json::from_str(line).context("read what wrk says")?;
        ensure!(
            !answered.exhausted,
            "all requests are used up before the time is over\nhint: set BENCH_REQUESTS to more"
        );
        Ok(answered)
    }
}
