//! A nats-server of a test's own, on a free port, with its files in a temporary folder.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::ports::free_port;

/// How long it may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program; `None` where there is none, which the test says.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("TEST_NATS_SERVER").filter(|path| !path.is_empty());
    let found = named.map_or_else(|| PathBuf::from("/usr/sbin/nats-server"), PathBuf::from);
    if found.exists() {
        return Some(found);
    }
    eprintln!("SKIPPED: there is no nats-server on this machine");
    None
}

/// A server with `JetStream`. It is killed when it is dropped.
pub(crate) struct NatsServer {
    child: Option<Child>,
    program: PathBuf,
    folder: TempDir,
    port: u16,
    /// Lines of its configuration beside the common ones.
    more: String,
}

impl NatsServer {
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with("").await
    }

    /// One with these lines in its configuration too.
    pub(crate) async fn start_with(more: &str) -> Option<Self> {
        let mut server = Self::prepare(more)?;
        server.run().await;
        Some(server)
    }

    /// One that does not run yet.
    pub(crate) fn prepare(more: &str) -> Option<Self> {
        let (program, folder) = (program()?, TempDir::new().unwrap());
        Some(Self { child: None, program, folder, port: free_port(), more: more.to_owned() })
    }

    /// Runs it, again where it was killed, and returns when it listens.
    pub(crate) async fn run(&mut self) {
        let (store, config) = (self.store(), self.folder.path().join("config"));
        let (port, more, store) = (self.port, &self.more, store.display());
        // Else a server takes no stream that is larger than most of what the disk has free.
        let text = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{store}\", max_file_store: 64GB }}\n{more}\n"
        );
        std::fs::write(&config, text).unwrap();
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "NATS does not listen: {}", self.said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills it as -9 does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Ends it as a service manager does.
    pub(crate) fn terminate(&mut self) {
        let mut child = self.child.take().expect("it runs");
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "NATS does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where its streams are.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// All that it ever wrote to its log.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}
