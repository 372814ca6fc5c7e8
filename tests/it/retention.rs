//! What is old goes, what is not stays, and events are taken meanwhile; partitions wherever the calendar has a turn.

use std::sync::Arc;
use std::time::Duration;

use protocol::UnixMillis;
use protocol::simulate::Kind;
use protocol::{AppId, Apps, Event, Query};
use sqlx::Connection;
use trtc_callbacks::settings::Settings;
use trtc_callbacks::store::{self, Inserted, SettlerConnection, Store};

use crate::models::settled;
use crate::permutations::{store_all, told};
use crate::rtc_tasks;
use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, Server, destroy_room, eventually, insert_alone,
    on_both_stores, settings,
};

const DAY: Duration = Duration::from_hours(24);

/// Keeps 30 days.
fn thirty_days(database: &Database) -> Settings {
    settings(database, &[("TRTC_RETENTION__EVENTS_DAYS", "30")])
}

/// An event of this time; `room` tells it from others.
pub(crate) fn event(room: &str, time: UnixMillis) -> Event {
    let query = format!("SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}");
    let apps = Apps::new().with(AppId::parse(APP).unwrap(), Vec::new());
    let verified = apps.verify(Query::parse(&query), NOW).unwrap();
    let body = format!(r#"{{"RoomId":"{room}","EventTime":{}}}"#, time.0);
    // Received when it happened, since a time far ahead would be taken for a mistake.
    Event::decode(&verified, body.as_bytes(), time.max(NOW))
}

fn before(age: Duration, ms: i64) -> UnixMillis {
    UnixMillis(NOW.0 - i64::try_from(age.as_millis()).unwrap() + ms)
}

/// A date, at midnight UTC.
pub(crate) fn date(date: &str) -> UnixMillis {
    let date: jiff::Timestamp = format!("{date}T00:00:00Z").parse().unwrap();
    UnixMillis(date.as_millisecond())
}

/// The store with its tables, and partitions as a server would make them at `now`.
pub(crate) async fn migrated(settings: &Settings, now: UnixMillis) -> Arc<dyn Store> {
    let store = store::open(&settings.store_options()).await.unwrap();
    store.migrate().await.unwrap();
    store.upkeep(now).await.unwrap();
    store
}

async fn rooms(database: &Database, like: &str) -> i64 {
    database.count(&format!("select count(*) from events where room_id like '{like}'")).await
}

/// The partitions of `events`, in the order of their names.
pub(crate) async fn partitions(database: &Database) -> Vec<String> {
    let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
    sqlx::query_scalar(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'events'::regclass order by 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

on_both_stores! {
    async fn only_expired_events_are_deleted(database: Database) {
        // Ninety, so that the boundary is in no partition made for NOW.
        let settings = settings(&database, &[("TRTC_RETENTION__EVENTS_DAYS", "90")]);
        let store = migrated(&settings, NOW).await;
        let events = [
            event("old-1", before(90 * DAY, -1)),
            event("old-2", before(400 * DAY, 0)),
            event("new-1", before(90 * DAY, 0)),
            event("new-2", before(DAY, 0)),
        ];
        let mut events: Vec<&Event> = events.iter().collect();
        events.sort_by_key(|event| event.id);
        insert_alone(&store, &events).await.unwrap();
        store.park(events[0], "no", before(91 * DAY, 0)).await.unwrap();
        store.park(events[1], "no", before(89 * DAY, 0)).await.unwrap();
        store.close().await;

        let server = Server::start_with(settings).await;
        let gone = || async { server.figures().await.value(ROWS) == 3 };
        eventually("three rows are deleted", gone).await;
        assert_eq!(rooms(&database, "old-%").await, 0);
        assert_eq!(rooms(&database, "new-%").await, 2);
        assert_eq!(database.count("select count(*) from dead_letter_events").await, 1);
    }

    async fn expired_events_leave_the_read_models_too(database: Database) {
        let mut told = told(6, Kind::ALL);
        told.extend(rtc_tasks::told(5, told[told.len() / 2].0.event_time));
        store_all(&database, &told, &[(0..told.len()).collect()]).await;
        // As who settles does.
        SettlerConnection::open(&settings(&database, &[]).store_options()).await.unwrap().add_counts().await.unwrap();
        let mut times: Vec<UnixMillis> = told.iter().map(|(event, _)| event.event_time).collect();
        times.sort_unstable();
        let before = times[times.len() / 2];
        let moment = if database.is_postgres() {
            format!("timestamptz 'epoch' + {} * interval '1 millisecond'", before.0)
        } else {
            before.0.to_string()
        };
        let sides = async |table: &str, time: &str| {
            let old = database.count(&format!("select count(*) from {table} where {time} < {moment}")).await;
            (old, database.count(&format!("select count(*) from {table} where {time} >= {moment}")).await)
        };
        // One session goes on, another one ended long ago.
        let kept = format!("select room_id from room_changes where at < {moment} order by at, room_id limit 1");
        let kept = &database.texts(&kept).await[0];
        settled(&database, kept, "anybody", NOW).await;
        settled(&database, "long-ago", "anybody", UnixMillis(before.0 - 1)).await;

        let by_time = [
            ("room_marks", "at"), ("seat_marks", "at"), ("gifts", "at"), ("battle_marks", "at"),
            ("metadata_marks", "at"), ("recording_marks", "at"), ("rtc_task_marks", "at"), ("summed_event_counts", "at"), ("calls", "last_at"),
        ];
        let mut wanted = Vec::new();
        let mut old_rows = 0;
        for (table, time) in by_time {
            let (old, new) = sides(table, time).await;
            old_rows += old;
            wanted.push((table, 0, new));
        }
        assert!(old_rows > 20, "{old_rows}");
        let store = database.store().await;
        while store.delete_expired(before, 20).await.unwrap() > 0 {}
        for ((table, time), wanted) in by_time.into_iter().zip(wanted) {
            let (old, new) = sides(table, time).await;
            assert_eq!((table, old, new), wanted);
        }
        let orphans = "select count(*) from call_members m where not exists (
            select 1 from calls c where c.sdk_app_id = m.sdk_app_id and c.call_id = m.call_id)";
        assert_eq!(database.count(orphans).await, 0);
        let rooms = format!("select distinct room_id from room_changes where at < {moment}");
        assert_eq!(database.texts(&rooms).await, [kept.as_str()]);
        for table in ["room_sessions", "live_sessions"] {
            assert_eq!(database.texts(&format!("select room_id from {table}")).await, [kept.as_str()]);
        }
        assert_eq!(database.texts("select subject from anomalies").await, [kept.as_str()]);
        store.close().await;
    }

    async fn without_a_retention_limit_nothing_is_deleted(database: Database) {
        let settings = settings(&database, &[]);
        assert_eq!(settings.retention.keep(), None);
        let server = Server::start_with(settings).await;
        server.post_body(DESTROY_ROOM, r#"{"RoomId":"old","EventTime":1440464128807}"#).await;
        server.stop().await;
        let server = Server::start(&database).await;
        server.post_body(DESTROY_ROOM, destroy_room(1)).await;
        assert_eq!(rooms(&database, "old").await, 1);
        assert_eq!(server.figures().await.value(ROWS), 0);
    }

    async fn events_are_stored_while_many_old_ones_are_deleted(database: Database) {
        let settings = thirty_days(&database);
        let store = migrated(&settings, NOW).await;
        let count = 6000;
        let old: Vec<Event> =
            (0..count).map(|number| event("old", before(900 * DAY, number))).collect();
        for batch in old.chunks(500) {
            let mut batch: Vec<&Event> = batch.iter().collect();
            batch.sort_by_key(|event| event.id);
            insert_alone(&store, &batch).await.unwrap();
        }
        store.close().await;
        let server = Arc::new(Server::start_with(settings).await);
        let mut taken = 0;
        let mut meanwhile = 0;
        // Each answer is awaited, so this ends a little after the last old one is gone.
        loop {
            let deleted = server.figures().await.value(ROWS);
            meanwhile += usize::from((1..count.unsigned_abs()).contains(&deleted));
            let mut posts = tokio::task::JoinSet::new();
            for number in taken..taken + 8 {
                let server = server.clone();
                posts.spawn(async move { server.post_body(DESTROY_ROOM, destroy_room(number)).await });
            }
            posts.join_all().await;
            taken += 8;
            if deleted == count.unsigned_abs() {
                break;
            }
        }
        assert!(meanwhile > 0, "nothing was sent while rows were deleted");
        assert_eq!(rooms(&database, "old").await, 0);
        assert_eq!(rooms(&database, "room-%").await, i64::try_from(taken).unwrap());
        assert_eq!(server.figures().await.outcome("stored"), taken as u64);
    }
}

const ROWS: &str = "trtc_retention_dropped_total{what=\"rows\"}";
pub(crate) const PARTITIONS: &str = "trtc_retention_dropped_total{what=\"partitions\"}";

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_dropped_when_its_last_moment_is_too_old() {
    let database = Database::postgres().await;
    let settings = thirty_days(&database);
    // It has run since March: partitions from February to November.
    migrated(&settings, date("2026-03-15")).await;
    migrated(&settings, date("2026-08-15")).await;
    let store = migrated(&settings, date("2026-10-01")).await;
    assert_eq!(partitions(&database).await.len(), "2026_02 to 2027_01".len() - 5);
    // The name is no proof: this one ends a month later than it says.
    database
        .execute(
            "drop table events_2026_09; drop table events_2026_10;
             create table events_2026_09 partition of events
             for values from ('2026-09-01 00:00+00') to ('2026-11-01 00:00+00')",
        )
        .await;
    let kept = [event("kept-1", date("2026-09-01")), event("kept-2", date("2026-10-31"))];
    insert_alone(&store, &[&kept[0], &kept[1]]).await.unwrap();
    insert_alone(&store, &[&event("gone", date("2026-08-31"))]).await.unwrap();
    assert_eq!(
        store.expired_partitions(date("2026-08-31")).await.unwrap().last().unwrap(),
        "events_2026_07"
    );
    assert!(!store.drop_partition("events_2026_08", date("2026-08-31")).await.unwrap());
    assert!(!store.drop_partition("events_default", NOW).await.unwrap());
    assert!(!store.drop_partition("dead_letter_events", NOW).await.unwrap());
    store.close().await;

    let server = Server::start_with(settings).await;
    let gone = || async { server.figures().await.value(PARTITIONS) == 7 };
    eventually("seven partitions are dropped", gone).await;
    let left = partitions(&database).await;
    assert_eq!(left[0], "events_2026_09");
    assert!(left.contains(&"events_default".to_owned()));
    assert_eq!(rooms(&database, "kept-%").await, 2);
    assert_eq!(rooms(&database, "gone").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_already_expired_partition_is_not_created() {
    let database = Database::postgres().await;
    let short = settings(&database, &[("TRTC_RETENTION__EVENTS_DAYS", "1")]);
    let store = migrated(&short, date("2026-11-15")).await;
    assert_eq!(partitions(&database).await[0], "events_2026_11");
    insert_alone(&store, &[&event("late", date("2026-10-31"))]).await.unwrap();
    assert_eq!(database.count("select count(*) from events_default").await, 1);
    assert_eq!(store.delete_expired(date("2026-11-14"), 500).await.unwrap(), 1);
    assert_eq!(store.delete_expired(date("2026-11-14"), 500).await.unwrap(), 0);
    // On the first of a month, its last day is still to be kept.
    store.upkeep(date("2026-12-01")).await.unwrap();
    store.close().await;
    let store = migrated(&short, date("2027-02-01")).await;
    assert!(partitions(&database).await.contains(&"events_2027_01".to_owned()));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_continue_over_the_end_of_a_year() {
    let database = Database::postgres().await;
    let settings = settings(&database, &[]);
    let store = migrated(&settings, date("2026-12-31")).await;
    let made = ["2026_11", "2026_12", "2027_01", "2027_02", "2027_03", "default"];
    assert_eq!(partitions(&database).await, made.map(|name| format!("events_{name}")));
    // After a month that nobody served, and a leap day.
    store.upkeep(date("2028-02-29")).await.unwrap();
    let store_at = |time| {
        let store = store.clone();
        async move { insert_alone(&store, &[&event("r", time)]).await.unwrap() }
    };
    store_at(date("2026-12-31")).await;
    store_at(date("2027-01-01")).await;
    store_at(UnixMillis(date("2028-03-01").0 - 1)).await;
    let in_default = "select count(*) from events_default";
    assert_eq!(database.count(in_default).await, 0);
    let of_2027 = "select count(*) from events_2027_01";
    assert_eq!(database.count(of_2027).await, 1);
    assert!(partitions(&database).await.contains(&"events_2028_02".to_owned()));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_the_default_partition_make_room_for_a_new_one() {
    let database = Database::postgres().await;
    let settings = settings(&database, &[]);
    let store = migrated(&settings, date("2026-03-15")).await;
    let events = [
        event("before", UnixMillis(date("2026-10-01").0 - 1)),
        event("first", date("2026-10-01")),
        event("last", UnixMillis(date("2026-11-01").0 - 1)),
    ];
    insert_alone(&store, &events.iter().collect::<Vec<_>>()).await.unwrap();
    store.upkeep(NOW).await.unwrap();
    assert_eq!(rooms(&database, "%").await, 3);
    let in_default = "select count(*) from events_default where room_id = 'before'";
    assert_eq!(database.count(in_default).await, 1);
    let moved = "select count(*) from events where tableoid = 'events_2026_10'::regclass";
    assert_eq!(database.count(moved).await, 2);
    // What was moved is known under its id.
    let again = insert_alone(&store, &[&events[1], &events[2]]).await.unwrap();
    assert_eq!(again, [Inserted::Duplicate; 2]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_stored_while_its_partition_is_created() {
    let database = Database::postgres().await;
    let server = Arc::new(Server::start(&database).await);
    let mut making = sqlx::PgConnection::connect(&database.url).await.unwrap();
    for sql in ["begin", "lock table events_default in access exclusive mode"] {
        sqlx::query(sql).execute(&mut making).await.unwrap();
    }
    let august = date("2026-08-15").0;
    let posting = tokio::spawn({
        let server = server.clone();
        async move {
            let body = format!(r#"{{"RoomId":"august","EventTime":{august}}}"#);
            server.post_body(DESTROY_ROOM, body).await;
        }
    });
    let waits = || async {
        let waiting = "select count(*) from pg_locks
            where not granted and relation = 'events_default'::regclass";
        database.count(waiting).await > 0
    };
    eventually("the statement waits for the default partition", waits).await;
    for sql in [
        "create table events_2026_08 (like events including all)",
        "alter table events attach partition events_2026_08
         for values from ('2026-08-01 00:00+00') to ('2026-09-01 00:00+00')",
        "commit",
    ] {
        sqlx::query(sql).execute(&mut making).await.unwrap();
    }
    posting.await.unwrap();
    assert_eq!(server.figures().await.outcome("stored"), 1);
    assert_eq!(database.count("select count(*) from events_2026_08").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_starts_behind_events_too_many_to_move() {
    let database = Database::postgres().await;
    let settings = settings(&database, &[]);
    let store = migrated(&settings, date("2026-03-15")).await;
    let many: Vec<Event> =
        (0..2001).map(|number| event("many", UnixMillis(date("2026-10-05").0 + number))).collect();
    let mut many: Vec<&Event> = many.iter().collect();
    many.sort_by_key(|event| event.id);
    insert_alone(&store, &many).await.unwrap();
    store.upkeep(NOW).await.unwrap();
    store.upkeep(NOW).await.unwrap();
    let later = event("later", date("2026-10-06"));
    insert_alone(&store, &[&later]).await.unwrap();
    let placed = "select count(*) from events where tableoid = 'events_2026_10'::regclass";
    assert_eq!(database.count(placed).await, 1);
    assert_eq!(database.count("select count(*) from events_default").await, 2001);

    // Where they reach to the end of the month, the month has none, and nobody is told every hour.
    let last = event("last", UnixMillis(date("2026-10-01").0 - 1));
    let september: Vec<Event> =
        (0..2001).map(|number| event("sept", UnixMillis(date("2026-09-05").0 + number))).collect();
    let mut september: Vec<&Event> = september.iter().chain([&last]).collect();
    september.sort_by_key(|event| event.id);
    insert_alone(&store, &september).await.unwrap();
    store.upkeep(date("2026-10-15")).await.unwrap();
    assert!(!partitions(&database).await.contains(&"events_2026_09".to_owned()));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_an_old_partition_blocks_no_run_and_no_event() {
    let database = Database::postgres().await;
    let settings = thirty_days(&database);
    migrated(&settings, date("2026-03-15")).await.close().await;
    let store = migrated(&settings, NOW).await;
    let mut reader = sqlx::PgConnection::connect(&database.url).await.unwrap();
    for sql in ["begin", "select count(*) from events"] {
        sqlx::query(sql).execute(&mut reader).await.unwrap();
    }
    let before = date("2026-10-02");
    let begun = std::time::Instant::now();
    let error = store.drop_partition("events_2026_03", before).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    store.close().await;

    let server = Server::start_with(settings).await;
    for number in 0..20 {
        server.post_body(DESTROY_ROOM, destroy_room(number)).await;
    }
    assert_eq!(server.figures().await.value(PARTITIONS), 0);
    assert_eq!(server.figures().await.outcome("stored"), 20);
    server.stop().await;
    sqlx::query("rollback").execute(&mut reader).await.unwrap();

    let server = Server::start_with(thirty_days(&database)).await;
    let gone = || async { server.figures().await.value(PARTITIONS) == 5 };
    eventually("the next run drops them", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_may_delete_at_once() {
    let database = Database::postgres().await;
    // Each with a spool of its own.
    let (settings, another) = (thirty_days(&database), thirty_days(&database));
    let store = migrated(&settings, date("2026-03-15")).await;
    let old: Vec<Event> = (0..1200).map(|number| event("old", before(900 * DAY, number))).collect();
    let mut old: Vec<&Event> = old.iter().collect();
    old.sort_by_key(|event| event.id);
    insert_alone(&store, &old).await.unwrap();
    store.close().await;
    let (one, two) = tokio::join!(Server::start_with(settings), Server::start_with(another));
    let sum = |series: &'static str| {
        let (one, two) = (&one, &two);
        async move { one.figures().await.value(series) + two.figures().await.value(series) }
    };
    eventually("all rows are deleted", || async { sum(ROWS).await == 1200 }).await;
    // Each was dropped by one of them, unless both gave way to each other: then it goes within the hour.
    assert!(sum(PARTITIONS).await <= 5);
    assert_eq!(rooms(&database, "old").await, 0);
}
