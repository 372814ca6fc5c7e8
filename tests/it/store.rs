//! One story for both stores, and what happens to events no store wants.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::UnixMillis;
use protocol::diagnostic::Hint;
use protocol::{AppId, Apps, Event, Query};
use trtc_callbacks::store::{EventFilter, Inserted, Order, Store};

use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, Server, destroy_room, eventually, insert_alone,
    on_both_stores, settings, stored,
};

fn event(body: &str) -> Event {
    let query = format!("SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}&ClientIP=203.0.113.9");
    let apps = Apps::new().with(AppId::parse(APP).unwrap(), Vec::new());
    let verified = apps.verify(Query::parse(&query), NOW).unwrap();
    Event::decode(&verified, body.as_bytes(), NOW)
}

async fn rooms(store: &Arc<dyn Store>, filter: EventFilter) -> Vec<String> {
    let events = store.events(&EventFilter { limit: 100, ..filter }).await.unwrap();
    events.into_iter().map(|event| event.room_id.unwrap()).collect()
}

on_both_stores! {
    async fn stored_events_are_read_back(database: Database) {
        let store = database.store().await;
        store.migrate().await.unwrap();
        store.migrate().await.unwrap();
        store.upkeep(NOW).await.unwrap();
        store.upkeep(NOW).await.unwrap();
        store.ping().await.unwrap();

        let (first, second) = (event(&destroy_room(1)), event(&destroy_room(2)));
        let inserted = insert_alone(&store, &[&first, &second, &first]).await.unwrap();
        assert_eq!(inserted, [Inserted::New, Inserted::New, Inserted::Duplicate]);
        let third = event(&destroy_room(3));
        let inserted = insert_alone(&store, &[&second, &third]).await.unwrap();
        assert_eq!(inserted, [Inserted::Duplicate, Inserted::New]);
        assert_eq!(insert_alone(&store, &[]).await.unwrap(), []);

        let all = store.events(&EventFilter { limit: 9, ..EventFilter::default() }).await.unwrap();
        let row = all.iter().find(|row| row.id == first.id).unwrap();
        assert_eq!(row.event_time, first.event_time);
        assert_eq!(row.received_at, NOW);
        assert_eq!(row.room_id.as_deref(), Some("room-1"));
        assert_eq!(row.operator.as_deref(), Some("u1"));
        assert_eq!(row.client_ip.as_deref(), Some("203.0.113.9"));
        assert_eq!(row.payload, first.payload);
        assert_eq!(row.decode_error, None);
        store.close().await;
    }

    async fn a_list_is_filtered_ordered_and_paged(database: Database) {
        let store = database.store().await;
        store.migrate().await.unwrap();
        store.upkeep(NOW).await.unwrap();
        // Their times go down as their numbers go up.
        let events: Vec<Event> = (1..=5).map(|number| event(&destroy_room(number))).collect();
        insert_alone(&store, &events.iter().collect::<Vec<_>>()).await.unwrap();

        let newest = rooms(&store, EventFilter::default()).await;
        assert_eq!(newest, ["room-1", "room-2", "room-3", "room-4", "room-5"]);
        let page = |after| EventFilter { order: Order::Oldest { after }, ..EventFilter::default() };
        assert_eq!(rooms(&store, page(None)).await[0], "room-5");
        let behind = Some((events[2].event_time, events[2].id));
        assert_eq!(rooms(&store, page(behind)).await, ["room-2", "room-1"]);

        let since = |number: usize| Some(events[number - 1].event_time);
        let window = EventFilter { since: since(4), until: since(2), ..EventFilter::default() };
        assert_eq!(rooms(&store, window).await, ["room-3", "room-4"]);
        let one = EventFilter { room_id: Some("room-3".into()), ..EventFilter::default() };
        assert_eq!(rooms(&store, one).await, ["room-3"]);
        let later = UnixMillis(NOW.0 + 1);
        for none in [
            EventFilter { family: Some("call".into()), ..EventFilter::default() },
            EventFilter { command: Some("x".into()), ..EventFilter::default() },
            EventFilter { call_id: Some("room-3".into()), ..EventFilter::default() },
            EventFilter { app: AppId::parse("7"), ..EventFilter::default() },
            EventFilter { received_since: Some(later), ..EventFilter::default() },
        ] {
            assert!(rooms(&store, none.clone()).await.is_empty(), "{none:?}");
        }
        let all = EventFilter {
            family: Some("room".into()),
            command: Some(DESTROY_ROOM.into()),
            app: AppId::parse(APP),
            received_since: Some(NOW),
            ..EventFilter::default()
        };
        assert_eq!(rooms(&store, all).await.len(), 5);
        store.close().await;
    }

    async fn bad_input_is_stored_beside_its_neighbours(database: Database) {
        let server = Arc::new(Server::start(&database).await);
        let command = "Room.CallbackAfterDestroyRoom";
        let with = |member: &str| {
            format!(r#"{{"CallbackCommand":"{command}","RoomId":"r",{member}}}"#).into_bytes()
        };
        let deep = |levels: usize| ("[".repeat(levels) + &"]".repeat(levels)).into_bytes();
        let mut bodies: Vec<Vec<u8>> = vec![
            b"hello".to_vec(),
            b"\xff\x00\xfe".to_vec(),
            Vec::new(),
            deep(10_000),
            deep(1000),
            with(r#""EventTime":1e999"#),
            with(r#""Weight":1e999"#),
            with(r#""EventTime":-1"#),
            with(r#""EventTime":9000000000000000000"#),
            with(r#""EventTime":9e18"#),
            with(r#""Text":"a\u0000b""#),
            with(r#""Operator_Account":"a\u0000b""#),
            with(r#""Operator_Account":"\ud800""#),
            with(r#""RoomId":"again""#),
            format!(r#"{{"CallbackCommand":"{}"}}"#, "x".repeat(4096)).into_bytes(),
            format!(r#"{{"CallbackCommand":"{command}","RoomId":"{}"}}"#, long_id()).into_bytes(),
            br#"{"CallbackCommand":{}}"#.to_vec(),
            b"null".to_vec(),
            b"\xef\xbb\xbf{}".to_vec(),
        ];
        let bad = bodies.len();
        bodies.extend((0..bad).map(|number| destroy_room(number).into_bytes()));
        let mut posts = tokio::task::JoinSet::new();
        for body in bodies.clone() {
            let server = server.clone();
            posts.spawn(async move { server.post_body(command, body).await });
        }
        posts.join_all().await;

        let rows = stored(&database).await;
        let kept: HashSet<Vec<u8>> = rows.iter().map(|row| row.payload.as_bytes().to_vec()).collect();
        // A byte order mark is no part of what stands behind it.
        let sent = bodies.iter().map(|body| body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
        assert_eq!(kept, sent.map(<[u8]>::to_vec).collect());
        assert_eq!(rows.len(), 2 * bad);
        let clean = |text: &Option<String>| !text.as_deref().unwrap_or("").contains('\0');
        assert!(rows.iter().all(|row| clean(&row.operator) && clean(&row.room_id)));
        assert_eq!(database.count("select count(*) from dead_letter_events").await, 0);
        assert_eq!(server.figures().await.outcome("stored"), 2 * bad as u64);
    }

    async fn a_refused_row_is_a_dead_letter_and_the_rest_is_stored(database: Database) {
        let server = Arc::new(Server::start(&database).await);
        database.execute(if database.is_postgres() {
            "alter table events add check (room_id <> 'room-13')"
        } else {
            "create trigger poison before insert on events when new.room_id = 'room-13'
             begin select raise(abort, 'no'); end"
        })
        .await;
        let mut posts = tokio::task::JoinSet::new();
        for number in 0..40 {
            let server = server.clone();
            posts.spawn(async move { server.post_body(DESTROY_ROOM, destroy_room(number)).await });
        }
        posts.join_all().await;

        assert_eq!(database.rows().await, 39);
        assert_eq!(database.count("select count(*) from dead_letter_events").await, 1);
        let figures = server.figures().await;
        assert_eq!((figures.outcome("stored"), figures.outcome("parked")), (39, 1));
        // A dead letter is whole: it can be read and sent again.
        let wanted = "select count(*) from dead_letter_events where delivery like '%room-13%'";
        assert_eq!(database.count(wanted).await, 1);
    }

    async fn two_equal_gifts_in_one_second_are_two_gifts(database: Database) {
        let server = Server::start(&database).await;
        let command = "Live.CallbackBeforeSendGift";
        let gift = format!(
            r#"{{"CallbackCommand":"{command}","RoomId":"r","GiftWater":{{"GiftId":"g","Time":1793534000}}}}"#
        );
        server.post_body(command, gift.clone()).await;
        server.post_body(command, gift).await;
        let rows = stored(&database).await;
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].event_time, UnixMillis(1_793_534_000_000));
        assert_ne!(rows[0].id, rows[1].id);
    }

    async fn events_survive_a_restart_and_are_known_after_it(database: Database) {
        for _ in 0..2 {
            let server = Server::start(&database).await;
            for number in 0..5 {
                server.post_body(DESTROY_ROOM, destroy_room(number)).await;
            }
            server.stop().await;
        }
        assert_eq!(database.rows().await, 5);
    }

    async fn every_ok_under_load_is_a_row(database: Database) {
        let server = Arc::new(Server::start(&database).await);
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..64 {
            let server = server.clone();
            clients.spawn(async move {
                for number in 0..20 {
                    server.post_body(DESTROY_ROOM, destroy_room(client * 1000 + number)).await;
                }
            });
        }
        clients.join_all().await;
        assert_eq!(database.rows().await, 64 * 20);
        let figures = server.figures().await;
        assert_eq!(figures.value("trtc_batch_rows_sum"), 64 * 20);
        let batches = figures.value("trtc_batch_rows_count");
        assert!(batches < 64 * 20, "{batches} batches: nothing was committed together");
    }
}

/// An id that no index of PostgreSQL would take whole, and that does not compress.
fn long_id() -> String {
    let blocks = (0..400_u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    blocks.flat_map(|block| hex::encode(block.to_be_bytes()).into_bytes()).map(char::from).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_compressed_with_lz4_where_available() {
    let database = Database::postgres().await;
    let server = Server::start(&database).await;
    let (command, name) = ("Room.CallbackAfterUpdateRoomInfo", "name ".repeat(2000));
    let body = format!(
        r#"{{"CallbackCommand":"{command}","RoomInfo":{{"RoomId":"r","RoomName":"{name}"}},"EventTime":{}}}"#,
        NOW.0
    );
    server.post_body(command, body).await;
    let expected =
        "select case when 'lz4' = any(enumvals) then 'lz4' else 'pglz' end from pg_settings
         where name = 'default_toast_compression'";
    assert_eq!(
        database.texts("select pg_column_compression(payload) from events").await,
        database.texts(expected).await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_ahead_and_an_id_finds_its_own() {
    let database = Database::postgres().await;
    let server = Server::start(&database).await;
    let made = "select count(*) from pg_inherits where inhparent = 'events'::regclass";
    // The month before, this one, three ahead, and the default one.
    assert_eq!(database.count(made).await, 6);
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
    server.post_body(DESTROY_ROOM, r#"{"RoomId":"old","EventTime":1740464128807}"#).await;
    let placed = "select count(*) from events where room_id = 'room-1' and tableoid = 'events_2026_11'::regclass";
    assert_eq!(database.count(placed).await, 1);
    assert_eq!(database.count("select count(*) from events_default").await, 1);
    // A later server makes the months that follow.
    let store = database.store().await;
    store.upkeep(NOW.plus(Duration::from_hours(24 * 31))).await.unwrap();
    assert_eq!(database.count(made).await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_start_together_store_the_same_traffic_once() {
    let database = Database::postgres().await;
    let (one, two) = tokio::join!(Server::start(&database), Server::start(&database));
    let servers = [Arc::new(one), Arc::new(two)];
    let mut posts = tokio::task::JoinSet::new();
    for server in &servers {
        // The one forwards, the other backwards, so that they meet in the middle.
        let backwards = Arc::ptr_eq(server, &servers[1]);
        for client in 0..16 {
            let server = server.clone();
            posts.spawn(async move {
                for step in 0..25 {
                    let number = client * 25 + if backwards { 24 - step } else { step };
                    server.post_body(DESTROY_ROOM, destroy_room(number)).await;
                }
            });
        }
    }
    posts.join_all().await;
    assert_eq!(database.rows().await, 400);
    let (one, two) = (servers[0].figures().await, servers[1].figures().await);
    assert_eq!(one.outcome("stored") + two.outcome("stored"), 400);
    assert_eq!(one.outcome("duplicate") + two.outcome("duplicate"), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_past_its_deadline_is_answered_and_counted() {
    let database = Database::postgres().await;
    let mut settings = settings(&database, &[("TRTC_INGEST__ACK_DEADLINE_MS", "1000")]);
    settings.spool.path = "".into();
    let server = Server::start_with(settings).await;
    let mut lock = Lock::take(&database).await;
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
    assert_eq!(server.figures().await.outcome("not_stored"), 1);
    lock.release().await;
    server.post_body(DESTROY_ROOM, destroy_room(2)).await;
    assert_eq!(server.figures().await.outcome("stored"), 1);
    // The statement that was under way may have stored the first one yet, under the id that its line has.
    let second = "select count(*) from events where room_id = 'room-2'";
    assert_eq!(database.count(second).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_not_stored_may_be_answered_with_503() {
    let database = Database::postgres().await;
    let changes =
        [("TRTC_INGEST__ACK_DEADLINE_MS", "100"), ("TRTC_ANSWER__WHEN_NOT_STORED", "unavailable")];
    let mut settings = settings(&database, &changes);
    settings.spool.path = "".into();
    let server = Server::start_with(settings).await;
    let mut lock = Lock::take(&database).await;
    let url = format!("{}/?SdkAppid={APP}", server.url);
    let answer = server.client.post(url).body(destroy_room(1)).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    let answer: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(answer["ActionStatus"], "FAIL");
    assert_eq!(server.figures().await.outcome("not_stored"), 1);
    lock.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_sender_went_away_is_stored_all_the_same() {
    let database = Database::postgres().await;
    let server = Server::start(&database).await;
    let mut lock = Lock::take(&database).await;
    let url = format!("{}/?SdkAppid={APP}", server.url);
    let impatient = server.client.post(url).body(destroy_room(1)).timeout(Duration::from_secs(2));
    assert!(impatient.send().await.unwrap_err().is_timeout());
    assert_eq!(server.figures().await.value("trtc_queue_events"), 1);
    lock.release().await;
    let done = || async { server.figures().await.outcome("stored") == 1 };
    eventually("the event is stored", done).await;
    assert_eq!(database.rows().await, 1);
    let left = || async { server.figures().await.value("trtc_connections") == 0 };
    eventually("who is gone has no place", left).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_utf8_is_refused() {
    let database = Database::postgres().await;
    database.execute("create database latin encoding 'LATIN1' locale 'C' template template0").await;
    let (server, _) = database.url.rsplit_once('/').unwrap();
    let latin = format!("{server}/latin");
    let changed = settings(&database, &[("TRTC_STORE__URL", &latin)]);
    let store = trtc_callbacks::store::open(&changed.store_options()).await.unwrap();
    let error = store.migrate().await.unwrap_err().diagnostic().to_string();
    store.close().await;
    database.execute("drop database latin").await;
    assert!(error.contains("encoding is LATIN1"), "{error}");
    assert!(error.contains("hint: "), "{error}");
}

/// Holds a lock on `events`, as a careless migration would.
struct Lock(sqlx::PgConnection);

impl Lock {
    async fn take(database: &Database) -> Self {
        use sqlx::Connection;
        let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
        for sql in ["begin", "lock table events in access exclusive mode"] {
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
        Self(connection)
    }

    async fn release(&mut self) {
        sqlx::query("rollback").execute(&mut self.0).await.unwrap();
    }
}

#[tokio::test]
async fn the_wal_of_sqlite_is_copied_beside_writers() {
    let database = Database::sqlite();
    let store = database.store().await;
    store.migrate().await.unwrap();
    let file = PathBuf::from(database.url.strip_prefix("sqlite://").unwrap());
    let copy = tempfile::tempdir().unwrap();
    // The file alone has what a checkpoint copied. No connection is closed meanwhile, and no commit finds a long WAL.
    let is_copied = || {
        let alone = copy.path().join("alone.db");
        std::fs::copy(&file, &alone).unwrap();
        let alone = rusqlite::Connection::open(&alone).unwrap();
        let rows: rusqlite::Result<i64> =
            alone.query_row("select count(*) from events", [], |row| row.get(0));
        rows.is_ok_and(|rows| rows > 0)
    };
    let mut number = 0;
    while !is_copied() {
        number += 1;
        assert!(number < 1000, "no checkpoint was made");
        insert_alone(&store, &[&event(&destroy_room(number))]).await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn the_wal_of_sqlite_starts_anew_when_it_is_long() {
    let database = Database::sqlite();
    let store = database.store().await;
    store.migrate().await.unwrap();
    let file = PathBuf::from(database.url.strip_prefix("sqlite://").unwrap());
    let wal = file.with_extension("db-wal");
    let filling = "x".repeat(250_000);
    let mut most = 0;
    for number in 0..50 {
        let events = (0..10).map(|one| {
            let room = destroy_room(number * 10 + one);
            event(&room.replacen('{', &format!("{{\"Filling\":\"{filling}\","), 1))
        });
        let events: Vec<Event> = events.collect();
        insert_alone(&store, &events.iter().collect::<Vec<_>>()).await.unwrap();
        most = most.max(std::fs::metadata(&wal).unwrap().len());
    }
    // 125 MB were written, and each page once more as long as one commit.
    assert!((60_000_000..75_000_000).contains(&most), "{most} bytes");
    store.close().await;
}
