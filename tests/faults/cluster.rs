//! A real PostgreSQL for one test, to be stopped, frozen and starved.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, Executor, PgConnection};

use crate::ports::free_port;

/// How long it may take to start, the recovery from a crash included.
const START: Duration = Duration::from_mins(1);

pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    port: u16,
    connections_max: u16,
    /// What starts it, where it is not started directly: it gets the program and its arguments appended.
    launcher: Vec<String>,
    postmaster: Option<Child>,
}

/// How PostgreSQL is told to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// Sessions are ended, all is written.
    Fast,
    /// As if it crashed: recovery follows.
    Immediate,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(100).await
    }

    pub(crate) async fn start_with(connections_max: u16) -> Self {
        Self::start_in(connections_max, Vec::new()).await
    }

    pub(crate) async fn start_launched_by(launcher: Vec<String>) -> Self {
        Self::start_in(100, launcher).await
    }

    async fn start_in(connections_max: u16, launcher: Vec<String>) -> Self {
        let folder = owned_folder();
        // What is synced is what the server writes later.
        let made = program("initdb", folder.path(), &[])
            .args(["-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"])
            .arg("--no-sync")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut cluster =
            Self { folder, port: free_port(), connections_max, launcher, postmaster: None };
        cluster.start_again().await;
        cluster
    }

    /// A standby of it. From now on no commit is answered before that has it, so that nothing is lost when it takes over.
    pub(crate) async fn standby(&self) -> Self {
        let folder = owned_folder();
        self.copy_into(folder.path()).await;
        let mut standby = Self {
            folder,
            port: free_port(),
            connections_max: self.connections_max,
            launcher: Vec::new(),
            postmaster: None,
        };
        standby.start_again().await;
        // After the copy, so that the standby waits for nobody once it is the primary.
        self.execute("alter system set synchronous_standby_names = '*'").await;
        self.execute("select pg_reload_conf()").await;
        let mut session = self.session().await;
        let synced = "select exists (select from pg_stat_replication where sync_state = 'sync')";
        let begun = Instant::now();
        while !sqlx::query_scalar::<_, bool>(synced).fetch_one(&mut session).await.unwrap() {
            assert!(begun.elapsed() < START, "the standby does not follow");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        standby
    }

    /// A base backup that follows it.
    async fn copy_into(&self, folder: &Path) {
        let from = format!("host=127.0.0.1 port={} user=postgres", self.port);
        let copied = program("pg_basebackup", folder, &[])
            .args(["-D", "data", "--dbname", &from])
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .output();
        let said = copied.as_ref().map(|copied| String::from_utf8_lossy(&copied.stderr));
        match &copied {
            Ok(copied) if copied.status.success() => return,
            Ok(_)
                if said.as_ref().is_ok_and(|said| said.contains("incompatible server version")) => {
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            _ => panic!("{said:?}"),
        }
        // There is none, or an older one: what it does is done by hand.
        let mut session = self.session().await;
        let number = "select current_setting('server_version_num')::int >= 150000";
        let has_short_names: bool =
            sqlx::query_scalar(number).fetch_one(&mut session).await.unwrap();
        let (start, stop) = if has_short_names {
            ("select pg_backup_start('standby', true)", "select labelfile from pg_backup_stop()")
        } else {
            (
                "select pg_start_backup('standby', true, false)",
                "select labelfile from pg_stop_backup(false)",
            )
        };
        session.execute(start).await.unwrap();
        let data = folder.join("data");
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.folder.path().join("data")).arg(&data);
        assert!(copy.status().unwrap().success());
        let label: String = sqlx::query_scalar(stop).fetch_one(&mut session).await.unwrap();
        std::fs::remove_file(data.join("postmaster.pid")).unwrap();
        std::fs::write(data.join("backup_label"), label).unwrap();
        std::fs::write(data.join("standby.signal"), "").unwrap();
        let settings = data.join("postgresql.auto.conf");
        let followed = format!("primary_conninfo = '{from}'\n");
        let before = std::fs::read_to_string(&settings).unwrap();
        std::fs::write(&settings, before + &followed).unwrap();
        if let Some((user, group)) = owner() {
            for name in ["backup_label", "standby.signal", "postgresql.auto.conf"] {
                std::os::unix::fs::chown(data.join(name), Some(user), Some(group)).unwrap();
            }
        }
    }

    /// Makes the primary of a standby: returns once it takes writes.
    pub(crate) async fn promote(&self) {
        self.execute("select pg_promote()").await;
    }

    pub(crate) fn url(&self) -> String {
        Self::url_through(self.port)
    }

    /// Its address where something else listens in front of it.
    pub(crate) fn url_through(port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }

    /// The address of another of its databases.
    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Copies its database into another cluster, as `pg_dump` does.
    pub(crate) fn dump_into(&self, other: &Self) {
        let run = |name: &str, arguments: &[&str]| {
            let output = program(name, other.folder.path(), &[]).args(arguments).output().unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run("pg_dump", &["--file", "dump.sql", &self.url()]);
        let strict = ["--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1"];
        run("psql", &[&strict[..], &["--file", "dump.sql", &other.url()]].concat());
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts it and returns when it takes connections.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.postmaster.is_none(), "it runs");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("server.log"))
            .unwrap();
        let mut command = program("postgres", self.folder.path(), &self.launcher);
        command.args(["-D", "data", "-p", &self.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", self.folder.path().display()),
            format!("max_connections={}", self.connections_max),
        ] {
            command.args(["-c", &setting]);
        }
        self.postmaster = Some(command.stderr(log).spawn().unwrap());
        let begun = Instant::now();
        while let Err(error) = PgConnection::connect(&self.url()).await {
            assert!(begun.elapsed() < START, "PostgreSQL did not start: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn stop(&mut self, how: Stop) {
        let mut postmaster = self.postmaster.take().expect("it runs");
        let signal = match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        kill_process(Pid::from_child(&postmaster), signal).unwrap();
        postmaster.wait().unwrap();
    }

    /// Ends all of its processes with `kill -9`: none of them can finish anything, or say good-bye. What they leave behind in memory
    /// is cleaned up when it is started again.
    pub(crate) fn kill(&mut self) {
        // A stopped postmaster starts no others.
        self.freeze();
        for process in self.processes() {
            // The others cannot have ended by themselves.
            kill_process(process, Signal::KILL).unwrap();
        }
        self.postmaster.take().expect("it runs").wait().unwrap();
    }

    /// Stops the processes where they are: connections stay open, and nothing comes through them.
    pub(crate) fn freeze(&self) {
        self.signal_all(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    /// The postmaster first: a stopped one starts no others.
    fn signal_all(&self, signal: Signal) {
        let postmaster = Pid::from_child(self.postmaster.as_ref().expect("it runs"));
        kill_process(postmaster, signal).unwrap();
        for process in self.processes() {
            // It may have ended since.
            let _ = kill_process(process, signal);
        }
    }

    /// The postmaster and what it started.
    fn processes(&self) -> Vec<Pid> {
        let postmaster = Pid::from_child(self.postmaster.as_ref().expect("it runs"));
        let output = Command::new("ps").args(["-A", "-o", "pid=", "-o", "ppid="]).output().unwrap();
        let parent = postmaster.as_raw_nonzero().to_string();
        let mut processes = vec![postmaster];
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let mut words = line.split_whitespace();
            if let (Some(child), Some(of)) = (words.next(), words.next())
                && of == parent
            {
                processes.extend(Pid::from_raw(child.parse().unwrap()));
            }
        }
        processes
    }

    pub(crate) async fn session(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        let mut session = self.session().await;
        session.execute(sqlx::raw_sql(sql)).await.unwrap();
        session.close().await.unwrap();
    }

    /// What it is, for the table.
    pub(crate) async fn label(&self) -> String {
        let mut session = self.session().await;
        let version: String =
            sqlx::query_scalar("show server_version").fetch_one(&mut session).await.unwrap();
        format!("PostgreSQL {}", version.split_whitespace().next().unwrap())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.postmaster.is_some() {
            // A frozen one cannot stop.
            self.thaw();
            self.stop(Stop::Immediate);
        }
    }
}

/// A program of PostgreSQL's, run as somebody whom it does not refuse.
fn program(name: &str, folder: &Path, launcher: &[String]) -> Command {
    let bin = std::env::var_os("TEST_POSTGRES_BIN").filter(|bin| !bin.is_empty()).expect(
        "TEST_POSTGRES_BIN is not set: run ./scripts/test, which finds PostgreSQL's programs",
    );
    let mut path = Path::new(&bin).join(name);
    // Programs of clients may be elsewhere.
    if !path.exists() {
        path = name.into();
    }
    let mut words = launcher.iter().map(OsStr::new).chain([path.as_os_str()]);
    let mut command = Command::new(words.next().expect("there is the path at least"));
    command.args(words);
    command.current_dir(folder).stdin(Stdio::null());
    if let Some((user, group)) = owner() {
        command.uid(user).gid(group);
    }
    command
}

/// Whom a cluster belongs to, where that must be another: PostgreSQL refuses to run as root.
fn owner() -> Option<(u32, u32)> {
    let name = std::env::var("TEST_POSTGRES_OWNER").ok().filter(|name| !name.is_empty())?;
    let id = |flag: &str| {
        let output = Command::new("id").args([flag, &name]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    Some((id("-u"), id("-g")))
}

fn owned_folder() -> tempfile::TempDir {
    // In /tmp whatever TMPDIR is: its owner may have to reach it, and the path of a socket must be short.
    let folder = tempfile::Builder::new().prefix("trtc-faults.").tempdir_in("/tmp").unwrap();
    if let Some((user, group)) = owner() {
        std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).unwrap();
    }
    folder
}
