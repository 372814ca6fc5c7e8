//! `backup`: a copy of a SQLite store, beside the server that writes it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::{Connection, SqliteConnection};
use trtc_callbacks::store::Spool;

use crate::process::{Serving, done, failed, program};
use crate::spool::numbered;
use crate::support::{APP, Database, NOW, OK, destroy_room, eventually};

async fn open(file: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap()
}

async fn number(file: &Path, sql: &'static str) -> i64 {
    let mut file = open(file).await;
    let number = sqlx::query_scalar(sql).fetch_one(&mut file).await.unwrap();
    file.close().await.unwrap();
    number
}

/// Events in the store, of so many MiB, so that a copy takes its time.
async fn fill(file: &Path, mebibytes: i64) {
    let mut file = open(file).await;
    sqlx::query(
        "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1 * 256)
         insert into events (id, sdk_app_id, family, command, event_time, received_at, payload)
         select 'filled-' || n, 1, 'room', 'x', n, n, '\"' || hex(randomblob(2000)) || '\"' from numbers",
    )
    .bind(mebibytes)
    .execute(&mut file)
    .await
    .unwrap();
    file.close().await.unwrap();
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_traffic_has_every_event_answered_before() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &[]);
    let store = folder.path().join("data/trtc-callbacks.db");
    fill(&store, 30).await;
    let (answered, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let (answered, stop) = (answered.clone(), stop.clone());
            let url = format!("{}/?SdkAppid={APP}", serving.url);
            tokio::spawn(async move {
                let client = trtc_callbacks::tencent_api::http_client().build().unwrap();
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    let body = destroy_room(sender * 1_000_000 + sent);
                    let answer = client.post(&url).body(body).send().await.unwrap();
                    assert_eq!(answer.text().await.unwrap(), OK);
                    answered.fetch_add(1, Ordering::Relaxed);
                    sent += 1;
                }
            })
        })
        .collect();
    eventually("traffic flows", || async { answered.load(Ordering::Relaxed) > 20 }).await;
    let before = answered.load(Ordering::Relaxed);
    let said = tokio::task::block_in_place(|| done(folder.path(), &["backup", "copy.db"]));
    let after = answered.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    assert!(after > before, "nothing was taken while the copy was made");
    assert!(said.starts_with("copied sqlite://data/trtc-callbacks.db to copy.db: "), "{said}");
    let copy = folder.path().join("copy.db");
    assert_eq!(mode(&copy), 0o600);
    let events = "select count(*) from events where id not like 'filled-%'";
    let copied = usize::try_from(number(&copy, events).await).unwrap();
    // A sender each may have been answered and not yet have counted it, or be stored and not yet answered.
    assert!((before..=after + 4).contains(&copied), "{before} {copied} {after}");
    assert_eq!(
        number(&copy, "select count(*) from events where id like 'filled-%'").await,
        30 * 256
    );
    assert_eq!(
        number(&copy, "select count(*) from pragma_integrity_check where integrity_check <> 'ok'")
            .await,
        0
    );
    assert!(!folder.path().join("copy.db.partial").exists());
    serving.stop();
    // A server takes it up.
    let store = ["--store", "sqlite://copy.db"];
    let serving = Serving::start(folder.path(), &store);
    serving.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backup_leaves_no_copy_and_the_next_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate"]);
    fill(&folder.path().join("data/trtc-callbacks.db"), 60).await;
    let (copy, partial) = (folder.path().join("copy.db"), folder.path().join("copy.db.partial"));
    let mut killed = false;
    for _ in 0..10 {
        let mut child = program(folder.path())
            .args(["backup", "copy.db"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while fs::metadata(&partial).map_or(0, |data| data.len()) < 1 << 20
            && child.try_wait().unwrap().is_none()
            && begun.elapsed() < Duration::from_secs(30)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed = partial.exists();
        if killed {
            break;
        }
        // It was quicker than we were.
        fs::remove_file(&copy).unwrap();
    }
    assert!(killed, "no backup could be killed half-way");
    assert!(!copy.exists());
    assert_eq!(mode(&partial), 0o600);
    done(folder.path(), &["backup", "copy.db"]);
    assert_eq!(number(&copy, "select count(*) from events").await, 60 * 256);
    let left: Vec<_> =
        folder.path().read_dir().unwrap().map(|found| found.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_overwrites_nothing_and_names_what_it_omits() {
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate"]);
    fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    let said = failed(folder.path(), &["backup", "mine.txt"], 1);
    assert!(said.contains("mine.txt` is there already") && said.contains("\nhint: "), "{said}");
    assert_eq!(fs::read_to_string(folder.path().join("mine.txt")).unwrap(), "mine");
    let said = failed(folder.path(), &["backup", "nowhere/copy.db"], 1);
    assert!(said.contains("nowhere/copy.db.partial`: No such file"), "{said}");
    let said = failed(folder.path(), &["backup", "copy.db", "--store", "sqlite://none.db"], 1);
    assert!(said.contains("there is no SQLite file `none.db`"), "{said}");

    let under_way = File::create(folder.path().join("copy.db.partial")).unwrap();
    under_way.lock().unwrap();
    let said = failed(folder.path(), &["backup", "copy.db"], 1);
    assert!(
        said.contains("another backup to `") && said.contains("copy.db` is under way"),
        "{said}"
    );
    drop(under_way);

    let spool = folder.path().join("data/spool.db");
    let (spool, _) = Spool::open(&spool, 1 << 20, Duration::ZERO, NOW).await.unwrap();
    spool.append(&[&numbered(1), &numbered(2)]).await.unwrap();
    let output = program(folder.path()).args(["backup", "copy.db"]).output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("2 events wait in the spool data/spool.db and are not in the copy"),
        "{said}"
    );
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_postgres_is_refused_and_names_pg_dump() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let url = database.url.replace("postgres://postgres@", "postgres://postgres:s3cret@");
    let said = failed(folder.path(), &["backup", "copy.dump", "--store", &url], 1);
    assert!(
        said.contains("\nhint: `pg_dump --format=custom --file=copy.dump postgres://127.0.0.1:"),
        "{said}"
    );
    assert!(!said.contains("s3cret"), "{said}");
    assert!(!folder.path().join("copy.dump").exists());
}
