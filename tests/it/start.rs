//! What the real program says on its start, and what it refuses to start with.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::Value;

use crate::doctor::{assert_check, examined};
use crate::process::{Serving, done, failed, program};
use crate::support::{APP, eventually, on_both_stores};

/// A `serve` whose log goes to a file, ended with this value.
pub(crate) struct Logged {
    child: Child,
    log: std::path::PathBuf,
}

impl Logged {
    pub(crate) fn start(mut program: Command, folder: &Path, arguments: &[&str]) -> Self {
        let log = folder.join("serve.log");
        let child = program
            .args(["serve", "--sdk-app-id", APP, "--ops-listen", "127.0.0.1:0"])
            .args(arguments)
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// All it said so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The first line whose message begins so, once it is there.
    pub(crate) async fn line(&self, message: &str) -> Value {
        let find = || self.lines().into_iter().find(|line| says(line, message));
        eventually(message, || async { find().is_some() }).await;
        find().unwrap()
    }
}

fn says(line: &Value, message: &str) -> bool {
    line["message"].as_str().is_some_and(|said| said.starts_with(message))
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_authentication_warns_once() {
    type Variables = &'static [(&'static str, &'static str)];
    const OPEN: &str = "unsigned requests are taken at a path that is easy to guess";
    const TOKEN: (&str, &str) = ("TRTC_CALLBACK_TOKEN", "t0ken");
    const KEY: (&str, &str) = ("TRTC_RTC_KEY", "k3y");
    const PATH: (&str, &str) = ("TRTC_SERVER__CALLBACK_PATHS", "/zq8s");
    const ADDRESSES: (&str, &str) = ("TRTC_AUTH__SOURCE_ADDRESSES", "10.0.0.0/8");
    let cases: [(&str, Variables, bool); 8] = [
        ("0.0.0.0:0", &[], true),
        ("[::]:0", &[], true),
        ("127.0.0.1:0", &[], false),
        ("0.0.0.0:0", &[TOKEN, KEY], false),
        // One dialect is open still.
        ("0.0.0.0:0", &[TOKEN], true),
        ("0.0.0.0:0", &[KEY], true),
        ("0.0.0.0:0", &[PATH], false),
        ("0.0.0.0:0", &[ADDRESSES], false),
    ];
    for (listen, env, is_open) in cases {
        if listen.starts_with('[') && std::net::TcpListener::bind("[::]:0").is_err() {
            eprintln!("SKIPPED: this machine has no IPv6 to listen on");
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut command = program(folder.path());
        command.envs(env.iter().copied());
        // What it says on its start is said before a stop.
        let mut logged = Logged::start(command, folder.path(), &["--listen", listen]);
        logged.line("ready for callbacks").await;
        let id = logged.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(logged.child.wait().unwrap().success());
        let lines = logged.lines();
        let said: Vec<&Value> = lines.iter().filter(|line| says(line, OPEN)).collect();
        assert_eq!(said.len(), usize::from(is_open), "{listen} {env:?}: {said:#?}");
        for line in said {
            assert_eq!((line["level"].as_str(), line["path"].as_str()), (Some("WARN"), Some("/")));
            assert!(line["hint"].as_str().unwrap().contains("TRTC_CALLBACK_TOKEN"), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_a_kubernetes_service_are_ignored_with_a_notice() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(folder.path());
    command.envs([("TRTC_PORT", "tcp://10.0.0.1:80"), ("TRTC_SERVICE_HOST", "10.0.0.1")]);
    let logged = Logged::start(command, folder.path(), &["--listen", "127.0.0.1:0"]);
    let line = logged.line("ignored, as Kubernetes sets them").await;
    assert_eq!(line["variables"], "TRTC_PORT, TRTC_SERVICE_HOST");
    logged.line("ready for callbacks").await;
}

#[test]
fn a_failed_start_names_the_form_the_line_and_the_variable() {
    let folder = tempfile::tempdir().unwrap();
    let app = ["serve", "--sdk-app-id", APP];
    for listen in [":24081", "localhost:24081"] {
        let said = failed(folder.path(), &[&app[..], &["--listen", listen]].concat(), 1);
        assert!(said.contains("hint: give 0.0.0.0:24081 for every address"), "{said}");
    }
    fs::write(folder.path().join("my.toml"), "[ingest]\nlanes = [1\n").unwrap();
    let said = failed(folder.path(), &[&app[..], &["--config", "my.toml"]].concat(), 1);
    assert!(said.contains("invalid TOML at line 2, column ") && said.contains("my.toml"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = failed(folder.path(), &[&app[..], &["--listen", &address]].concat(), 1);
    assert!(said.contains("\nhint: another process holds the port"), "{said}");
}

on_both_stores! {
    async fn a_migration_that_cannot_work_ends_the_start(database: Database) {
        let store = database.store().await;
        store.migrate().await.unwrap();
        store.close().await;
        // As if it had not run: its tables are in its way.
        database.execute("delete from _sqlx_migrations where version = 5").await;
        let folder = tempfile::tempdir().unwrap();
        let serve = ["serve", "--sdk-app-id", APP, "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];
        let said = failed(folder.path(), &[&serve[..], &["--store", &database.url]].concat(), 1);
        assert!(said.contains(": migration 5: "), "{said}");
        assert!(said.contains("already exists") && said.contains("\nhint: "), "{said}");
    }
}

#[test]
fn doctor_fails_where_serve_could_not_make_its_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("plain"), "").unwrap();
    let (code, checks) = examined(folder.path(), &["--store", "sqlite://plain/x.db"]);
    assert_check(&checks, "store", "fail", "`serve` could not create it: ");
    assert_check(&checks, "spool", "ok", "there is no data/spool.db yet");
    assert_eq!(code, 1);
    // Nobody may write there but root, whom nothing keeps from it.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let mut command = program(folder.path());
    command.args(["doctor", "--json", "--sdk-app-id", APP]);
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = command.output();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let Ok(output) = output else {
        eprintln!("SKIPPED: nobody but root may run the program here");
        return;
    };
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = found["checks"].as_array().unwrap();
    assert_check(checks, "store", "fail", "Permission denied");
    assert_check(checks, "spool", "fail", "Permission denied");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn plain_http_needs_no_certificates_of_a_ca() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &[]);
    fs::write(folder.path().join("none.pem"), "").unwrap();
    let output = program(folder.path())
        .args(["send", "Room.CallbackAfterDestroyRoom", "--to", &serving.url])
        .env("SSL_CERT_FILE", "none.pem")
        .env("SSL_CERT_DIR", "none")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    serving.stop();
}

#[test]
fn an_unknown_account_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate"]);
    let erase = ["erase-user", "nobody", "--dry-run"];
    let output = program(folder.path()).args(erase).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("no such account was found"), "{said}");
}
