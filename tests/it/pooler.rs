//! A real `PgBouncer` between the server and PostgreSQL.

use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Row};

use crate::doctor::{assert_check, examined};
use crate::ports::free_port;
use crate::process::{Serving, done, failed, program};
use crate::sessions::{EXPECTED, SEEN};
use crate::support::{DESTROY_ROOM, Database, Server, destroy_room, settings};

/// How long it may take to listen.
const START: Duration = Duration::from_secs(30);

/// A program between the server and PostgreSQL.
pub(crate) struct Pooler {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// `PgBouncer` with its own defaults, and these settings.
    fn start(settings: &[&str]) -> Self {
        let text = |port: u16, _: &Path| configuration(port, settings);
        Self::run(&pgbouncer(), text, &[])
    }

    /// A program with a configuration file, whose path is the last of its arguments.
    pub(crate) fn run(
        program: &str,
        configuration: impl Fn(u16, &Path) -> String,
        arguments: &[&str],
    ) -> Self {
        // Where its own user may read it.
        let folder = tempfile::Builder::new().prefix("trtc-pooler.").tempdir_in("/tmp").unwrap();
        let owner = owner();
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let port = free_port();
        let config = folder.path().join("pooler.conf");
        std::fs::write(&config, configuration(port, folder.path())).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).arg(&config).current_dir(folder.path());
        // It says lines for as long as it runs, which nobody reads.
        let log = folder.path().join("log");
        let said = || std::fs::File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(said()).stderr(said());
        if let Some((user, group)) = owner {
            command.uid(user).gid(group);
        }
        let child =
            command.spawn().expect("run ./scripts/test, which finds PgBouncer and pgpool-II");
        let mut pooler = Self { child, port, _folder: folder };
        let listens = pooler.listens();
        assert!(listens, "{program} did not start: {}", std::fs::read_to_string(&log).unwrap());
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
    pub(crate) fn url(&self, database: &str) -> String {
        let name = database.rsplit('/').next().unwrap();
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have processes of its own, which end with it then.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-INT", &id]).status();
        let begun = Instant::now();
        while begun.elapsed() < START && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
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
        let url = pooler.url(&database.url);
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
async fn options_of_the_url_apply_behind_a_pooler() {
    let database = Database::postgres().await;
    database.execute("create schema apart").await;
    // It refuses or drops them at the start of a session.
    for settings_of_pooler in [&[][..], &["ignore_startup_parameters = options"]] {
        let pooler = Pooler::start(settings_of_pooler);
        let folder = tempfile::tempdir().unwrap();
        let url = format!("{}?options[search_path]=apart", pooler.url(&database.url));
        done(folder.path(), &["migrate", "--store", &url]);
        assert_eq!(database.count("select count(*) from apart.events").await, 0);
        let serving = Serving::start(folder.path(), &["--store", &url]);
        post(folder.path(), &serving);
        serving.stop();
        assert_eq!(database.count("select count(*) from apart.events").await, 1);
        database.execute("drop schema apart cascade; create schema apart").await;
    }
    assert_eq!(
        database.count("select count(*) from pg_tables where schemaname = 'public'").await,
        0
    );
}

/// A configuration file with both addresses.
fn with_direct_url(folder: &Path, url: &str, direct_url: &str) -> String {
    let path = folder.join("trtc.toml");
    let text = format!("[store]\nurl = \"{url}\"\ndirect_url = \"{direct_url}\"\n");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_pooler_works_with_a_direct_url() {
    let database = Database::postgres().await;
    database.store().await.migrate().await.unwrap();
    database.execute(SEEN).await;
    // Few, so that each transaction gets another one than the last.
    let pooler = Pooler::start(&[
        "pool_mode = transaction",
        "default_pool_size = 3",
        "server_round_robin = 1",
    ]);
    let url = pooler.url(&database.url);
    let changes = [("TRTC_STORE__URL", url.as_str()), ("TRTC_STORE__DIRECT_URL", &database.url)];
    let server = Server::start_with(settings(&database, &changes)).await;
    let other = Server::start_with(settings(&database, &changes)).await;
    // Each twice, by two servers at once.
    for number in 0..20 {
        let body = || destroy_room(number % 10);
        tokio::join!(server.post_body(DESTROY_ROOM, body()), other.post_body(DESTROY_ROOM, body()));
    }
    assert_eq!(database.rows().await, 10);
    assert_eq!(database.texts("select distinct what from seen").await, [EXPECTED]);
    database.numbered().await;
    // Nothing of it stays with the sessions that others get.
    let mut left = Vec::new();
    for _ in 0..6 {
        let options: PgConnectOptions = url.parse().unwrap();
        let mut session = options.extra_float_digits(None).connect().await.unwrap();
        let look = "select concat_ws(' ', current_setting('statement_timeout'), current_setting('jit'),
            (select count(*) from pg_prepared_statements),
            (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()))";
        let row = sqlx::raw_sql(look).fetch_one(&mut session).await.unwrap();
        left.push(row.get::<String, _>(0));
    }
    assert_eq!(left, ["0 on 0 0"; 6]);
    let folder = tempfile::tempdir().unwrap();
    let config = with_direct_url(folder.path(), &url, &database.url);
    for _ in 0..5 {
        let said = done(folder.path(), &["events", "--json", "--config", &config]);
        assert_eq!(said.lines().count(), 10);
    }
    done(folder.path(), &["rebuild", "--config", &config]);
    let (_, checks) = examined(folder.path(), &["--config", &config]);
    assert_check(&checks, "pooler", "ok", "another session");
    assert_check(&checks, "writing", "ok", "rolled back");
    server.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_url_of_another_database_is_refused() {
    let (database, other) = (Database::postgres().await, Database::postgres().await);
    let folder = tempfile::tempdir().unwrap();
    let pooler = Pooler::start(&["pool_mode = transaction"]);
    let url = pooler.url(&database.url);
    let config = with_direct_url(folder.path(), &url, &other.url);
    let serving = Serving::start_without_store(folder.path(), &["--config", &config]);
    let said = serving.next_error(|line| line["reason"].is_string());
    assert!(said["reason"].as_str().unwrap().contains("lead to different databases"), "{said}");
    post(folder.path(), &serving);
    serving.stop();
    let (code, checks) = examined(folder.path(), &["--config", &config]);
    assert_check(&checks, "store", "fail", "lead to different databases");
    assert_check(&checks, "spool", "warn", "events that wait in data/spool.db");
    assert_eq!(code, 1);
    // A pooler that shares sessions is of no use there.
    let config = with_direct_url(folder.path(), &database.url, &url);
    let said = failed(folder.path(), &["migrate", "--config", &config], 1);
    assert!(said.contains("a pooler that shares sessions"), "{said}");
    let nowhere =
        with_direct_url(folder.path(), &database.url, "postgres://u:s3cret@127.0.0.1:1/x");
    let said = failed(folder.path(), &["migrate", "--config", &nowhere], 1);
    assert!(said.contains("(`store.direct_url`)\nhint: ") && !said.contains("s3cret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_pooler_is_refused_with_a_direct_url_too() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let pooler = Pooler::start(&["pool_mode = statement"]);
    let config = with_direct_url(folder.path(), &pooler.url(&database.url), &database.url);
    let serving = Serving::start_without_store(folder.path(), &["--config", &config]);
    let said = serving.next_error(|line| line["reason"].is_string());
    assert!(said["reason"].as_str().unwrap().contains("ends a session after each"), "{said}");
    assert!(said["hint"].as_str().unwrap().contains("`pool_mode = transaction`"), "{said}");
    serving.stop();
    let (_, checks) = examined(folder.path(), &["--config", &config]);
    assert_check(&checks, "store", "fail", "ends a session after each");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_transaction_pooler_events_go_to_the_spool() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate", "--store", &database.url]);
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(&[&format!("pool_mode = {mode}")]);
        let url = pooler.url(&database.url);
        let serving = Serving::start_without_store(folder.path(), &["--store", &url]);
        let said = serving.next_error(|line| line["reason"].is_string());
        assert!(said["reason"].as_str().unwrap().contains("`pool_mode = transaction`"), "{said}");
        assert!(said["hint"].as_str().unwrap().contains("store.direct_url"), "{said}");
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
    let url = pooler.url(&database.url);
    // What one leaves prepared, the next stumbles over, unless the pooler has closed that connection meanwhile.
    let mut said = String::new();
    for _ in 0..20 {
        if said.contains("hint: ") {
            break;
        }
        let output = program(folder.path()).args(["events", "--store", &url]).output().unwrap();
        said += &String::from_utf8(output.stderr).unwrap();
    }
    assert!(said.contains("hint: name PostgreSQL itself in `store.direct_url`"), "{said}");
}
