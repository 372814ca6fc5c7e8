//! The spool: what it keeps while the store is away, and what it gives back.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use protocol::diagnostic::Hint;
use protocol::{AppId, Apps, Body, Event, Query};
use sqlx::Connection;
use trtc_callbacks::store::{Salvage, Spool, SpoolError, Spooled};

use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, Server, destroy_room, eventually, fixtures, on_both_stores,
    settings,
};

const MIB: u64 = 1 << 20;

fn event(query: &str, body: &[u8]) -> Event {
    let query = Query::parse(query);
    let app = AppId::parse(query.sdk_app_id.as_deref().unwrap().trim()).unwrap();
    let verified = Apps::new().with(app, Vec::new()).verify(query, NOW).unwrap();
    let mut event = Event::decode(&verified, body, NOW);
    event.body = Body::Untyped;
    event
}

pub(crate) fn numbered(number: usize) -> Event {
    event(&format!("SdkAppid={APP}"), destroy_room(number).as_bytes())
}

async fn open(path: &Path, bytes_max: u64) -> Spool {
    let (spool, trouble) = Spool::open(path, bytes_max, Duration::ZERO, NOW).await.unwrap();
    assert!(trouble.is_none());
    assert_eq!(spool.damaged_files().unwrap(), Vec::<PathBuf>::new());
    spool
}

async fn all(spool: &Spool) -> Vec<Spooled> {
    spool.oldest(0, 10_000, 64 * MIB).await.unwrap().records
}

#[tokio::test]
async fn every_spooled_event_comes_back_unchanged_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    let untyped = |event: Event| Event { body: Body::Untyped, ..event };
    let fixtures = fixtures().into_iter().map(|fixture| fixture.delivery.event(NOW).unwrap());
    let mut events: Vec<Event> = fixtures.map(untyped).collect();
    events
        .push(event(&format!("SdkAppid={APP}&CallbackCommand=New.One&ClientIP=%00"), b"\xff\x00"));
    events.push(event(&format!("SdkAppid={APP}"), b""));
    let spool = open(&path, 64 * MIB).await;
    spool.append(&events.iter().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(spool.size().await.unwrap().events, events.len() as u64);
    spool.close().await;

    let spool = open(&path, 64 * MIB).await;
    let back = all(&spool).await;
    let places: Vec<i64> = back.iter().map(|record| record.place).collect();
    assert!(places.is_sorted());
    let back: Vec<Event> = back.into_iter().map(|record| record.event.unwrap()).collect();
    assert_eq!(back, events);
    spool.remove(0, &places[..100]).await.unwrap();
    assert_eq!(all(&spool).await[0].event.as_ref().unwrap(), &events[100]);
}

#[tokio::test]
async fn a_batch_is_bounded_in_bytes_and_has_at_least_one_event() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(&folder.path().join("spool.db"), 64 * MIB).await;
    let body =
        |number: usize| format!("{{\"Number\":{number},\"Text\":\"{}\"}}", "x".repeat(10_000));
    let events: Vec<Event> =
        (0..10).map(|number| event(&format!("SdkAppid={APP}"), body(number).as_bytes())).collect();
    spool.append(&events.iter().collect::<Vec<_>>()).await.unwrap();
    let read = async |rows, bytes| spool.oldest(0, rows, bytes).await.unwrap().records.len();
    assert_eq!(read(100, 1).await, 1);
    assert_eq!(read(100, 30_000).await, 3);
    assert_eq!(read(4, MIB).await, 4);
}

#[tokio::test]
async fn a_full_spool_says_so_and_its_file_grows_no_further() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    let spool = open(&path, MIB).await;
    let mut kept = 0;
    let refused = loop {
        let event = event(&format!("SdkAppid={APP}"), format!("{kept:>10000}").as_bytes());
        match spool.append(&[&event]).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, SpoolError::Full), "{refused}");
    assert!(kept > 50, "{kept}");
    assert_eq!(all(&spool).await.len(), kept);
    assert!(spool.size().await.unwrap().bytes <= MIB);
    // Emptied, it takes events again, and the disk has its room back.
    let places: Vec<i64> = all(&spool).await.iter().map(|record| record.place).collect();
    spool.remove(0, &places).await.unwrap();
    spool.shrink().await.unwrap();
    assert!(path.metadata().unwrap().len() < MIB / 10);
    spool.append(&[&numbered(1)]).await.unwrap();
}

#[tokio::test]
async fn a_changed_spool_record_fails_its_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    let spool = open(&path, MIB).await;
    let events = [1, 2, 3, 4, 5].map(numbered);
    spool.append(&events.each_ref()).await.unwrap();
    let mut file =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    for (place, change) in [
        (1, "body = x'7b7d'"),
        (3, "head = replace(head, 'room-3', 'room-4')"),
        // No longer text at all.
        (4, "head = cast(x'ff00' || cast(head as blob) as text)"),
    ] {
        let sql = format!("update spooled set {change} where place = {place}");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut file).await.unwrap();
    }
    let records = all(&spool).await;
    let trusted: Vec<bool> = records.iter().map(|record| record.event.is_ok()).collect();
    assert_eq!(trusted, [false, true, false, false, true]);
    spool.quarantine(0, records[0].place, "its checksum does not fit").await.unwrap();
    assert_eq!(all(&spool).await.len(), 4);
    assert_eq!(spool.size().await.unwrap().events, 4);
    let quarantined: i64 =
        sqlx::query_scalar("select count(*) from damaged").fetch_one(&mut file).await.unwrap();
    assert_eq!(quarantined, 1);
}

#[tokio::test]
async fn a_damaged_file_is_quarantined_and_its_records_are_salvaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    let spool = open(&path, 64 * MIB).await;
    let events: Vec<Event> = (0..2000).map(numbered).collect();
    spool.append(&events.iter().collect::<Vec<_>>()).await.unwrap();
    spool.shrink().await.unwrap();
    spool.close().await;
    // A page in the middle is overwritten, as a failing disk does.
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();

    let spool = open(&path, 64 * MIB).await;
    let error = spool.oldest(0, 10_000, 64 * MIB).await.unwrap_err();
    assert!(matches!(error, SpoolError::Damaged(_)), "{error}");
    let generation = spool.generation().await;
    let quarantined = spool.replace(generation, NOW).await.unwrap().unwrap();
    assert!(quarantined.display().to_string().ends_with(".damaged-1793534400000"));
    assert_eq!(spool.replace(generation, NOW).await.unwrap(), None, "only once");
    assert_eq!(spool.damaged_files().unwrap(), std::slice::from_ref(&quarantined));
    let back = salvaged(&quarantined).await;
    assert!(back.len() > 1900 && back.len() < 2000, "{} of 2000", back.len());
    assert!(back.contains(&events[0]) && back.contains(&events[1999]));
    assert!(back.iter().all(|event| events.contains(event)));
}

#[tokio::test]
async fn the_beginning_of_a_truncated_spool_is_salvaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    let spool = open(&path, 64 * MIB).await;
    let events: Vec<Event> = (0..2000).map(numbered).collect();
    spool.append(&events.iter().collect::<Vec<_>>()).await.unwrap();
    spool.shrink().await.unwrap();
    spool.close().await;
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();

    let (spool, _) = Spool::open(&path, 64 * MIB, Duration::ZERO, NOW).await.unwrap();
    let back = salvaged(&spool.damaged_files().unwrap()[0]).await;
    assert!(back.len() > 800, "{} of 2000", back.len());
    assert_eq!(back, events[..back.len()]);
}

/// Everything that can be read of a file that was quarantined.
async fn salvaged(quarantined: &Path) -> Vec<Event> {
    let (mut salvage, mut events) = (Salvage::open(quarantined).await, Vec::new());
    while let Some(more) = salvage.next().await {
        events.extend(more);
    }
    let renamed = salvage.finish().await.unwrap();
    assert!(renamed.display().to_string().contains(".salvaged-") && renamed.exists());
    assert!(!quarantined.exists());
    events
}

#[tokio::test]
async fn positions_of_one_spool_file_do_not_apply_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(&folder.path().join("spool.db"), 64 * MIB).await;
    spool.append(&[&numbered(1)]).await.unwrap();
    let batch = spool.oldest(0, 1, MIB).await.unwrap();
    spool.replace(batch.generation, NOW).await.unwrap().unwrap();
    spool.append(&[&numbered(2)]).await.unwrap();
    let place = batch.records[0].place;
    spool.remove(batch.generation, &[place]).await.unwrap();
    spool.quarantine(batch.generation, place, "of another file").await.unwrap();
    assert_eq!(all(&spool).await[0].event.as_ref().unwrap(), &numbered(2));
}

/// Takes the store away for writers, as an operator or another program might, and gives it back.
async fn close(database: &Database) {
    database.execute("alter table events rename to away").await;
}

async fn reopen(database: &Database) {
    database.execute("alter table away rename to events").await;
}

async fn drained(server: &Server) {
    let empty = || async { server.figures().await.value("trtc_spool_events") == 0 };
    eventually("the spool is empty", empty).await;
}

on_both_stores! {
    async fn events_are_spooled_during_an_outage_and_replayed_after(database: Database) {
        let changes = [("TRTC_INGEST__ACK_DEADLINE_MS", "1250")];
        let server = Server::start_with(settings(&database, &changes)).await;
        server.post_body(DESTROY_ROOM, destroy_room(0)).await;
        close(&database).await;
        server.post_body(DESTROY_ROOM, destroy_room(1)).await;
        // The first failures may have cost their deadline. From then on an answer takes no longer than the disk does:
        // ten that cost it, too, would take 12 s.
        let begun = Instant::now();
        for number in 2..12 {
            server.post_body(DESTROY_ROOM, destroy_room(number)).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let figures = server.figures().await;
        assert_eq!(figures.outcome("spooled"), 11, "{}", figures.0);
        assert_eq!(figures.value("trtc_store_circuit_open"), 1);
        // The spool is measured after it has answered.
        let measured = || async { server.figures().await.value("trtc_spool_events") == 11 };
        eventually("all of them wait", measured).await;
        let (status, text) = server.get_ops("/readyz").await;
        assert_eq!(
            (status, text.as_str()),
            (200, "ok\nstore: not available\nspool: 11 events wait for the store\n")
        );
        reopen(&database).await;
        drained(&server).await;
        assert_eq!(database.rows().await, 12);
        let figures = server.figures().await;
        assert_eq!(figures.value("trtc_spool_drained_total"), 11);
        assert_eq!(figures.value("trtc_store_circuit_open"), 0);
        // New ones go straight to the store again.
        server.post_body(DESTROY_ROOM, destroy_room(12)).await;
        assert_eq!(server.figures().await.outcome("stored"), 2);
        assert_eq!(server.get_ops("/readyz").await, (200, "ok\n".to_owned()));
    }

    async fn spooled_events_are_stored_by_the_next_server(database: Database) {
        let settings = settings(&database, &[("TRTC_INGEST__ACK_DEADLINE_MS", "200")]);
        let server = Server::start_with(settings.clone()).await;
        close(&database).await;
        for number in 0..5 {
            server.post_body(DESTROY_ROOM, destroy_room(number)).await;
        }
        // One that the store has by then, and one that comes twice.
        server.post_body(DESTROY_ROOM, destroy_room(0)).await;
        assert_eq!(server.figures().await.outcome("spooled"), 6);
        server.stop().await;
        reopen(&database).await;
        assert_eq!(database.rows().await, 0);
        let server = Server::start_with(settings).await;
        drained(&server).await;
        assert_eq!(database.rows().await, 5);
    }

    async fn an_unreadable_spool_is_quarantined_and_readiness_says_so(database: Database) {
        let settings = settings(&database, &[]);
        let path = settings.spool.path.clone();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "this is no database, whatever its name says".repeat(200)).unwrap();
        let server = Server::start_with(settings).await;
        server.post_body(DESTROY_ROOM, destroy_room(1)).await;
        assert_eq!(database.rows().await, 1);
        let notice = "ok\nspool: a damaged file was quarantined, see the log\n";
        assert_eq!(server.get_ops("/readyz").await, (200, notice.to_owned()));
        assert_eq!(server.figures().await.value("trtc_spool_damaged_total"), 1);
        let name = path.file_name().unwrap().to_str().unwrap();
        let quarantined = path.with_file_name(format!("{name}.salvaged-{}", NOW.0));
        eventually("what can be read of it is taken over", || async { quarantined.exists() }).await;
        assert!(std::fs::read_to_string(quarantined).unwrap().starts_with("this is no database"));
    }

    async fn a_damaged_spool_file_is_salvaged_by_the_next_server(database: Database) {
        let settings = settings(&database, &[]);
        let path = settings.spool.path.clone();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let damaged = path.with_file_name("spool.db.damaged-17");
        let spool = open(&damaged, 64 * MIB).await;
        let events: Vec<Event> = (0..1000).map(numbered).collect();
        spool.append(&events.iter().collect::<Vec<_>>()).await.unwrap();
        spool.close().await;
        let server = Server::start_with(settings).await;
        let all = || async { database.rows().await == 1000 };
        eventually("all that it held is stored", all).await;
        let renamed = path.with_file_name("spool.db.salvaged-17");
        eventually("it is not taken over again", || async { renamed.exists() }).await;
        server.stop().await;
    }

    async fn a_refused_event_blocks_no_other_in_the_spool(database: Database) {
        let changes = [("TRTC_INGEST__ACK_DEADLINE_MS", "200")];
        let server = Server::start_with(settings(&database, &changes)).await;
        // A mistake in a trigger, which says nothing of the row: to us it looks like a store that is away.
        database.execute(if database.is_postgres() {
            "create function refuse() returns trigger language plpgsql as
                 'begin if new.room_id like ''room-66_'' then raise exception ''no'' using errcode = ''45000''; end if;
                  return new; end';
             create trigger refuse before insert on events for each row execute function refuse()"
        } else {
            "create trigger refuse before insert on events when new.room_id like 'room-66_'
             begin select json('{no'); end"
        }).await;
        for number in 660..690 {
            server.post_body(DESTROY_ROOM, destroy_room(number)).await;
        }
        let others = || async { database.rows().await == 20 };
        eventually("all others are stored", others).await;
        let ten = || async { server.figures().await.value("trtc_spool_events") == 10 };
        eventually("they alone stay in the spool", ten).await;
        // New ones go straight to the store.
        let straight = || async {
            let before = server.figures().await.outcome("stored");
            let number = 1000 + usize::try_from(server.figures().await.outcomes()).unwrap();
            server.post_body(DESTROY_ROOM, destroy_room(number)).await;
            server.figures().await.outcome("stored") > before
        };
        eventually("the store is used again", straight).await;
        database.execute(if database.is_postgres() {
            "drop trigger refuse on events"
        } else {
            "drop trigger refuse"
        }).await;
        // It tries them again within ten seconds.
        drained(&server).await;
    }

    async fn a_server_started_during_an_outage_accepts_events(database: Database) {
        let server = Server::start(&database).await;
        server.stop().await;
        // The table that says which version the others are of.
        database.execute("alter table events rename to away").await;
        let changes = [("TRTC_INGEST__ACK_DEADLINE_MS", "200")];
        let server = Server::start_before_its_store(settings(&database, &changes)).await;
        server.post_body(DESTROY_ROOM, destroy_room(1)).await;
        assert_eq!(server.figures().await.outcome("spooled"), 1);
        reopen(&database).await;
        drained(&server).await;
        assert_eq!(database.rows().await, 1);
    }

    async fn a_failed_spool_is_probed_until_it_works(database: Database) {
        let settings = settings(&database, &[("TRTC_INGEST__ACK_DEADLINE_MS", "100")]);
        let path = settings.spool.path.clone();
        let server = Server::start_with(settings).await;
        close(&database).await;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql("begin immediate").execute(&mut other).await.unwrap();
        server.post_body(DESTROY_ROOM, destroy_room(0)).await;
        assert_eq!(server.figures().await.outcome("not_stored"), 1);
        let (status, text) = server.get_ops("/readyz").await;
        assert_eq!(status, 503, "{text}");
        assert!(text.starts_with("events are not kept\nstore: not available\nspool: "), "{text}");
        sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
        // Without any event, as a server that is not ready is sent none.
        // On a slow machine it may have kept the first event after all, once it was answered.
        let kept = || async { server.figures().await.value("trtc_spool_events") };
        let works = || async {
            let waits = match kept().await {
                0 => String::new(),
                events => format!("spool: {events} events wait for the store\n"),
            };
            server.get_ops("/readyz").await == (200, format!("ok\nstore: not available\n{waits}"))
        };
        eventually("it is ready again", works).await;
        server.post_body(DESTROY_ROOM, destroy_room(1)).await;
        assert_eq!(server.figures().await.outcome("spooled"), 1);
        reopen(&database).await;
        drained(&server).await;
        let rooms = database.texts("select room_id from events").await;
        assert!(rooms.contains(&"room-1".to_owned()), "{rooms:?}");
    }

    async fn a_slow_spool_gets_the_rest_of_the_deadline(database: Database) {
        let settings = settings(&database, &[("TRTC_INGEST__ACK_DEADLINE_MS", "1250")]);
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&settings.spool.path);
        let server = Server::start_with(settings).await;
        close(&database).await;
        let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let after = |ms| tokio::time::sleep(Duration::from_millis(ms));
        // While somebody else writes the file, the first waits 300 ms for it, and the second for the first. On a busy machine
        // they may come together, so it is tried some times.
        let mut events = 0;
        let spooled = async || server.figures().await.outcome("spooled");
        loop {
            assert!(events < 40, "none was kept that waited for longer than the 400 ms");
            sqlx::raw_sql("begin immediate").execute(&mut other).await.unwrap();
            let before = spooled().await;
            let post = async |number, delay| {
                after(delay).await;
                let sent = Instant::now();
                server.post_body(DESTROY_ROOM, destroy_room(number)).await;
                sent.elapsed()
            };
            let unlock = async {
                after(500).await;
                sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
            };
            let (first, second, ()) = tokio::join!(post(events, 0), post(events + 1, 30), unlock);
            events += 2;
            // Whichever was kept.
            if spooled().await > before && first.min(second) > Duration::from_millis(430) {
                break;
            }
        }
        assert_eq!(server.get_ops("/readyz").await.0, 200);
        reopen(&database).await;
        drained(&server).await;
        assert!(database.rows().await >= i64::try_from(spooled().await).unwrap());
    }

    async fn without_store_and_spool_room_events_go_to_the_error_log(database: Database) {
        let mut settings = settings(&database, &[("TRTC_INGEST__ACK_DEADLINE_MS", "100")]);
        // Less than may be set, so that a few small events fill it.
        settings.spool.bytes_max = 1;
        let server = Server::start_with(settings).await;
        close(&database).await;
        let large = |number: usize| format!("{{\"Number\":{number},\"Text\":\"{}\"}}", "x".repeat(3000));
        for number in 0..15 {
            server.post_body("Test.Event", large(number)).await;
        }
        let figures = server.figures().await;
        let (spooled, lost) = (figures.outcome("spooled"), figures.outcome("not_stored"));
        assert!(spooled > 5 && lost > 0 && spooled + lost == 15, "{spooled} and {lost}");
        assert_eq!(figures.value("trtc_last_resort_total{result=\"written\"}"), lost);
        let (status, text) = server.get_ops("/readyz").await;
        assert_eq!(
            (status, text.as_str()),
            (503, "events are not kept\nstore: not available\nspool: the spool is full\n")
        );
        // What is smaller still fits, and the store takes the rest when it is back. The last try for one that is in the error
        // log may have met the store again.
        reopen(&database).await;
        drained(&server).await;
        let rows = database.rows().await;
        assert!((i64::try_from(spooled).unwrap()..=15).contains(&rows), "{rows}, {spooled}");
        assert_eq!(server.get_ops("/readyz").await, (200, "ok\n".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_started_without_a_database_accepts_events() {
    let database = Database::postgres().await;
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = format!("postgres://postgres@127.0.0.1:{port}/x");
    let settings = settings(&database, &[("TRTC_STORE__URL", &away)]);
    let mut back = settings.clone();
    back.store.url = database.url.clone().into();
    let server = Server::start_before_its_store(settings).await;
    for number in 0..3 {
        server.post_body(DESTROY_ROOM, destroy_room(number)).await;
    }
    assert_eq!(server.figures().await.outcome("spooled"), 3);
    server.stop().await;
    let server = Server::start_with(back).await;
    drained(&server).await;
    assert_eq!(database.rows().await, 3);
}

#[tokio::test]
async fn a_spool_that_cannot_be_created_is_an_error_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Spool::open(&file.join("spool.db"), MIB, Duration::ZERO, NOW)
        .await
        .unwrap_err()
        .diagnostic()
        .to_string();
    assert!(error.starts_with("open the spool `"), "{error}");
    assert!(error.contains("\nhint: set `spool.path` to "), "{error}");
}

/// What is said of a file that is no spool for us.
async fn refused(path: &Path) -> String {
    let error =
        Spool::open(path, MIB, Duration::ZERO, NOW).await.unwrap_err().diagnostic().to_string();
    assert!(error.starts_with(&format!("open the spool `{}`: ", path.display())), "{error}");
    assert!(error.contains("\nhint: ") && error.contains("`spool.path`"), "{error}");
    error
}

#[tokio::test]
async fn a_spool_belongs_to_one_server_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    let first = open(&path, MIB).await;
    assert!(refused(&path).await.contains("another server uses it"));
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(refused(&link).await.contains("another server uses it"));
    // It is the file's, whatever became of what was in it.
    first.replace(0, NOW).await.unwrap().unwrap();
    assert!(refused(&path).await.contains("another server uses it"));
    first.append(&[&numbered(1)]).await.unwrap();
    let later = Spool::later(&path, MIB);
    let error = later.append(&[&numbered(3)]).await.unwrap_err();
    assert!(error.to_string().contains("another server uses it"), "{error}");
    // Whoever takes over waits until the other is done.
    let half_a_minute = Duration::from_secs(30);
    let takes_over = Spool::open(&path, MIB, half_a_minute, NOW);
    let ends = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        first.append(&[&numbered(2)]).await.unwrap();
        first.close().await;
    };
    let (next, ()) = tokio::join!(takes_over, ends);
    let (next, _) = next.unwrap();
    assert_eq!(all(&next).await.len(), 2);
    assert!(later.append(&[&numbered(3)]).await.is_err());
    next.close().await;
    later.append(&[&numbered(3)]).await.unwrap();
    assert_eq!(all(&later).await.len(), 3);
}

#[tokio::test]
async fn a_file_that_is_no_spool_is_refused_and_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refused(folder.path()).await.contains("it is a directory"));
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(refused(&pipe).await.contains("it is no file"));
    let of_new_version = folder.path().join("new.db");
    open(&of_new_version, MIB).await.close().await;
    let of_others = folder.path().join("others.db");
    for (path, sql, said) in [
        (&of_new_version, "pragma user_version = 7", "a spool of version 7"),
        (&of_others, "create table mine (x)", "a database of something else"),
    ] {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let options = options.create_if_missing(true);
        let mut file = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut file).await.unwrap();
        file.close().await.unwrap();
        let before = std::fs::read(path).unwrap();
        let error = refused(path).await;
        assert!(error.contains(said), "{error}");
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
}
