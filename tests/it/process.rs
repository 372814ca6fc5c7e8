//! The real program as a process: its commands, its output, its signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::Value;

use crate::entrances::exchange;
use crate::support::{APP, DESTROY_ROOM, Database, Figures, OK, destroy_room, eventually};

const PROGRAM: &str = env!("CARGO_BIN_EXE_trtc-callbacks");

pub(crate) fn program(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    // Nothing of the machine's own environment reaches the program.
    let kept = std::env::vars_os().filter(|(name, _)| name == "PATH");
    command.current_dir(folder).env_clear().envs(kept).stdin(Stdio::null());
    command
}

pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    program(folder).args(arguments).output().unwrap()
}

/// Runs it, expects success, and returns what it printed.
pub(crate) fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs it, expects failure with this exit code, and returns what it said.
pub(crate) fn failed(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    assert!(output.stdout.is_empty(), "an error belongs on stderr");
    String::from_utf8(output.stderr).unwrap()
}

/// A running `serve`.
pub(crate) struct Serving {
    child: Child,
    errors: Receiver<String>,
    pub(crate) url: String,
    pub(crate) ops_url: String,
}

impl Serving {
    /// Returns when its store takes events: a busy machine may keep it from that for longer than a start waits, and what is
    /// sent to it before is in its spool for a while.
    pub(crate) fn start(folder: &Path, more: &[&str]) -> Self {
        Self::start_as(program(folder), more).with_store()
    }

    /// The same, once its store takes events.
    pub(crate) fn with_store(self) -> Self {
        let begun = std::time::Instant::now();
        while self.readiness().contains("\nstore: ") {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", self.readiness());
            std::thread::sleep(Duration::from_millis(10));
        }
        self
    }

    /// One whose store does not take events.
    pub(crate) fn start_without_store(folder: &Path, more: &[&str]) -> Self {
        Self::start_as(program(folder), more)
    }

    /// What `/readyz` answers, head and all.
    fn readiness(&self) -> String {
        let mut stream = TcpStream::connect(self.ops_url.trim_start_matches("http://")).unwrap();
        stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// One whose events can go to the store and the error log only.
    pub(crate) fn start_without_spool(folder: &Path, more: &[&str]) -> Self {
        let mut command = program(folder);
        command.env("TRTC_SPOOL__PATH", "");
        Self::start_as(command, more)
    }

    pub(crate) fn start_as(program: Command, more: &[&str]) -> Self {
        Self::start_as_after(program, more, |_| {})
    }

    /// One that writes a line with this message before it is ready.
    pub(crate) fn start_and_see(program: Command, message: &str) -> Self {
        Self::start_as_after(program, &[], |serving| {
            serving.next_error(|line| line["message"] == message);
        })
    }

    fn start_as_after(mut program: Command, more: &[&str], before: impl Fn(&Self)) -> Self {
        let mut child = program
            .args(["serve", "--sdk-app-id", APP, "--listen", "127.0.0.1:0"])
            .args(["--ops-listen", "127.0.0.1:0"])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Few, so that a test that does not read keeps the program's pipe full.
        let (lines, errors) = sync_channel(16);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let mut serving = Self { child, errors, url: String::new(), ops_url: String::new() };
        before(&serving);
        let ready = serving.next_error(|line| line["message"] == "ready for callbacks");
        let address = |key: &str| format!("http://{}", ready[key].as_str().unwrap());
        (serving.url, serving.ops_url) = (address("listen"), address("ops.listen"));
        serving
    }

    /// The next line of its stderr that is JSON and wanted.
    pub(crate) fn next_error(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.errors.recv_timeout(Duration::from_secs(30));
            let line = line.expect("the line was not written, or not in time");
            match serde_json::from_str(&line) {
                Ok(json) if wanted(&json) => return json,
                _ => {}
            }
        }
    }

    /// What it writes to stderr up to a line that is wanted, while this is done.
    pub(crate) async fn log_until(
        &self,
        is_wanted: impl Fn(&str) -> bool,
        work: impl AsyncFn(&Self),
    ) -> String {
        let mut log = String::new();
        for _ in 0..60 {
            work(self).await;
            while let Ok(line) = self.errors.recv_timeout(Duration::from_millis(500)) {
                log += &line;
                log.push('\n');
                if is_wanted(&line) {
                    return log;
                }
            }
        }
        panic!("the line was not written: {log}");
    }

    pub(crate) async fn figures(&self) -> Figures {
        let client = trtc_callbacks::tencent_api::http_client().build().unwrap();
        let answer = client.get(format!("{}/metrics", self.ops_url)).send().await.unwrap();
        Figures(answer.text().await.unwrap())
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits for its end, which must be a good one.
    fn wait(mut self) {
        assert!(self.child.wait().unwrap().success());
    }

    pub(crate) fn stop(self) {
        self.signal("-TERM");
        self.wait();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Ended already, or to be ended with its failed test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn lines(json_lines: &str) -> Vec<Value> {
    // A number that is legal JSON, and that this reader cannot hold.
    let readable = json_lines.replace("1e999", "1e99");
    readable.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_sent_command_is_listed_with_family_subject_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &[]);
    let said = done(folder.path(), &["send", "--all", "--to", &serving.url]);
    let commands = lines(&done(folder.path(), &["commands", "--json"]));
    assert_eq!(said, format!("{0} sent: {0} stored\n", commands.len()));

    let events = lines(&done(folder.path(), &["events", "--json", "--limit", "1000"]));
    assert_eq!(events.len(), commands.len());
    for command in &commands {
        let name = &command["command"];
        let event = events.iter().find(|event| event["command"] == *name).unwrap();
        assert_eq!(event["family"], command["family"], "{name}");
        assert_eq!(event["decode_error"], Value::Null, "{name}");
        let about = ["call_id", "room_id", "operator"].iter().any(|key| event[*key].is_string());
        // These name a task alone.
        let names_task = ["rtc_ingest", "rtc_web_recording"].map(Value::from);
        assert!(about || names_task.contains(&event["family"]), "{name} has no subject");
        let time: jiff::Timestamp = event["event_time"].as_str().unwrap().parse().unwrap();
        let received: jiff::Timestamp = event["received_at"].as_str().unwrap().parse().unwrap();
        assert!(
            received.duration_since(time).abs() < jiff::SignedDuration::from_secs(60),
            "{name}"
        );
    }
    let table = done(folder.path(), &["events", "--family", "call"]);
    assert_eq!(table.lines().count(), 5, "{table}");
    serving.stop();
}

#[test]
fn a_sample_can_be_changed_and_signed() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("my.toml");
    std::fs::write(&config, format!("[[apps]]\nsdk_app_id = {APP}\ncallback_tokens = [\"t0ken\"]"))
        .unwrap();
    let serving = Serving::start(folder.path(), &["--config", "my.toml"]);
    let name = "Call.CallbackAfterEndCall";
    let change = ["--set", "CallRecord.CallResult=Reject", "--set", "CallRecord.CallId=77"];
    let to = ["send", name, "--to", &serving.url];
    // Unsigned: answered OK, not stored. With a token, or the configured one: stored.
    failed(folder.path(), &to, 1);
    done(folder.path(), &[&to[..], &change, &["--token", "t0ken"]].concat());
    done(folder.path(), &[&to[..], &change, &["--config", "my.toml", "--count", "2"]].concat());
    let events = lines(&done(folder.path(), &["events", "--json", "--call", "77"]));
    assert_eq!(events.len(), 3);
    assert_eq!(events[0]["payload"]["CallRecord"]["CallResult"], "Reject");
    assert_eq!(lines(&done(folder.path(), &["events", "--json"])).len(), 3);
    serving.stop();
}

#[test]
fn stored_events_and_files_are_replayed() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (source, target) = (Serving::start(one.path(), &[]), Serving::start(two.path(), &[]));
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/protocol/fixtures");
    let count = crate::support::fixtures().len();
    let said = done(one.path(), &["replay", fixtures, "--to", &source.url]);
    assert_eq!(said, format!("{count} sent: {count} stored\n"));

    let to = ["--to", &target.url, "--concurrency", "4"];
    let said = done(one.path(), &[&["replay", "--stored"][..], &to].concat());
    assert!(said.starts_with(&format!("{count} sent: {count} answered OK; whether")), "{said}");
    assert!(said.contains("it is the store that the events were read from"), "{said}");
    // Through a file, and again: what can be recognised is.
    let dump = done(one.path(), &["events", "--json", "--limit", "1000"]);
    std::fs::write(one.path().join("dump.jsonl"), dump).unwrap();
    let store = format!("sqlite://{}/data/trtc-callbacks.db", two.path().display());
    done(one.path(), &[&["replay", "dump.jsonl", "--store", &store][..], &to].concat());

    let rows = |folder| lines(&done(folder, &["events", "--json", "--limit", "1000"]));
    let repeatable = |event: &Value| event["id"].as_str().unwrap().as_bytes()[14] == b'8';
    let of = |folder| -> Vec<Value> {
        let mut rows: Vec<_> = rows(folder).into_iter().filter(repeatable).collect();
        for row in &mut rows {
            row["received_at"] = Value::Null;
        }
        rows
    };
    assert!(of(one.path()).len() > 60);
    assert_eq!(of(one.path()), of(two.path()));
    source.stop();
    target.stop();
}

#[test]
fn replay_keeps_the_pauses_when_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &[]);
    let record = |second: u32| {
        format!(
            "{{\"query\":\"SdkAppid={APP}\",\"body\":{{\"CallbackCommand\":\"{DESTROY_ROOM}\",\"EventTime\":17934000{second:02}000}}}}\n"
        )
    };
    std::fs::write(folder.path().join("two.jsonl"), record(0) + &record(30)).unwrap();
    let begun = std::time::Instant::now();
    done(folder.path(), &["replay", "two.jsonl", "--to", &serving.url, "--speed", "60"]);
    assert!(begun.elapsed() >= Duration::from_millis(500));
    serving.stop();
}

#[test]
fn follow_shows_an_event_when_it_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &[]);
    done(folder.path(), &["send", "Room.CallbackAfterCreateRoom", "--to", &serving.url]);
    let mut following = program(folder.path())
        .args(["events", "--follow", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&shown.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["command"], "Room.CallbackAfterCreateRoom");
    done(folder.path(), &["send", DESTROY_ROOM, "--to", &serving.url]);
    assert_eq!(next()["command"], DESTROY_ROOM);
    following.kill().unwrap();
    following.wait().unwrap();
    serving.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn unstored_events_are_replayed_from_the_error_log() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start_without_spool(folder.path(), &["--store", &database.url]);
    database.execute("alter table events rename to away").await;
    let name = "Call.CallbackAfterStartCall";
    done(folder.path(), &["send", name, "--to", &serving.url]);
    let line = serving.next_error(|line| line["not_stored"].is_string());
    assert_eq!(line["body"]["CallbackCommand"], name);
    database.execute("alter table away rename to events").await;
    assert_eq!(database.rows().await, 0);

    let log = format!("some other line\n{line}\n{{\"level\":\"INFO\"}}\n");
    std::fs::write(folder.path().join("errors.log"), log).unwrap();
    done(folder.path(), &["replay", "errors.log", "--to", &serving.url]);
    done(folder.path(), &["replay", "errors.log", "--to", &serving.url]);
    assert_eq!(database.rows().await, 1);
    let id = line["id"].as_str().unwrap();
    let same = format!("select count(*) from events where id = '{id}'");
    assert_eq!(database.count(&same).await, 1);
    serving.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_error_log_delays_no_answer() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start_without_spool(folder.path(), &["--store", &database.url]);
    database.execute("alter table events rename to away").await;
    let client = trtc_callbacks::tencent_api::http_client()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let mut posts = tokio::task::JoinSet::new();
    for number in 0..100 {
        let url = format!("{}/?SdkAppid={APP}", serving.url);
        // Together far more than a pipe holds.
        let body = format!(r#"{{"Number":{number},"Text":"{}"}}"#, "x".repeat(8000));
        let post = client.post(url).body(body);
        posts.spawn(async move { post.send().await.unwrap().text().await.unwrap() });
    }
    assert_eq!(posts.join_all().await, vec![OK; 100]);
}

#[test]
fn many_connections_at_once_wait_for_a_busy_server() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &[]);
    let address: std::net::SocketAddr = serving.url.trim_start_matches("http://").parse().unwrap();
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let most = most.trim().parse::<usize>().unwrap().min(500);
    // So it accepts none; the system itself holds as many as it was told to.
    serving.signal("-STOP");
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_secs(10));
    let waiting: Result<Vec<_>, _> = (0..most).map(connect).collect();
    serving.signal("-CONT");
    assert_eq!(waiting.unwrap().len(), most);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_loses_nothing_in_flight() {
    for signal in ["-TERM", "-INT"] {
        // A request is under way for its deadline only; on a busy machine not all eight may be seen in that time.
        let mut tries = 1;
        while !stopped_with_eight_under_way(signal).await {
            assert!(tries < 10, "{signal}: in no try were all seen under way");
            tries += 1;
        }
    }
}

/// Whether all were under way when the signal came. Whatever it was: all are answered, and none is lost.
async fn stopped_with_eight_under_way(signal: &str) -> bool {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &["--store", &database.url]);
    // The store stands still while requests are under way, and moves on after the signal.
    let mut lock = Lock::take(&database, "events").await;
    let posts = post_eight(&serving);
    let all_are = async {
        while serving.figures().await.value("trtc_queue_events") < 8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Longer than the deadline.
    let seen = tokio::time::timeout(Duration::from_secs(2), all_are).await.is_ok();
    serving.signal(signal);
    serving.next_error(|line| line["message"] == "stopping");
    lock.release().await;
    assert_eq!(posts.join_all().await, vec![OK; 8]);
    serving.wait();
    // Where the machine is so slow that their time was over, they are in the spool.
    until_eight_are_stored(&database, folder.path()).await;
    seen
}

/// Until its tables are known to be right nothing is written to the store, also where that lasts until the stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_before_the_store_was_ready_loses_nothing() {
    for signal in ["-TERM", "-INT"] {
        let database = Database::postgres().await;
        let folder = tempfile::tempdir().unwrap();
        done(folder.path(), &["migrate", "--store", &database.url]);
        // As a busy machine may keep the server from what it looks at first.
        let mut lock = Lock::take(&database, "_sqlx_migrations").await;
        let serving = Serving::start_as(program(folder.path()), &["--store", &database.url]);
        assert_eq!(post_eight(&serving).join_all().await, vec![OK; 8]);
        assert_eq!(serving.figures().await.outcome("spooled"), 8);
        serving.signal(signal);
        serving.wait();
        lock.release().await;
        assert_eq!(database.rows().await, 0);
        until_eight_are_stored(&database, folder.path()).await;
    }
}

/// Posts eight events at once; what they are answered.
fn post_eight(serving: &Serving) -> tokio::task::JoinSet<String> {
    let client = trtc_callbacks::tencent_api::http_client()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let mut posts = tokio::task::JoinSet::new();
    for number in 0..8 {
        let url = format!("{}/?SdkAppid={APP}", serving.url);
        let post = client.post(url).body(destroy_room(number));
        posts.spawn(async move { post.send().await.unwrap().text().await.unwrap() });
    }
    posts
}

/// Holds that eight events are in the store, or in the spool, from which the next start brings them there.
async fn until_eight_are_stored(database: &Database, folder: &Path) {
    if database.rows().await < 8 {
        let again = Serving::start(folder, &["--store", &database.url]);
        eventually("the spool is drained", || async { database.rows().await == 8 }).await;
        again.stop();
    }
    assert_eq!(database.rows().await, 8);
}

/// Keeps all others from a table.
struct Lock(sqlx::PgConnection);

impl Lock {
    async fn take(database: &Database, table: &str) -> Self {
        let mut session =
            <sqlx::PgConnection as sqlx::Connection>::connect(&database.url).await.unwrap();
        let lock = format!("lock table {table} in access exclusive mode");
        for sql in ["begin", &lock] {
            sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut session).await.unwrap();
        }
        Self(session)
    }

    async fn release(&mut self) {
        sqlx::query("rollback").execute(&mut self.0).await.unwrap();
    }
}

#[test]
fn a_second_server_on_one_spool_refuses_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &[]);
    let other = ["serve", "--sdk-app-id", APP, "--store", "sqlite://other.db"];
    let ports = ["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];
    let said = failed(folder.path(), &[&other[..], &ports].concat(), 1);
    assert!(said.contains("open the spool `data/spool.db`: another server uses it"), "{said}");
    assert!(said.contains("hint: give each server a spool of its own"), "{said}");
    done(folder.path(), &["send", DESTROY_ROOM, "--to", &serving.url]);
    serving.stop();
    Serving::start(folder.path(), &[]).stop();
}

#[test]
fn no_secret_body_or_query_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("my.toml"),
        format!(
            "[log]\nfilter = \"trace\"\n[[apps]]\nsdk_app_id = {APP}\ncallback_tokens = [\"t0ken\"]"
        ),
    )
    .unwrap();
    let serving = Serving::start(folder.path(), &["--config", "my.toml"]);
    let send = ["send", "Call.CallbackAfterEndCall", "--set", "Secret=b0dytext", "--to"];
    let with = |token| [&send[..], &[&serving.url, "--token", token]].concat();
    done(folder.path(), &with("t0ken"));
    failed(folder.path(), &with("wr0ng"), 1);
    // A key of one's own, on a callback path and on none.
    for path in ["/", "/lost"] {
        let head = format!(
            "POST {path}?own=0wnkey&SdkAppid={APP} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2"
        );
        exchange(&serving.url, format!("{head}\r\n\r\n{{}}").as_bytes());
    }
    serving.signal("-TERM");
    let mut log = String::new();
    while let Ok(line) = serving.errors.recv_timeout(Duration::from_secs(30)) {
        // What the HTTP library says at trace level is its own affair, and off by default.
        if line.contains("\"target\":\"trtc_callbacks") {
            log += &line;
        }
    }
    assert!(log.contains("sign_wrong"), "{log}");
    assert!(log.contains("path_unknown"), "{log}");
    for secret in
        ["t0ken", "wr0ng", "b0dytext", "0wnkey", "/lost", "Sign=", "RequestTime", "SdkAppid="]
    {
        assert!(!log.contains(secret), "{secret} stands in {log}");
    }
}

#[test]
fn a_failed_start_names_the_cause_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let said = failed(folder.path(), &["serve"], 1);
    assert!(said.starts_with("error: no app is configured"), "{said}");
    assert!(said.contains("\nhint: give `--sdk-app-id 1400000001`"), "{said}");
    assert!(!folder.path().join("data").exists(), "a refused start left files");

    let app = ["serve", "--sdk-app-id", APP];
    let said = failed(folder.path(), &[&app[..], &["--store", "mysql://x"]].concat(), 1);
    assert!(said.contains("names no kind of store"), "{said}");
    assert!(said.contains("\nhint: give `postgres://"), "{said}");
    let said = failed(folder.path(), &[&app[..], &["--store", "sqlite::memory:"]].concat(), 1);
    assert!(said.contains("forgets every event"), "{said}");
    let said = failed(folder.path(), &[&app[..], &["--listen", "nowhere"]].concat(), 1);
    assert!(said.contains("`server.listen`"), "{said}");
    let said = failed(folder.path(), &[&app[..], &["--config", "missing.toml"]].concat(), 1);
    assert!(said.contains("`missing.toml`"), "{said}");
    failed(folder.path(), &["serve", "--no-such-flag"], 2);
    failed(folder.path(), &["nonsense"], 2);

    let said = failed(folder.path(), &["events"], 1);
    assert!(said.contains("there is no SQLite file `data/trtc-callbacks.db`"), "{said}");
    let said = failed(folder.path(), &["send", "Call.CallbackAfterEnd"], 1);
    assert!(said.contains("did you mean Call.CallbackAfterEndCall?"), "{said}");
    let said = failed(folder.path(), &["send", "--all", "--to", "http://127.0.0.1:1/"], 1);
    assert!(said.contains("post to http://127.0.0.1:1:"), "{said}");
    assert!(!said.contains("SdkAppid"), "{said}");
    for (variable, flag) in [("TRTC_CALLBACK_TOKEN", "--token"), ("TRTC_RTC_KEY", "--rtc-key")] {
        let with_secret = |more: &[&str]| {
            let send = ["send", "--all", "--to", "http://127.0.0.1:1/"];
            let mut command = program(folder.path());
            let output = command.args(send).args(more).env(variable, "t").output().unwrap();
            String::from_utf8(output.stderr).unwrap()
        };
        assert!(with_secret(&[]).contains(&format!("{variable} is set, but no app")));
        assert!(with_secret(&[flag, "t"]).contains("post to http://127.0.0.1:1:"));
    }
    let said = failed(folder.path(), &["replay", "nothing.json"], 1);
    assert!(said.contains("there is no file `nothing.json`"), "{said}");
}

#[test]
fn the_configuration_can_be_checked_and_printed() {
    let folder = tempfile::tempdir().unwrap();
    let printed = done(folder.path(), &["default-config"]);
    std::fs::write(folder.path().join("all.toml"), printed).unwrap();
    let check = ["check-config", "--config", "all.toml", "--sdk-app-id", APP];
    let said = done(folder.path(), &check);
    assert!(said.starts_with("the configuration is valid\n"), "{said}");
    assert!(said.contains("unsigned requests are taken"), "{said}");
    assert!(!folder.path().join("data").exists());
    let by_variable = program(folder.path())
        .args(["check-config", "--sdk-app-id", APP])
        .env("TRTC_CONFIG", "missing.toml")
        .output()
        .unwrap();
    let said_by_variable = String::from_utf8(by_variable.stderr).unwrap();
    assert!(said_by_variable.contains("`missing.toml`"), "{said_by_variable}");
    let mut file =
        std::fs::File::options().append(true).open(folder.path().join("all.toml")).unwrap();
    writeln!(file, "[ingest2]\nlane = 1").unwrap();
    let said = failed(folder.path(), &check, 1);
    assert!(said.contains("there is no key `ingest2.lane`"), "{said}");
    assert!(said.contains("did you mean `ingest.lanes`?"), "{said}");
}

#[test]
fn migrate_creates_tables_and_healthcheck_sets_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let said = done(folder.path(), &["migrate"]);
    assert_eq!(said, "the store sqlite://data/trtc-callbacks.db is up to date\n");
    done(folder.path(), &["migrate"]);
    let serving = Serving::start(folder.path(), &[]);
    assert_eq!(done(folder.path(), &["healthcheck", "--url", &serving.ops_url]), "ok\n");
    assert_eq!(done(folder.path(), &["healthcheck", "--ready", "--url", &serving.ops_url]), "ok\n");
    let url = serving.ops_url.clone();
    serving.stop();
    failed(folder.path(), &["healthcheck", "--url", &url], 1);
}

#[test]
fn help_and_completions_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let mut help = done(folder.path(), &["--help"]);
    for command in [
        "serve",
        "migrate",
        "check-config",
        "events",
        "send",
        "replay",
        "simulate",
        "commands",
        "doctor",
        "erase-user",
        "rebuild",
        "healthcheck",
    ] {
        let page = done(folder.path(), &[command, "-h"]);
        help = format!("{help}\n--- {command} -h\n{page}");
    }
    let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
    assert_eq!(wide, Vec::<&str>::new());
    insta::assert_snapshot!(help);
    // The long help has what the short one has no room for.
    let page = done(folder.path(), &["replay", "--help"]);
    assert!(page.contains("\nExamples:\n"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        let script = done(folder.path(), &["completions", shell]);
        assert!(script.contains("check-config"), "{shell}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn few_file_descriptors_limit_connections_and_block_nobody() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    let folder = tempfile::tempdir().unwrap();
    let usual = program(folder.path());
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 160 && exec \"$0\" \"$@\"", PROGRAM]);
    limited.current_dir(folder.path()).env_clear().stdin(Stdio::null());
    limited.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let serving = Serving::start_as(limited, &[]);
    let address = serving.url.trim_start_matches("http://").to_owned();
    let flood = |number: usize| -> Vec<TcpStream> {
        (0..number).map(|_| TcpStream::connect(&address).unwrap()).collect()
    };
    let send =
        || done(folder.path(), &["send", "Room.CallbackAfterDestroyRoom", "--to", &serving.url]);

    // The server grants itself fewer places than `connections_max`, so that its stores can open what they need.
    let many = flood(200);
    send();
    assert!(serving.figures().await.value("trtc_connections") <= 80);

    // The limit may be lowered under it, or the whole system be out of descriptors.
    let limit = Rlimit { current: Some(60), maximum: Some(60) };
    prlimit(Pid::from_raw(i32::try_from(serving.child.id()).unwrap()), Resource::Nofile, limit)
        .unwrap();
    drop(many);
    let more = flood(200);
    send();
    let warned = serving.next_error(|line| line["message"] == "accept a connection");
    assert_eq!(warned["level"], "WARN");
    assert_eq!(warned["suppressed"], 0);
    drop(more);
    assert_eq!(lines(&done(folder.path(), &["events", "--json"])).len(), 2);
    serving.stop();
}
