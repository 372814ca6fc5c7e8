//! A nats-server of a test's own, on a free port, with its files in a temporary folder.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long it may take to listen.
const START: Duration = Duration::from_secs(30);

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
    more: &'static str,
}

impl NatsServer {
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with("").await
    }

    /// One with these lines in its configuration too.
    pub(crate) async fn start_with(more: &'static str) -> Option<Self> {
        let program = program()?;
        let folder = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { child: None, program, folder, port, more };
        server.run().await;
        Some(server)
    }

    /// Runs it, again where it was killed.
    pub(crate) async fn run(&mut self) {
        let store = self.folder.path().join("store");
        let config = self.folder.path().join("config");
        let (port, more) = (self.port, self.more);
        let store = store.display();
        // Else a server takes no stream that is larger than most of what the disk has free.
        let text = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{store}\", max_file_store: 64GB }}\n{more}\n"
        );
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(begun.elapsed() < START, "NATS does not listen");
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

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}
