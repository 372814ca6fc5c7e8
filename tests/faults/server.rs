//! The real program, started, signalled and started again in the same place.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::load::number_of;
use crate::ports::free_port;
use crate::support::{APP, Figures};

const PROGRAM: &str = env!("CARGO_BIN_EXE_trtc-callbacks");
/// How long it may take to start, to end, or to empty its spool.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where a server runs, again and again: its folder, its ports, its settings, and all it ever wrote to stderr.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    ports: (u16, u16),
    variables: Vec<(String, String)>,
    /// What starts it, where it is not started directly: it gets the program and its arguments appended.
    launcher: Vec<String>,
    log: Arc<Mutex<Log>>,
}

/// What matters of stderr.
#[derive(Default)]
struct Log {
    /// The lines of the last resort, whole.
    not_stored: Vec<String>,
    /// The messages of level ERROR.
    errors: Vec<String>,
    /// Those and the warnings.
    said: Vec<String>,
}

impl Place {
    pub(crate) fn on(store_url: &str) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            ports: (free_port(), free_port()),
            variables: Vec::new(),
            launcher: Vec::new(),
            log: Arc::default(),
        }
        .with("TRTC_STORE__URL", store_url)
    }

    /// On a SQLite file of its own.
    pub(crate) fn on_sqlite() -> Self {
        Self::on("sqlite://events.db")
    }

    /// On a SQLite file of its own in a folder of its own, on whose disk the spool is not.
    pub(crate) fn on_sqlite_apart() -> Self {
        let place = Self::on("sqlite://store/events.db");
        std::fs::create_dir(place.store_folder()).unwrap();
        place
    }

    /// The folder of such a file.
    pub(crate) fn store_folder(&self) -> PathBuf {
        self.folder().join("store")
    }

    /// On one in memory, where there is a file system for that: what an answer takes is then the server's time, and not that of
    /// a disk that others keep busy.
    pub(crate) fn on_sqlite_in_memory() -> Self {
        let mut place = Self::on_sqlite();
        match tempfile::tempdir_in("/dev/shm") {
            Ok(folder) => place.folder = folder,
            Err(error) => eprintln!("no folder in memory, so on the disk: {error}"),
        }
        place
    }

    /// Where its store is, seen from elsewhere.
    pub(crate) fn store_url(&self) -> String {
        let (_, url) = self.variables.iter().find(|(name, _)| name == "TRTC_STORE__URL").unwrap();
        match url.strip_prefix("sqlite://") {
            Some(file) => format!("sqlite://{}/{file}", self.folder().display()),
            None => url.clone(),
        }
    }

    /// With a file of settings.
    pub(crate) fn with_file(self, toml: &str) -> Self {
        std::fs::write(self.folder().join("trtc.toml"), toml).unwrap();
        self.with("TRTC_CONFIG", "trtc.toml")
    }

    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.variables.push((variable.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn launched_by(mut self, launcher: &[impl AsRef<str>]) -> Self {
        self.launcher = launcher.iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where callbacks are taken.
    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports.0).into()
    }

    /// The program in this place, without arguments.
    pub(crate) fn program(&self) -> Command {
        let mut words = self.launcher.iter().map(String::as_str).chain([PROGRAM]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        // Nothing of the machine's own environment reaches the program.
        let kept = std::env::vars_os().filter(|(name, _)| name == "PATH");
        command.current_dir(&self.folder).env_clear().envs(kept).stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn ops_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports.1).into()
    }

    /// Starts it and returns when it says that it is ready.
    pub(crate) fn start(&self) -> Serving {
        self.watch(self.serve(self.program()))
    }

    /// Starts one more, which takes over from the one that runs here.
    pub(crate) fn start_taking_over(&self) -> Serving {
        let mut command = self.serve(self.program());
        command.arg("--take-over");
        self.watch(command)
    }

    /// Starts it on sockets as a service manager passes them.
    pub(crate) fn start_on(&self, sockets: &Sockets) -> Serving {
        let [public, ops] = [&sockets.public, &sockets.ops].map(AsRawFd::as_raw_fd);
        // The shell's own number becomes the program's.
        let script = format!(
            "exec 3<&{public} 4<&{ops}; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=callbacks:ops; exec \"$@\""
        );
        let program = self.program();
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash"]).arg(program.get_program()).args(program.get_args());
        command.current_dir(&self.folder).env_clear().stdin(Stdio::null());
        for (name, value) in program.get_envs() {
            command.env(name, value.unwrap());
        }
        self.watch(self.serve(command))
    }

    fn serve(&self, mut program: Command) -> Command {
        program.args(["serve", "--sdk-app-id", APP, "--listen", &self.address().to_string()]);
        program.args(["--ops-listen", &self.ops_address().to_string()]);
        program
    }

    fn watch(&self, mut command: Command) -> Serving {
        let ops = self.ops_address();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (says_ready, ready) = sync_channel(1);
        let log = self.log.clone();
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if log.lock().unwrap().take(line) {
                    let _ = says_ready.try_send(());
                }
            }
        });
        let log = self.log.clone();
        let serving = Serving { child, ops, log, reader: Some(reader) };
        self.wait_until_ready(&ready);
        serving
    }

    fn wait_until_ready(&self, ready: &Receiver<()>) {
        let is_ready = ready.recv_timeout(PATIENCE).is_ok();
        assert!(is_ready, "the server did not become ready; its errors: {:?}", self.errors());
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        self.log.lock().unwrap().errors.clone()
    }

    /// The error log as `replay` reads it.
    pub(crate) fn not_stored(&self) -> String {
        self.log.lock().unwrap().not_stored.join("\n")
    }

    /// Returns when so many events are in the error log.
    pub(crate) async fn until_logged(&self, events: usize) {
        let begun = Instant::now();
        while self.logged().len() < events {
            assert!(
                begun.elapsed() < PATIENCE,
                "only {} are in the error log",
                self.logged().len()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The numbers of the events in the error log.
    pub(crate) fn logged(&self) -> HashSet<u64> {
        let log = self.log.lock().unwrap();
        let number = |line: &String| {
            let line: Value = serde_json::from_str(line).unwrap();
            number_of(line["body"]["RoomId"].as_str()?)
        };
        log.not_stored.iter().filter_map(number).collect()
    }
}

/// Sockets that outlive the servers that listen on them.
pub(crate) struct Sockets {
    public: TcpListener,
    ops: TcpListener,
}

impl Sockets {
    /// Those of this place's ports.
    pub(crate) fn open(place: &Place) -> Self {
        let open = |address: SocketAddr| {
            let socket = TcpListener::bind(address).unwrap();
            // The processes that are started are to have it.
            rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty()).unwrap();
            socket
        };
        Self { public: open(place.address()), ops: open(place.ops_address()) }
    }
}

impl Log {
    /// Keeps what matters, and tells whether the line says that the server is ready.
    fn take(&mut self, line: String) -> bool {
        let Ok(json) = serde_json::from_str::<Value>(&line) else {
            // `error: …` and `hint: …`, when it does not start.
            self.errors.push(line);
            return false;
        };
        if json["not_stored"].is_string() {
            self.not_stored.push(line);
        } else if json["level"] == "ERROR" {
            self.said.push(line.clone());
            self.errors.push(line);
        } else if json["level"] == "WARN" {
            self.said.push(line);
        }
        json["message"] == "ready for callbacks"
    }
}

/// A running server. It is killed when it is dropped.
pub(crate) struct Serving {
    child: Child,
    ops: SocketAddr,
    log: Arc<Mutex<Log>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Serving {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.end();
    }

    /// SIGTERM, and a good end.
    pub(crate) fn terminate(mut self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
        self.ended_well();
    }

    /// Waits for its good end.
    pub(crate) fn ends_by_itself(mut self) {
        self.ended_well();
    }

    fn ended_well(&mut self) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(status.success(), "it ended with {status}");
        self.end();
    }

    /// Ends it where it runs, and returns when all it wrote is read.
    fn end(&mut self) {
        // Ended already, or ended now.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// Status and text of a page for operators; none where it does not answer in time.
    pub(crate) async fn ops(&self, path: &str) -> Option<(u16, String)> {
        let client = trtc_callbacks::tencent_api::http_client()
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        let answer = client.get(format!("http://{}{path}", self.ops)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    pub(crate) async fn figures(&self) -> Figures {
        Figures(self.ops("/metrics").await.expect("/metrics is answered").1)
    }

    /// Returns when nothing waits any more, neither in the queue nor in the spool.
    pub(crate) async fn drained(&self) {
        let begun = Instant::now();
        loop {
            let figures = self.figures().await;
            let waiting = [figures.value("trtc_spool_events"), figures.value("trtc_queue_events")];
            if waiting == [0, 0] {
                return;
            }
            if begun.elapsed() >= PATIENCE {
                let ready = self.ops("/readyz").await;
                let said = self.log.lock().unwrap().said.clone();
                let last = &said[said.len().saturating_sub(20)..];
                panic!(
                    "[spool, queue] still hold {waiting:?}; /readyz: {ready:?}; the log: {last:#?}"
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns when so many events are in the spool.
    pub(crate) async fn until_spooled(&self, events: u64) {
        let begun = Instant::now();
        while self.figures().await.value("trtc_spool_events") < events {
            assert!(begun.elapsed() < PATIENCE, "fewer than {events} events are spooled");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns when events go to the store: its tables are made.
    pub(crate) async fn until_the_store_takes_events(&self) {
        let begun = Instant::now();
        while self.figures().await.value("trtc_store_circuit_open") > 0 {
            assert!(begun.elapsed() < PATIENCE, "the store does not become ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns when the page has this status.
    pub(crate) async fn until(&self, path: &str, status: u16) {
        let begun = Instant::now();
        loop {
            let answer = self.ops(path).await;
            if answer.as_ref().is_some_and(|(is, _)| *is == status) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{path} is not {status} but {answer:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end();
    }
}
