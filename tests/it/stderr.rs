//! Standard error that takes nothing: a pipe that nobody reads or whose reader is gone, a full disk. The real program
//! answers, stores and ends all the same, and what it says comes in whole lines.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde_json::Value;

use crate::process::{done, program};
use crate::support::{APP, Database, Figures, OK, destroy_room, eventually};

/// A running `serve` whose stderr is the test's affair.
struct Serving {
    child: Child,
    url: String,
    ops_url: String,
    client: reqwest::Client,
}

impl Serving {
    /// Starts it and returns when its store takes events; what it logs may never be seen.
    async fn start(mut command: Command, stderr: impl Into<Stdio>) -> Self {
        let [public, ops] = [free_address(), free_address()];
        let child = command
            .args(["serve", "--sdk-app-id", APP, "--listen", &public, "--ops-listen", &ops])
            .stderr(stderr)
            .spawn()
            .unwrap();
        let client = trtc_callbacks::tencent_api::http_client()
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        let (url, ops_url) = (format!("http://{public}"), format!("http://{ops}"));
        let serving = Self { child, url, ops_url, client };
        eventually("it is ready", || async {
            let answer = serving.client.get(format!("{}/readyz", serving.ops_url)).send().await;
            let Ok(answer) = answer else { return false };
            answer.status().is_success() && !answer.text().await.unwrap().contains("store: ")
        })
        .await;
        serving
    }

    /// Posts all of them at once, and expects OK for each.
    async fn post(&self, requests: impl Iterator<Item = (String, String)>) {
        let mut posts = tokio::task::JoinSet::new();
        for (query, body) in requests {
            let post = self.client.post(format!("{}/{query}", self.url)).body(body);
            posts.spawn(async move { post.send().await.unwrap().text().await.unwrap() });
        }
        let answers = posts.join_all().await;
        assert_eq!(answers, vec![OK; answers.len()]);
    }

    async fn is_live(&self) -> bool {
        let url = format!("{}/livez", self.ops_url);
        self.client.get(url).send().await.unwrap().status().is_success()
    }

    async fn figures(&self) -> Figures {
        let url = format!("{}/metrics", self.ops_url);
        Figures(self.client.get(url).send().await.unwrap().text().await.unwrap())
    }

    /// Has it log so many lines at level debug: each of a connection that brings no HTTP.
    fn have_logged(&self, lines: usize) {
        let address = self.url.trim_start_matches("http://");
        for _ in 0..lines {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"no HTTP\r\n\r\n").unwrap();
            // Until it is closed, which may also be by a reset.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }

    /// SIGTERM, and how it ended.
    async fn end(mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        ended(&mut self.child).await
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Ended already, or to be ended with its failed test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn ended(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > Duration::from_secs(15) {
            child.kill().unwrap();
            panic!("it did not end");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Where nothing listens yet, since the server cannot say where it does. No outgoing connection of another test gets such a
/// port meanwhile: those begin at 32768.
fn free_address() -> String {
    let random = || 20_000 + u16::try_from(uuid::Uuid::now_v7().as_u128() % 12_000).unwrap();
    let address = std::iter::repeat_with(|| format!("127.0.0.1:{}", random()));
    address.take(1000).find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

/// A pipe that takes not one byte more, and how many it took.
fn full_pipe() -> (PipeReader, PipeWriter, usize) {
    let (reader, mut writer) = pipe().unwrap();
    let flags = fcntl_getfl(writer.as_fd()).unwrap();
    fcntl_setfl(writer.as_fd(), flags | OFlags::NONBLOCK).unwrap();
    let mut filled = 0;
    for size in [4096, 1] {
        while let Ok(taken) = writer.write(&vec![b'\n'; size]) {
            filled += taken;
        }
    }
    fcntl_setfl(writer.as_fd(), flags).unwrap();
    (reader, writer, filled)
}

/// Honest requests among those that are rejected, for three reasons: each is warned about.
fn traffic(honest: usize) -> impl Iterator<Item = (String, String)> {
    let rejected = ["", "?SdkAppid=x", "?SdkAppid=1400000009"].map(str::to_owned);
    (0..honest).flat_map(move |number| {
        let honest = (format!("?SdkAppid={APP}"), destroy_room(number));
        rejected.clone().into_iter().map(|query| (query, "{}".to_owned())).chain([honest])
    })
}

/// Events that are not alike, each of so many bytes.
fn large(count: usize, bytes: usize) -> impl Iterator<Item = (String, String)> {
    (0..count).map(move |number| {
        let body = format!(r#"{{"Number":{number},"Text":"{}"}}"#, "x".repeat(bytes));
        (format!("?SdkAppid={APP}"), body)
    })
}

fn stored(folder: &Path) -> usize {
    done(folder, &["events", "--json", "--limit", "1000"]).lines().count()
}

/// The program with its stderr closed.
fn with_closed_stderr(folder: &Path) -> Command {
    let usual = program(folder);
    let mut closed = Command::new("sh");
    closed.args(["-c", "exec \"$0\" \"$@\" 2>&-"]).arg(usual.get_program());
    closed.current_dir(folder).env_clear().stdin(Stdio::null());
    closed.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
    closed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stderr_delays_neither_answers_nor_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (_unread, full, _) = full_pipe();
    let serving = Serving::start(program(folder.path()), full).await;
    serving.post(traffic(20)).await;
    assert!(serving.is_live().await);
    assert!(serving.end().await.success());
    assert_eq!(stored(folder.path()), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_stderr_loses_no_event_and_exits_cleanly() {
    let (_, reader_gone) = pipe().unwrap();
    let full_disk = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let stderrs = [
        ("reader gone", Stdio::from(reader_gone)),
        ("full disk", full_disk.into()),
        ("closed", Stdio::null()),
    ];
    for (how, stderr) in stderrs {
        let folder = tempfile::tempdir().unwrap();
        let command = match how {
            "closed" => with_closed_stderr(folder.path()),
            _ => program(folder.path()),
        };
        let serving = Serving::start(command, stderr).await;
        serving.post(traffic(20)).await;
        assert!(serving.is_live().await, "{how}");
        let status = serving.end().await;
        assert!(status.success(), "{how}: {status}");
        assert_eq!(stored(folder.path()), 20, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_exits_with_1_without_a_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let (_unread, full, _) = full_pipe();
    let full_disk = std::fs::File::options().write(true).open("/dev/full").unwrap();
    for stderr in [Stdio::from(full), full_disk.into()] {
        let mut child = program(folder.path()).arg("serve").stderr(stderr).spawn().unwrap();
        assert_eq!(ended(&mut child).await.code(), Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_log_lines_are_counted_and_logged_later() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, full, filled) = full_pipe();
    let mut command = program(folder.path());
    command.env("TRTC_LOG__FILTER", "debug");
    let serving = Serving::start(command, full).await;
    serving.have_logged(2500);
    eventually("lines are dropped", || async {
        serving.figures().await.value("trtc_log_lines_dropped_total") > 0
    })
    .await;

    let mut lines = BufReader::new(reader).lines();
    assert!(lines.by_ref().take(filled).all(|line| line.unwrap().is_empty()));
    // Every one of them is whole.
    let mut logged = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let said = logged.find(|line| line["message"] == "log lines were dropped").unwrap();
    assert!(said["lines"].as_u64().unwrap() > 0, "{said}");
    let reading = std::thread::spawn(move || logged.last().unwrap());
    assert!(serving.end().await.success());
    // Nothing is cut off at the end.
    assert_eq!(reading.join().unwrap()["message"], "stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_a_busy_error_log_are_whole_and_replayable() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = pipe().unwrap();
    let reading = std::thread::spawn(|| -> Vec<String> {
        BufReader::new(reader).lines().map(Result::unwrap).collect()
    });
    let mut command = program(folder.path());
    command.envs([("TRTC_SPOOL__PATH", ""), ("TRTC_LOG__FILTER", "debug")]);
    command.env("TRTC_STORE__URL", &database.url);
    let serving = Serving::start(command, writer).await;
    database.execute("alter table events rename to away").await;
    std::thread::scope(|scope| {
        scope.spawn(|| serving.have_logged(500));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(serving.post(large(200, 8000)));
        });
    });
    assert!(serving.end().await.success());
    database.execute("alter table away rename to events").await;
    assert_eq!(database.rows().await, 0);

    let lines = reading.join().unwrap();
    let kinds = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (events, logged): (Vec<_>, Vec<_>) = kinds.partition(|line| line["not_stored"].is_string());
    assert_eq!(events.len(), 200);
    assert!(logged.len() > 500, "the log was not busy");
    std::fs::write(folder.path().join("errors.log"), lines.join("\n")).unwrap();
    let mut command = program(folder.path());
    command.env("TRTC_STORE__URL", &database.url);
    let again = Serving::start(command, Stdio::null()).await;
    done(folder.path(), &["replay", "errors.log", "--to", &again.url]);
    // On a slow machine some may have taken the way through the spool.
    eventually("all are stored", || async { database.rows().await == 200 }).await;
    assert!(again.end().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_waiting_for_a_full_stderr_delay_no_stop() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let (_unread, full, _) = full_pipe();
    let mut command = program(folder.path());
    command.envs([("TRTC_SPOOL__PATH", ""), ("TRTC_STORE__URL", &database.url)]);
    let serving = Serving::start(command, full).await;
    database.execute("alter table events rename to away").await;
    // 16 MiB may wait.
    serving.post(large(100, 200_000)).await;
    assert!(serving.is_live().await);
    let lost = serving.figures().await.value("trtc_last_resort_total{result=\"lost\"}");
    assert!((10..30).contains(&lost), "{lost}");
    assert!(serving.end().await.success());
}

#[test]
fn a_command_works_without_a_stderr() {
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate"]);
    let full_disk = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status = program(folder.path()).arg("events").stderr(full_disk).status().unwrap();
    assert!(status.success(), "{status}");
}
