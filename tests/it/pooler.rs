//! A real `PgBouncer` between the server and PostgreSQL.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::doctor::{assert_check, examined};
use crate::ports::free_port;
use crate::process::{Serving, done, failed, program};
use crate::sessions::{EXPECTED, SEEN};
use crate::support::{DESTROY_ROOM, Database, Server, destroy_room, settings};

/// How long it may take to listen.
const START: Duration = Duration::from_secs(30);

struct Pooler {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// With its own defaults, and these settings.
    fn start(settings: &[&str]) -> Self {
        // Where its own user may read it.
        let folder = tempfile::Builder::new().prefix("trtc-pooler.").tempdir_in("/tmp").unwrap();
        let owner = owner();
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let port = free_port();
        let config = folder.path().join("pgbouncer.ini");
        std::fs::write(&config, configuration(port, settings)).unwrap();
        let mut command = Command::new(pgbouncer());
        command.arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some((user, group)) = owner {
            command.uid(user).gid(group);
        }
        let child = command.spawn().expect("run ./scripts/test, which finds PgBouncer");
        let mut pooler = Self { child, port, _folder: folder };
        if !pooler.listens() {
            let _ = pooler.child.kill();
            let mut said = String::new();
            pooler.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("PgBouncer did not start: {said}");
        }
        // Nobody reads on: it says a line for each connection, far less than a pipe holds.
        pooler
    }

    fn listens(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < START && self.child.try_wait().unwrap().is_none() {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// The database, through it.
    fn url(&self, database: &Database) -> String {
        let name = database.url.rsplit('/').next().unwrap();
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pgbouncer() -> String {
    let given = std::env::var("TEST_PGBOUNCER").ok().filter(|path| !path.is_empty());
    given.unwrap_or_else(|| "pgbouncer".to_owned())
}

/// Whom PostgreSQL belongs to where that must be another: `PgBouncer` refuses to run as root, too.
fn owner() -> Option<(u32, u32)> {
    let name = std::env::var("TEST_POSTGRES_OWNER").ok().filter(|name| !name.is_empty())?;
    let id = |flag: &str| {
        let output = Command::new("id").args([flag, &name]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    Some((id("-u"), id("-g")))
}

fn configuration(port: u16, settings: &[&str]) -> String {
    let url = std::env::var("TEST_POSTGRES_URL").expect("run ./scripts/test");
    let (_, rest) = url.split_once("://").unwrap();
    let (user, place) = rest.split_once('@').unwrap();
    let (host, of_host) = place.split_once('/').unwrap().0.split_once(':').unwrap();
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let password =
        if password.is_empty() { String::new() } else { format!(" password={password}") };
    format!(
        "[databases]\n* = host={host} port={of_host} user={user}{password}\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nunix_socket_dir =\n{}\n",
        settings.join("\n")
    )
}

fn post(folder: &Path, serving: &Serving) {
    done(folder, &["send", DESTROY_ROOM, "--to", &serving.url]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_setting_applies_behind_a_pooler() {
    let ignoring = "ignore_startup_parameters = extra_float_digits,options";
    for settings_of_pooler in [&[][..], &[ignoring]] {
        let database = Database::postgres().await;
        let pooler = Pooler::start(settings_of_pooler);
        database.store().await.migrate().await.unwrap();
        database.execute(SEEN).await;
        let url = pooler.url(&database);
        let server = Server::start_with(settings(&database, &[("TRTC_STORE__URL", &url)])).await;
        server.post_body(DESTROY_ROOM, destroy_room(1)).await;
        assert_eq!(server.figures().await.outcome("stored"), 1);
        assert_eq!(database.texts("select what from seen").await, [EXPECTED]);
        let folder = tempfile::tempdir().unwrap();
        let (_, checks) = examined(folder.path(), &["--store", &url]);
        assert_check(&checks, "writing", "ok", "rolled back");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_a_pooler_refuses_is_named_with_its_setting() {
    let database = Database::postgres().await;
    let pooler = Pooler::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}?options[search_path]=public", pooler.url(&database));
    let said = failed(folder.path(), &["migrate", "--store", &url], 1);
    assert!(said.contains("unsupported startup parameter: options\nhint: "), "{said}");
    assert!(said.contains("`ignore_startup_parameters = extra_float_digits,options`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_transaction_pooler_events_go_to_the_spool() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate", "--store", &database.url]);
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(&[&format!("pool_mode = {mode}")]);
        let url = pooler.url(&database);
        let serving = Serving::start_without_store(folder.path(), &["--store", &url]);
        let said = serving.next_error(|line| line["reason"].is_string());
        assert!(said["reason"].as_str().unwrap().contains("`pool_mode = transaction`"), "{said}");
        assert!(said["hint"].as_str().unwrap().contains("set `pool_mode = session`"), "{said}");
        post(folder.path(), &serving);
        serving.stop();
        let (code, checks) = examined(folder.path(), &["--store", &url]);
        assert_check(&checks, "store", "fail", "a pooler that shares sessions");
        assert_check(&checks, "spool", "warn", "events that wait in data/spool.db");
        assert_eq!(code, 1);
    }
    assert_eq!(database.rows().await, 0);
    // They come into the store once it is reached by another way.
    let serving = Serving::start(folder.path(), &["--store", &database.url]);
    crate::support::eventually("the spool is drained", || async { database.rows().await == 2 })
        .await;
    serving.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_through_a_transaction_pooler_has_a_hint() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate", "--store", &database.url]);
    let pooler = Pooler::start(&["pool_mode = transaction", "default_pool_size = 1"]);
    let url = pooler.url(&database);
    // What one leaves prepared, the next stumbles over, unless the pooler has closed that connection meanwhile.
    let mut said = String::new();
    for _ in 0..20 {
        if said.contains("hint: ") {
            break;
        }
        let output = program(folder.path()).args(["events", "--store", &url]).output().unwrap();
        said += &String::from_utf8(output.stderr).unwrap();
    }
    assert!(said.contains("hint: set `pool_mode = session`"), "{said}");
}
