//! `doctor`: what it says of a store that is well, and of each way it is not.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sqlx::Connection;

use crate::process::{Serving, done, program};
use trtc_callbacks::store::Spool;

use crate::spool::numbered;
use crate::support::{APP, Database, NOW, on_both_stores};

/// Runs it as the server's operator would, and returns the exit code and what it found.
pub(crate) fn examined(folder: &Path, arguments: &[&str]) -> (i32, Vec<Value>) {
    let output = program(folder)
        .args(["doctor", "--json", "--sdk-app-id", APP])
        .args(arguments)
        // Nobody listens there, whatever runs beside the tests.
        .env("TRTC_OPS__LISTEN", "127.0.0.1:1")
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), found["checks"].as_array().unwrap().clone())
}

fn find<'a>(checks: &'a [Value], what: &str) -> &'a Value {
    let found = checks.iter().find(|check| check["what"] == what);
    found.unwrap_or_else(|| panic!("nothing about {what} in {checks:#?}"))
}

#[track_caller]
pub(crate) fn assert_check(checks: &[Value], what: &str, level: &str, part: &str) {
    let check = find(checks, what);
    let text = check["text"].as_str().unwrap();
    assert!(check["level"] == level && text.contains(part), "{check}");
    assert_eq!(check["hint"].is_string(), level != "ok", "{check}");
}

on_both_stores! {
    async fn a_healthy_store_is_ok(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let store = ["--store", database.url.as_str()];
        done(folder.path(), &[&["migrate"][..], &store].concat());
        let (code, checks) = examined(folder.path(), &[&store[..], &["--integrity"]].concat());
        assert_check(&checks, "configuration", "ok", "");
        assert_check(&checks, "apps", "warn", "unsigned requests are taken");
        assert_check(&checks, "callback paths", "warn", "`/` is easy to guess");
        assert_check(&checks, "migrations", "ok", "all applied");
        assert_check(&checks, "writing", "ok", "rolled back");
        assert_check(&checks, "dead letters", "ok", "none");
        assert_check(&checks, "server", "ok", "none answers at http://127.0.0.1:1");
        find(&checks, "open files");
        find(&checks, "spool's disk");
        if database.is_postgres() {
            assert_check(&checks, "store", "ok", "PostgreSQL ");
            assert_check(&checks, "making partitions", "ok", "rolled back");
            assert_check(&checks, "partitions", "ok", "this month and the next");
            assert_check(&checks, "default partition", "ok", "empty");
            assert_check(&checks, "clock", "ok", " ms from the database's");
        } else {
            assert_check(&checks, "store", "ok", "SQLite 3.");
            assert_check(&checks, "journal", "ok", "wal");
            assert_check(&checks, "integrity", "ok", "nothing is damaged");
            let disk = find(&checks, "store's disk");
            assert!(disk["text"].as_str().unwrap().contains(" MiB are free at "), "{disk}");
        }
        assert_eq!(code == 0, checks.iter().all(|check| check["level"] != "fail"));
        // It took back what it stored.
        assert_eq!(database.rows().await, 0);
        assert_eq!(database.count("select count(*) from dead_letter_events").await, 0);
    }

    async fn pending_migrations_are_named_and_not_applied(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let store = ["--store", database.url.as_str()];
        if database.is_postgres() {
            let (_, checks) = examined(folder.path(), &store);
            assert_check(&checks, "migrations", "warn", "pending: 1 ");
            let made = "select count(*) from pg_class where relname in ('events', '_sqlx_migrations')";
            assert_eq!(database.count(made).await, 0);
        } else {
            let (_, checks) = examined(folder.path(), &store);
            assert_check(&checks, "store", "warn", "there is no sqlite://");
            done(folder.path(), &[&["migrate"][..], &store].concat());
            database.execute("delete from _sqlx_migrations").await;
            let (_, checks) = examined(folder.path(), &store);
            assert_check(&checks, "migrations", "warn", "pending: 1 ");
            assert_eq!(database.count("select count(*) from _sqlx_migrations").await, 0);
        }
    }

    async fn tables_of_a_newer_version_fail(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let store = ["--store", database.url.as_str()];
        done(folder.path(), &[&["migrate"][..], &store].concat());
        database.execute(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             values (9999, 'later', true, '', 0)",
        )
        .await;
        let (code, checks) = examined(folder.path(), &store);
        assert_check(&checks, "migrations", "fail", "a newer version");
        assert_eq!(code, 1);
    }

    async fn dead_letter_events_are_counted(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let store = ["--store", database.url.as_str()];
        done(folder.path(), &[&["migrate"][..], &store].concat());
        let time = if database.is_postgres() { "now()" } else { "0" };
        let id = uuid::Uuid::now_v7();
        database
            .execute(&format!("insert into dead_letter_events values ('{id}', {time}, 'no', '{{}}')"))
            .await;
        let (_, checks) = examined(folder.path(), &store);
        assert_check(&checks, "dead letters", "warn", "1");
    }
}

#[test]
fn a_store_that_is_away_fails_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let output = program(folder.path())
        .args(["doctor", "--store", "postgres://u:s3cret@127.0.0.1:1/x", "--sdk-app-id", APP])
        .env("TRTC_CALLBACK_TOKEN", "t0ken")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("\nfail  store: postgres://127.0.0.1:1/x: the store is not available"),
        "{said}"
    );
    assert!(said.contains("\n      hint: see that it runs"), "{said}");
    assert!(
        said.contains(&format!("\nok    apps: {APP}, its requests must be signed\n")),
        "{said}"
    );
    assert!(!said.contains("s3cret") && !said.contains("t0ken"), "{said}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.starts_with("error: ") && errors.contains("failed"), "{errors}");
    assert_eq!(output.status.code(), Some(1));

    let (code, checks) = examined(folder.path(), &["--store", "mysql://x"]);
    assert_check(&checks, "configuration", "fail", "names no kind of store");
    assert_eq!((code, checks.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_writes_fails() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::postgres().await;
    let store = ["--store", database.url.as_str()];
    done(folder.path(), &[&["migrate"][..], &store].concat());
    let name = database.url.rsplit('/').next().unwrap();
    database
        .execute(&format!("alter database {name} set default_transaction_read_only = on"))
        .await;
    let (code, checks) = examined(folder.path(), &store);
    assert_check(&checks, "writing", "fail", "read-only transaction");
    assert_check(&checks, "read-only", "fail", "`default_transaction_read_only` is on");
    assert_eq!(code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_database_settings_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::postgres().await;
    let store = ["--store", database.url.as_str()];
    done(folder.path(), &[&["migrate"][..], &store].concat());
    let name = database.url.rsplit('/').next().unwrap();
    database
        .execute(&format!(
            "alter database {name} set synchronous_commit = off;
             do $$ declare part text; begin
                 for part in select inhrelid::regclass from pg_inherits
                     where inhparent = 'events'::regclass and inhrelid <> 'events_default'::regclass
                 loop execute 'drop table ' || part; end loop;
             end $$;
             insert into events (id, sdk_app_id, family, command, event_time, received_at, payload)
             values (gen_random_uuid(), 1, 'room', 'x', now(), now(), '{{}}')"
        ))
        .await;
    let (_, checks) = examined(folder.path(), &store);
    assert_check(&checks, "durability", "warn", "off: synchronous_commit");
    assert_check(&checks, "partitions", "warn", "missing for 2");
    assert_check(&checks, "default partition", "warn", "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_store_does_not_hang_doctor() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::postgres().await;
    let store = ["--store", database.url.as_str()];
    done(folder.path(), &[&["migrate"][..], &store].concat());
    let mut lock = sqlx::PgConnection::connect(&database.url).await.unwrap();
    for sql in ["begin", "lock table events in access exclusive mode"] {
        sqlx::query(sql).execute(&mut lock).await.unwrap();
    }
    let begun = std::time::Instant::now();
    let (code, checks) = examined(folder.path(), &store);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_check(&checks, "store", "fail", "lock timeout");
    assert_eq!(code, 1);

    // A server that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u@{}/x", silent.local_addr().unwrap());
    let (code, checks) = examined(folder.path(), &["--store", &url]);
    assert_check(&checks, "store", "fail", "it gave no answer within 5 s");
    assert_eq!(code, 1);
}

#[tokio::test]
async fn doctor_examines_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/spool.db");
    let (_, checks) = examined(folder.path(), &[]);
    assert_check(&checks, "spool", "ok", "there is no data/spool.db yet");
    let (spool, _) = Spool::open(&path, 1 << 20, Duration::ZERO, NOW).await.unwrap();
    let (_, checks) = examined(folder.path(), &[]);
    assert_check(&checks, "spool", "ok", "nothing waits");
    spool.append(&[&numbered(1), &numbered(2)]).await.unwrap();
    let (_, checks) = examined(folder.path(), &[]);
    assert_check(&checks, "spool", "warn", "events that wait in data/spool.db: 2 (0 of 1024 MiB)");
    let mut file =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::query("update spooled set body = x'7b7d'").execute(&mut file).await.unwrap();
    file.close().await.unwrap();
    let (code, checks) = examined(folder.path(), &[]);
    assert_check(&checks, "spool", "fail", "its oldest event cannot be read: its checksum");
    assert_eq!(code, 1);
    spool.close().await;
    std::fs::write(&path, "not a database".repeat(1000)).unwrap();
    let (code, checks) = examined(folder.path(), &[]);
    assert_check(&checks, "spool", "fail", "not a database");
    assert_eq!(code, 1);
    std::fs::rename(&path, path.with_extension("db.damaged-17")).unwrap();
    let (_, checks) = examined(folder.path(), &[]);
    assert_check(&checks, "spool", "warn", "data/spool.db.damaged-17 was damaged");
}

#[test]
fn doctor_queries_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &[]);
    let listen = serving.ops_url.strip_prefix("http://").unwrap();
    let output = program(folder.path())
        .args(["doctor", "--sdk-app-id", APP])
        .env("TRTC_OPS__LISTEN", listen)
        // It is asked without it, and needs none.
        .env("TRTC_OPS__TOKEN", "t")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains(&format!("ok    server: the one at http://{listen} is ready\n")),
        "{said}"
    );
    assert!(said.contains("ok    writing: "), "{said}");
    serving.stop();
}

#[test]
fn doctor_fails_when_the_ops_port_accepts_but_never_answers() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = listener.local_addr().unwrap().to_string();
    let output = program(folder.path())
        .args(["doctor", "--json", "--sdk-app-id", APP])
        .env("TRTC_OPS__LISTEN", &listen)
        .env("TRTC_AUTH__TRUSTED_PROXIES", "10.0.0.1")
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = found["checks"].as_array().unwrap();
    assert_check(checks, "server", "fail", &format!("http://{listen} gave an invalid response"));
    assert_check(checks, "proxies", "warn", "`auth.trusted_proxies` has no effect");
    assert_eq!(output.status.code(), Some(1));
}
