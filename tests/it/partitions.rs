//! Partitions of a day: made ahead, in place of months made ahead, beside months, and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::{Event, UnixMillis};
use sqlx::Connection;
use trtc_callbacks::settings::Settings;
use trtc_callbacks::store::{EventFilter, FeedLimit, FeedRead, Inserted, ReadModels, Store};

use crate::doctor::{assert_check, examined};
use crate::retention::{PARTITIONS, date, event, migrated, partitions};
use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, Server, destroy_room, eventually, insert_alone, settings,
};

const DAY: Duration = Duration::from_hours(24);

fn in_days(database: &Database) -> Settings {
    settings(database, &[("TRTC_STORE__PARTITION_SPAN", "day")])
}

/// The names of partitions for these dates, as PostgreSQL sorts them.
fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|date| format!("events_{date}")).collect()
}

/// Stores an event of this time and returns the partition that it is in.
async fn placed(database: &Database, store: &Arc<dyn Store>, time: UnixMillis) -> String {
    let event = event("placed", time);
    let stored = insert_alone(store, &[&event]).await.unwrap();
    assert_eq!(stored, [Inserted::New]);
    assert!(store.contains(event.id).await.unwrap());
    let read = ReadModels::event(&**store, event.id).await.unwrap().unwrap();
    assert_eq!(read.event_time, time);
    let place = format!("select tableoid::regclass::text from events where id = '{}'", event.id);
    database.texts(&place).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_made_ahead_and_an_id_finds_its_own() {
    let database = Database::postgres().await;
    let store = migrated(&in_days(&database), date("2026-12-30")).await;
    let days = [
        "2026_12_23",
        "2026_12_24",
        "2026_12_25",
        "2026_12_26",
        "2026_12_27",
        "2026_12_28",
        "2026_12_29",
        "2026_12_30",
        "2026_12_31",
        "2027_01_01",
        "2027_01_02",
        "2027_01_03",
        "2027_01_04",
        "2027_01_05",
        "2027_01_06",
        "default",
    ];
    assert_eq!(partitions(&database).await, names(&days));
    let last = UnixMillis(date("2027-01-01").0 - 1);
    assert_eq!(placed(&database, &store, last).await, "events_2026_12_31");
    assert_eq!(placed(&database, &store, date("2027-01-01")).await, "events_2027_01_01");
    assert_eq!(placed(&database, &store, date("2026-12-22")).await, "events_default");
    // Asked an hour later, there is nothing to do; on the next day there is one more.
    store.upkeep(date("2026-12-30").plus(Duration::from_hours(1))).await.unwrap();
    assert_eq!(partitions(&database).await.len(), days.len());
    store.upkeep(date("2026-12-31")).await.unwrap();
    assert_eq!(partitions(&database).await[15], "events_2027_01_07");
    store.close().await;
}

/// PostgreSQL locks each partition that it plans for.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_bounded_in_time_plans_for_its_partitions_only() {
    let database = Database::postgres().await;
    let store = migrated(&in_days(&database), date("2026-12-30")).await;
    let (noon, end) = (date("2026-12-30").plus(DAY / 2), date("2026-12-31"));
    let event = event("room", noon);
    insert_alone(&store, &[&event]).await.unwrap();
    store.number_events(true).await.unwrap();
    let start = store.feed_span().await.unwrap().start;
    let mut other = sqlx::PgConnection::connect(&database.url).await.unwrap();
    for sql in ["begin", "lock table events_2026_12_29, events_2026_12_31 in access exclusive mode"]
    {
        sqlx::query(sql).execute(&mut other).await.unwrap();
    }
    assert!(store.contains(event.id).await.unwrap());
    assert!(ReadModels::event(&*store, event.id).await.unwrap().is_some());
    let filter = EventFilter {
        room_id: Some("room".to_owned()),
        since: Some(noon),
        until: Some(end),
        limit: 10,
        ..EventFilter::default()
    };
    assert_eq!(store.event_page(&filter).await.unwrap().events.len(), 1);
    let limit = FeedLimit { events: 10, bytes: 1 << 20 };
    let FeedRead::Page(page) = store.events_after(start, limit).await.unwrap() else {
        panic!("the feed begins elsewhere");
    };
    assert_eq!(page.events.len(), 1);
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_reads_the_partitions_of_its_call_only() {
    let database = Database::postgres().await;
    let server = Server::start_with(in_days(&database)).await;
    let end = "Call.CallbackAfterEndCall";
    let body = format!(
        r#"{{"CallbackCommand":"{end}","CallId":"one","EventTime":{}}}"#,
        NOW.plus(DAY / 2).0
    );
    server.post_body(end, body).await;
    let around = ["2026_10_31", "2026_11_01", "2026_11_02", "2026_11_03", "2026_11_04", "default"];
    let mut far = partitions(&database).await;
    far.retain(|name| !names(&around).contains(name));
    assert!(far.contains(&"events_2026_11_05".to_owned()), "{far:?}");
    let mut other = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let lock = format!("lock table {} in access exclusive mode", far.join(", "));
    sqlx::query("begin").execute(&mut other).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(lock)).execute(&mut other).await.unwrap();
    let (status, call) = server.get_ops(&format!("/api/v1/calls/{APP}/one")).await;
    assert_eq!(status, 200, "{call}");
    let call: serde_json::Value = serde_json::from_str(&call).unwrap();
    assert_eq!(call["timeline"].as_array().unwrap().len(), 1);
    let (status, page) = server.get_ops(&format!("/calls/{APP}/one")).await;
    assert_eq!(status, 200, "{page}");
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_days_are_made_ahead_where_more_are_asked_for() {
    let database = Database::postgres().await;
    let settings = settings(
        &database,
        &[("TRTC_STORE__PARTITION_SPAN", "day"), ("TRTC_STORE__PARTITIONS_AHEAD", "20")],
    );
    let store = migrated(&settings, date("2026-12-30")).await;
    assert_eq!(partitions(&database).await[27], "events_2027_01_19");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_with_months_goes_on_with_days() {
    let database = Database::postgres().await;
    let months = migrated(&settings(&database, &[]), date("2026-11-28")).await;
    // One that a clock ahead has left behind.
    assert_eq!(placed(&database, &months, date("2027-02-10")).await, "events_2027_02");
    assert_eq!(placed(&database, &months, date("2026-11-27")).await, "events_2026_11");
    months.close().await;

    let store = migrated(&in_days(&database), date("2026-11-28")).await;
    let parts = [
        "2026_10",
        "2026_11",
        "2026_12_01",
        "2026_12_02",
        "2026_12_03",
        "2026_12_04",
        "2026_12_05",
        "2027_01",
        "2027_02",
        "default",
    ];
    assert_eq!(partitions(&database).await, names(&parts));
    // The month of now is left to its end, and the next one has days.
    let last = UnixMillis(date("2026-12-01").0 - 1);
    assert_eq!(placed(&database, &store, last).await, "events_2026_11");
    assert_eq!(placed(&database, &store, date("2026-12-01")).await, "events_2026_12_01");
    // Nothing is dropped or made on the days that follow but what they need.
    store.upkeep(date("2026-12-24")).await.unwrap();
    assert!(partitions(&database).await.contains(&"events_2027_01".to_owned()));
    store.upkeep(date("2026-12-25")).await.unwrap();
    let made = partitions(&database).await;
    assert!(!made.contains(&"events_2027_01".to_owned()));
    assert!(made.contains(&"events_2027_01_01".to_owned()));
    // A month that has events stays, and days begin after it.
    store.upkeep(date("2027-01-28")).await.unwrap();
    assert_eq!(placed(&database, &store, date("2027-02-01")).await, "events_2027_02");
    store.upkeep(date("2027-02-25")).await.unwrap();
    assert_eq!(placed(&database, &store, date("2027-02-25")).await, "events_2027_02");
    assert_eq!(placed(&database, &store, date("2027-03-01")).await, "events_2027_03_01");
    assert_eq!(database.rows().await, 7);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_in_use_is_not_waited_for() {
    let database = Database::postgres().await;
    migrated(&settings(&database, &[]), date("2026-11-28")).await.close().await;
    let mut reader = sqlx::PgConnection::connect(&database.url).await.unwrap();
    for sql in ["begin", "select count(*) from events"] {
        sqlx::query(sql).execute(&mut reader).await.unwrap();
    }
    let store = trtc_callbacks::store::open(&in_days(&database).store_options()).await.unwrap();
    let begun = std::time::Instant::now();
    let error = store.upkeep(date("2026-11-28")).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(placed(&database, &store, date("2026-12-01")).await, "events_2026_12");
    sqlx::query("rollback").execute(&mut reader).await.unwrap();
    // Now it has an event, so it stays.
    store.upkeep(date("2026-11-28")).await.unwrap();
    assert_eq!(placed(&database, &store, date("2026-12-02")).await, "events_2026_12");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_go_on_to_the_end_of_their_month_on_the_way_back() {
    let database = Database::postgres().await;
    let days = migrated(&in_days(&database), date("2026-11-28")).await;
    assert_eq!(placed(&database, &days, date("2026-12-02")).await, "events_2026_12_02");
    days.close().await;

    let store = migrated(&settings(&database, &[]), date("2026-11-29")).await;
    let made = partitions(&database).await;
    for name in names(&["2026_10", "2026_12_06", "2027_01", "2027_02"]) {
        assert!(made.contains(&name), "{made:?}");
    }
    for name in names(&["2026_11", "2026_12", "2027_01_01"]) {
        assert!(!made.contains(&name), "{made:?}");
    }
    for day in 1..29 {
        // At noon.
        let now = date("2026-11-29").plus(day * DAY + DAY / 2);
        store.upkeep(now).await.unwrap();
        let place = placed(&database, &store, now).await;
        assert!(place.starts_with("events_2026_12_") || place == "events_2026_11_30", "{place}");
    }
    store.upkeep(date("2026-12-31")).await.unwrap();
    let last = UnixMillis(date("2027-01-01").0 - 1);
    assert_eq!(placed(&database, &store, last).await, "events_2026_12_31");
    assert_eq!(placed(&database, &store, date("2027-01-01")).await, "events_2027_01");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_dropped_when_its_last_moment_is_too_old() {
    let database = Database::postgres().await;
    let changes = [("TRTC_STORE__PARTITION_SPAN", "day"), ("TRTC_RETENTION__EVENTS_DAYS", "30")];
    let settings = settings(&database, &changes);
    // From 22 September to 6 October.
    let store = migrated(&settings, date("2026-09-29")).await;
    let end = date("2026-09-23");
    let expired = async |before| store.expired_partitions(before).await.unwrap();
    assert_eq!(expired(UnixMillis(end.0 - 1)).await, [""; 0]);
    assert_eq!(expired(end).await, ["events_2026_09_22"]);
    let (first, before) = ("events_2026_09_22", UnixMillis(end.0 - 1));
    assert!(!store.drop_partition(first, before).await.unwrap());
    assert!(store.drop_partition(first, end).await.unwrap());
    insert_alone(&store, &[&event("gone", UnixMillis(date("2026-10-02").0 - 1))]).await.unwrap();
    insert_alone(&store, &[&event("kept", date("2026-10-02"))]).await.unwrap();
    store.close().await;

    // It keeps what is from noon of 2 October on, so it keeps that day.
    let server = Server::start_with(settings).await;
    let gone = || async { server.figures().await.value(PARTITIONS) == 9 };
    eventually("nine days are dropped", gone).await;
    assert_eq!(partitions(&database).await[0], "events_2026_10_02");
    assert_eq!(database.texts("select room_id from events").await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_both_spans_start_together() {
    let database = Database::postgres().await;
    migrated(&settings(&database, &[]), date("2026-10-28")).await.close().await;
    let (days, months) = (in_days(&database), settings(&database, &[]));
    let (one, two) = tokio::join!(Server::start_with(days), Server::start_with(months));
    for number in 0..20 {
        let server = if number % 2 == 0 { &one } else { &two };
        server.post_body(DESTROY_ROOM, destroy_room(number)).await;
    }
    assert_eq!(database.rows().await, 20);
    assert_eq!(database.count("select count(*) from events_2026_11").await, 20);
}

/// Four months of two servers that disagree, beside a writer.
#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_while_servers_of_both_spans_run() {
    let database = Database::postgres().await;
    let months = migrated(&settings(&database, &[]), date("2026-10-28")).await;
    let days = trtc_callbacks::store::open(&in_days(&database).store_options()).await.unwrap();
    let (mut stored, mut passes) = (0, 0);
    for day in (0..120).step_by(4) {
        let now = date("2026-10-28").plus(day * DAY);
        let is_done = AtomicBool::new(false);
        let write = async {
            let mut written = 0;
            while !is_done.load(Ordering::Relaxed) || written < 3 {
                // Of yesterday, today and tomorrow.
                let time = now.0 + (written % 3 - 1) * 86_400_000 + written;
                let event: Event = event("any", UnixMillis(time));
                // Its partition may be made while its statement waits: then it is tried again, as `ingest` does.
                while let Err(error) = insert_alone(&months, &[&event]).await {
                    assert!(error.is_unavailable(), "{error}");
                }
                written += 1;
            }
            written
        };
        let upkeep = async {
            let (one, two) = tokio::join!(months.upkeep(now), days.upkeep(now));
            // Who is in the way of the writer or of the other one gives way, and tries again within the hour.
            passes += usize::from(one.is_ok()) + usize::from(two.is_ok());
            is_done.store(true, Ordering::Relaxed);
        };
        stored += tokio::join!(write, upkeep).0;
    }
    assert!(passes > 30, "{passes}");
    assert_eq!(database.rows().await, stored);
    assert_eq!(database.count("select count(*) from events_default").await, 0);
    let in_days =
        "select count(*) from events where tableoid::regclass::text like 'events_2027_01___'";
    assert!(database.count(in_days).await > 0);
    months.close().await;
    days.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_looks_for_the_days_of_today_and_tomorrow() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::postgres().await;
    let file = folder.path().join("days.toml");
    std::fs::write(&file, "[store]\npartition_span = \"day\"\n").unwrap();
    let arguments = ["--store", &database.url, "--config", file.to_str().unwrap()];
    let now = UnixMillis(jiff::Timestamp::now().as_millisecond());
    migrated(&in_days(&database), now).await.close().await;
    let (_, checks) = examined(folder.path(), &arguments);
    assert_check(&checks, "partitions", "ok", "today and tomorrow");
    assert_check(&checks, "making partitions", "ok", "rolled back");
    let drop = "do $$ declare part text; begin
             for part in select inhrelid::regclass from pg_inherits
                 where inhparent = 'events'::regclass and inhrelid::regclass::text >= to_char(now(), '\"events_\"YYYY_MM_DD')
                     and inhrelid <> 'events_default'::regclass
             loop execute 'drop table ' || part; end loop;
         end $$";
    database.execute(drop).await;
    let (_, checks) = examined(folder.path(), &arguments);
    assert_check(&checks, "partitions", "warn", "missing for 20");
}
