//! The feed: a reader that goes on after positions misses no stored event, however late it is committed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::{AppId, Apps, Event, Query, UnixMillis};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use trtc_callbacks::store::{FeedLimit, FeedPage, FeedRead, Position, Store};
use uuid::Uuid;

use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, Server, destroy_room, eventually, insert_alone,
    on_both_stores, settings,
};

fn event(number: usize) -> Event {
    let query = format!("SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}");
    let apps = Apps::new().with(AppId::parse(APP).unwrap(), Vec::new());
    let verified = apps.verify(Query::parse(&query), NOW).unwrap();
    Event::decode(&verified, destroy_room(number).as_bytes(), NOW)
}

async fn migrated(database: &Database) -> Arc<dyn Store> {
    let store = database.store().await;
    store.migrate().await.unwrap();
    store.upkeep(NOW).await.unwrap();
    store
}

/// Stores these in one batch, and returns their ids in its order.
async fn put(store: &Arc<dyn Store>, numbers: std::ops::Range<usize>) -> Vec<Uuid> {
    let mut events: Vec<Event> = numbers.map(event).collect();
    events.sort_by_key(|event| event.id);
    insert_alone(store, &events.iter().collect::<Vec<_>>()).await.unwrap();
    store.number_events(false).await.unwrap();
    events.iter().map(|event| event.id).collect()
}

async fn start(store: &Arc<dyn Store>) -> Position {
    store.feed_span().await.unwrap().start
}

async fn page(store: &Arc<dyn Store>, after: Position, limit: FeedLimit) -> FeedPage {
    match store.events_after(after, limit).await.unwrap() {
        FeedRead::Page(page) => page,
        FeedRead::Outside(span) => panic!("{after} is outside of {span:?}"),
    }
}

/// Everything after a position, with where it ended.
async fn rest(
    store: &Arc<dyn Store>,
    mut after: Position,
    limit: FeedLimit,
) -> (Vec<(Position, Uuid)>, Position) {
    let mut found = Vec::new();
    loop {
        let page = page(store, after, limit).await;
        found.extend(page.events.into_iter().map(|(position, event)| (position, event.id)));
        assert!(page.next > after || page.is_end, "{after}: nothing was read");
        after = page.next;
        if page.is_end {
            return (found, after);
        }
    }
}

fn ids(found: Vec<(Position, Uuid)>) -> Vec<Uuid> {
    found.into_iter().map(|(_, id)| id).collect()
}

on_both_stores! {
    async fn positions_follow_the_order_of_storing(database: Database) {
        let store = migrated(&database).await;
        let begin = start(&store).await;
        assert_eq!(rest(&store, begin, FeedLimit::default()).await, (Vec::new(), begin));
        // Later events are older, and a repeat has its first position only.
        let mut expected = put(&store, 0..3).await;
        expected.extend(put(&store, 3..6).await);
        put(&store, 0..6).await;
        let whole = rest(&store, begin, FeedLimit::default()).await;
        assert!(whole.0.is_sorted(), "{whole:?}");
        assert_eq!(ids(whole.0.clone()), expected);
        assert_eq!(store.feed_span().await.unwrap().end, whole.1);
        // From each position on: the others.
        for (place, (position, _)) in whole.0.iter().enumerate() {
            let (others, end) = rest(&store, *position, FeedLimit::default()).await;
            assert_eq!((ids(others), end), (expected[place + 1..].to_vec(), whole.1));
        }
        // A batch of which some are stored already: the others are news.
        let news = put(&store, 4..9).await;
        let news: Vec<Uuid> = news.into_iter().filter(|id| !expected.contains(id)).collect();
        assert_eq!(ids(rest(&store, whole.1, FeedLimit::default()).await.0), news);
        store.close().await;
    }

    async fn pages_of_the_feed_are_bounded_and_complete(database: Database) {
        let store = migrated(&database).await;
        let mut expected = put(&store, 0..1203).await;
        for number in 1203..1210 {
            expected.extend(put(&store, number..number + 1).await);
        }
        let begin = start(&store).await;
        let bytes_max = FeedLimit::default().bytes;
        for (events, bytes) in [(2000, bytes_max), (1, bytes_max), (500, bytes_max), (7, bytes_max), (2000, 1), (2000, 1000)] {
            let limit = FeedLimit { events, bytes };
            let page = page(&store, begin, limit).await;
            let (first, is_end) = (page.events.len(), page.is_end);
            assert!(first >= 1 && first <= events as usize && (bytes > 1 || first == 1), "{limit:?}: {first}");
            assert_eq!(is_end, first == expected.len(), "{limit:?}");
            assert_eq!(ids(rest(&store, begin, limit).await.0), expected, "{limit:?}");
        }
        store.close().await;
    }

    async fn deleted_events_leave_no_trace_but_a_gap(database: Database) {
        let store = migrated(&database).await;
        let stored = put(&store, 0..5).await;
        database.execute(&format!("delete from events where id in ('{}', '{}')", stored[1], stored[4])).await;
        let begin = start(&store).await;
        let (found, end) = rest(&store, begin, FeedLimit::default()).await;
        assert_eq!(ids(found), [stored[0], stored[2], stored[3]]);
        assert_eq!(store.feed_span().await.unwrap().end, end);
        // Stored once more, for example by `replay`: it is news once more.
        let again = put(&store, 0..5).await;
        let (found, _) = rest(&store, end, FeedLimit::default()).await;
        assert_eq!(ids(found).into_iter().collect::<HashSet<_>>(), HashSet::from([stored[1], stored[4]]));
        assert_eq!(again, stored);
        store.close().await;
    }

    async fn rows_that_cannot_be_read_are_named_beside_the_others(database: Database) {
        let store = migrated(&database).await;
        let stored = put(&store, 0..7).await;
        let damage = |what: &str, id: Uuid| format!("update events set {what} where id = '{id}'");
        database.execute(&damage("sdk_app_id = 0", stored[1])).await;
        database.execute(&damage("sdk_app_id = -5", stored[6])).await;
        if !database.is_postgres() {
            // No text: the driver itself refuses it.
            database.execute(&damage("family = cast(x'ff' as text)", stored[3])).await;
        }
        database.execute(&format!("delete from events where id = '{}'", stored[4])).await;
        let damaged: &[usize] = if database.is_postgres() { &[1, 6] } else { &[1, 3, 6] };
        let whole = page(&store, start(&store).await, FeedLimit::default()).await;
        assert!(whole.is_end);
        assert_eq!(ids(whole.unreadable.clone()), damaged.iter().map(|place| stored[*place]).collect::<Vec<_>>());
        assert_eq!(ids(whole.gone), [stored[4]]);
        let readable = (0..7).filter(|place| !damaged.contains(place) && *place != 4).map(|place| stored[place]);
        let readable: Vec<Uuid> = readable.collect();
        assert_eq!(whole.events.iter().map(|(_, event)| event.id).collect::<Vec<_>>(), readable);
        // However small the pages are.
        for limit in [FeedLimit { events: 1, bytes: 1 }, FeedLimit { events: 3, bytes: 1 << 20 }, FeedLimit { events: 7, bytes: 1 }] {
            let (found, end) = rest(&store, start(&store).await, limit).await;
            assert_eq!((ids(found), end), (readable.clone(), whole.next), "{limit:?}");
        }
        for place in damaged {
            assert!(store.event(stored[*place]).await.unwrap_err().is_unreadable());
        }
        store.close().await;
    }

    async fn a_position_that_is_not_kept_is_refused_not_skipped(database: Database) {
        let store = migrated(&database).await;
        for number in 0..6 {
            put(&store, number..number + 1).await;
        }
        let begin = start(&store).await;
        let (all, end) = rest(&store, begin, FeedLimit::default()).await;
        database.execute("delete from feed where position <= 3").await;
        let span = store.feed_span().await.unwrap();
        assert_eq!((span.start > all[2].0, span.start < all[3].0, span.end), (true, true, end));
        for after in [begin, all[0].0, all[1].0, all[2].0] {
            assert_eq!(store.events_after(after, FeedLimit::default()).await.unwrap(), FeedRead::Outside(span));
        }
        for (after, wanted) in [(span.start, &all[3..]), (all[3].0, &all[4..]), (end, &all[6..])] {
            assert_eq!(rest(&store, after, FeedLimit::default()).await, (wanted.to_vec(), end));
        }
        // Nor is one that this store never gave: the store may be an older backup.
        let beyond = (end.number() + 1000).to_string().parse().unwrap();
        assert_eq!(store.events_after(beyond, FeedLimit::default()).await.unwrap(), FeedRead::Outside(span));
        // Nor is a row passed over that is missing for whatever reason.
        database.execute("delete from feed where position = 5").await;
        let page = page(&store, span.start, FeedLimit::default()).await;
        assert_eq!((page.events.len(), page.is_end), (1, false));
        assert_eq!(store.events_after(page.next, FeedLimit::default()).await.unwrap(), FeedRead::Outside(span));
        store.close().await;
    }

    async fn old_positions_are_forgotten_but_for_the_latest(database: Database) {
        let store = migrated(&database).await;
        let stored = put(&store, 0..3).await;
        let future = UnixMillis(4_102_444_800_000);
        assert_eq!(store.trim_feed(future, 1000).await.unwrap(), 0, "there are few");
        // 2,500 rows of 500 ids that no event has.
        let (ids_of_none, now, rows, more) = if database.is_postgres() {
            let numbers = "generate_series(1, 2500)";
            let head = "update feed_head set position = position + 2500";
            ("array_fill(gen_random_uuid(), array[500])", "now()", numbers, head)
        } else {
            let numbers =
                "(with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 2500)
                  select n from numbers)";
            ("zeroblob(8000)", "unixepoch() * 1000", numbers, "")
        };
        let insert = format!(
            "insert into feed (position, ids, numbered_at)
             select (select max(position) from feed) + row_number() over (), {ids_of_none}, {now} from {rows}; {more}"
        );
        database.execute(&insert).await;
        let later = put(&store, 3..4).await;
        assert_eq!(store.trim_feed(NOW.minus(Duration::from_hours(9000)), 1000).await.unwrap(), 0, "they are young");
        // Derived events are not yet made of what is behind row 100.
        let progress = "insert into derived_progress (id, position, lease_until) values (1, 51200,";
        database.execute(&format!("{progress} {now})")).await;
        let trim = async || store.trim_feed(future, 400).await.unwrap();
        assert_eq!((trim().await, trim().await), (99, 0));
        // Nobody has made any for more than a week.
        let week = if database.is_postgres() { "interval '8 days'" } else { "8 * 86400000" };
        database.execute(&format!("update derived_progress set lease_until = lease_until - {week}")).await;
        let mut trimmed = Vec::new();
        while trimmed.last() != Some(&0) {
            trimmed.push(trim().await);
        }
        // The first row, and of the others those with a million behind them.
        assert_eq!(trimmed, [400, 3, 0]);
        assert_eq!(database.count("select count(*) from feed").await, 2000);
        let span = store.feed_span().await.unwrap();
        assert_eq!(page(&store, span.start, FeedLimit::default()).await.events, []);
        let last = (span.end.number() - 512).to_string().parse().unwrap();
        assert_eq!(ids(rest(&store, last, FeedLimit::default()).await.0), later);
        assert_eq!(stored.len(), 3);
        store.close().await;
    }

    async fn an_upgrade_keeps_events_and_gives_them_no_position(database: Database) {
        let store = migrated(&database).await;
        put(&store, 0..5).await;
        // As the version before left it.
        let more = if database.is_postgres() { "drop table feed_new; drop table feed_head;" } else { "" };
        database.execute(&format!("drop table feed; {more} delete from _sqlx_migrations where version = 8")).await;
        store.migrate().await.unwrap();
        assert_eq!(database.rows().await, 5);
        let begin = start(&store).await;
        let later = put(&store, 5..7).await;
        put(&store, 0..5).await;
        assert_eq!(ids(rest(&store, begin, FeedLimit::default()).await.0), later);
        store.close().await;
    }

    async fn every_way_into_the_store_gives_positions(database: Database) {
        let server = Server::start_with(settings(&database, &[("TRTC_INGEST__READ_MODELS", "true")])).await;
        for number in 0..5 {
            server.post_body(DESTROY_ROOM, destroy_room(number)).await;
        }
        // One that asks before, one twice, one that is not JSON.
        server.post_body("Room.CallbackBeforeCreateRoom", r#"{"CallbackCommand":"Room.CallbackBeforeCreateRoom"}"#).await;
        server.post_body(DESTROY_ROOM, destroy_room(0)).await;
        server.post_body(DESTROY_ROOM, "no json").await;
        let store = database.store().await;
        let all = || async { rest(&store, start(&store).await, FeedLimit::default()).await.0.len() == 7 };
        eventually("all have positions", all).await;
        assert_eq!(database.rows().await, 7);
        server.stop().await;
        store.close().await;
    }
}

/// How long the long form of a test of races takes; without it the short form runs.
fn long_form() -> Duration {
    let seconds = std::env::var("TEST_FEED_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_millis(seconds.map_or(1500, |seconds: u64| seconds * 1000))
}

/// A random number below `bound`.
fn random(bound: u64) -> u64 {
    u64::from(Uuid::new_v4().as_fields().0) % bound
}

/// Writes events with their markers, as the store does, in transactions that are held before their commit, until `end`;
/// beside them into `naive`, whose key is a sequence. Returns the ids that were committed.
async fn write_held(url: String, end: Instant) -> Vec<Uuid> {
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let mut committed = Vec::new();
    while Instant::now() < end {
        let mut transaction = connection.begin().await.unwrap();
        let ids: Vec<Uuid> = (0..=random(5)).map(|_| at_now(Uuid::new_v4())).collect();
        for id in &ids {
            let insert = format!(
                "insert into events (id, sdk_app_id, family, command, event_time, received_at, payload)
                 select '{id}', {APP}, 'room', 'c', at, at, '{{}}' from (select timestamptz 'epoch' + {} * interval '1 millisecond' as at) as now;
                 insert into naive (id) values ('{id}')",
                NOW.0
            );
            transaction.execute(sqlx::raw_sql(AssertSqlSafe(insert))).await.unwrap();
        }
        sqlx::query("insert into feed_new (ids) values ($1)")
            .bind(&ids)
            .execute(&mut *transaction)
            .await
            .unwrap();
        sleep(Duration::from_millis(random(if random(10) == 0 { 200 } else { 10 }))).await;
        if random(10) == 0 {
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
            committed.extend(ids);
        }
    }
    committed
}

/// An id whose time is [`NOW`].
fn at_now(id: Uuid) -> Uuid {
    let mut bytes = id.into_bytes();
    bytes[..6].copy_from_slice(&NOW.0.to_be_bytes()[2..]);
    Uuid::from_bytes(bytes)
}

/// Gives positions as fast as it can until it is aborted.
fn numberer(store: Arc<dyn Store>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            store.number_events(false).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn held_commits_and_two_numberers_lose_no_event() {
    let database = Database::postgres().await;
    let [store, other] = [migrated(&database).await, database.store().await];
    database.execute("create table naive (n bigserial primary key, id uuid not null)").await;
    let end = Instant::now() + long_form();
    let writers: Vec<_> =
        (0..8).map(|_| tokio::spawn(write_held(database.url.clone(), end))).collect();
    let ordinary = {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut ids, mut next) = (Vec::new(), 0);
            while Instant::now() < end {
                ids.extend(put(&store, next..next + 3).await);
                next += 3;
            }
            ids
        })
    };
    let numberers = [numberer(store.clone()), numberer(other.clone())];
    let naive = {
        let url = database.url.clone();
        tokio::spawn(async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            let (mut after, mut seen) = (0, HashSet::new());
            while Instant::now() < end + Duration::from_millis(500) {
                let rows: Vec<(i64, Uuid)> =
                    sqlx::query_as("select n, id from naive where n > $1 order by n")
                        .bind(after)
                        .fetch_all(&mut connection)
                        .await
                        .unwrap();
                after = rows.last().map_or(after, |(n, _)| *n);
                seen.extend(rows.into_iter().map(|(_, id)| id));
            }
            seen
        })
    };
    let (mut after, mut seen) = (start(&store).await, Vec::new());
    while Instant::now() < end {
        let (found, next) = rest(&store, after, FeedLimit::default()).await;
        seen.extend(found);
        after = next;
    }
    let (mut held, mut committed) = (HashSet::new(), HashSet::new());
    for writer in writers {
        held.extend(writer.await.unwrap());
    }
    committed.extend(held.iter().copied());
    committed.extend(ordinary.await.unwrap());
    database.numbered().await;
    for numberer in numberers {
        numberer.abort();
    }
    seen.extend(rest(&store, after, FeedLimit::default()).await.0);
    assert!(seen.is_sorted(), "positions grow");
    let count = seen.len();
    let seen: HashSet<Uuid> = ids(seen).into_iter().collect();
    assert_eq!(seen.len(), count, "none comes twice");
    assert_eq!(seen.len(), committed.len(), "{} missed", committed.difference(&seen).count());
    assert_eq!(seen, committed);
    let gaps = "select max(position) - count(*) from feed";
    assert_eq!(database.count(gaps).await, 0, "rows have no gap");
    // The test can fail: a reader after a sequence loses some.
    let naive = naive.await.unwrap();
    let lost = held.iter().filter(|id| !naive.contains(id)).count();
    assert!(lost > 0, "nothing was lost by the sequence: the commits were not held");
    eprintln!("{count} events: 0 lost by positions, {lost} by a sequence");
    store.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_committed_very_late_gets_its_position() {
    let database = Database::postgres().await;
    let store = migrated(&database).await;
    let mut late = PgConnection::connect(&database.url).await.unwrap();
    let mut transaction = late.begin().await.unwrap();
    let mark =
        "insert into feed_new (ids) select array[gen_random_uuid()] from generate_series(1, ";
    transaction.execute(AssertSqlSafe(format!("{mark} 1)"))).await.unwrap();
    database.execute(&format!("{mark} 11000)")).await;
    assert_eq!(store.number_events(false).await.unwrap(), Some(11_000));
    transaction.commit().await.unwrap();
    assert_eq!(store.number_events(false).await.unwrap(), Some(0));
    assert_eq!(store.number_events(true).await.unwrap(), Some(1));
    assert_eq!(database.count("select count(*) from feed_new").await, 0);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_write_elsewhere_does_not_stop_the_feed() {
    let [database, elsewhere] = [Database::postgres().await, Database::postgres().await];
    let store = migrated(&database).await;
    let begin = start(&store).await;
    elsewhere.execute("create table written (i integer)").await;
    // In another database of the cluster, and in this one: neither has anything to do with events.
    let mut long = Vec::new();
    for url in [&elsewhere.url, &database.url] {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let write = "begin isolation level repeatable read; select pg_current_xact_id(); create temporary table here (i integer)";
        connection.execute(sqlx::raw_sql(write)).await.unwrap();
        long.push(connection);
    }
    let stored = put(&store, 0..3).await;
    assert_eq!(ids(rest(&store, begin, FeedLimit::default()).await.0), stored);
    for connection in long {
        connection.close().await.unwrap();
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_positions_grow_after_deletions_and_vacuum() {
    let database = Database::sqlite();
    let store = migrated(&database).await;
    let mut last = start(&store).await;
    for number in 0..5 {
        let stored = put(&store, number..number + 1).await;
        let (found, end) = rest(&store, last, FeedLimit::default()).await;
        assert_eq!(ids(found), stored);
        assert!(end > last);
        last = end;
        // Retention deletes the newest events too where they happened long ago.
        store.delete_expired(UnixMillis(NOW.0 + 1), 1000).await.unwrap();
        store.trim_feed(UnixMillis(i64::MAX / 2), 1000).await.unwrap();
        assert_eq!(database.rows().await, 0);
        database.execute("vacuum").await;
    }
    store.close().await;
}

/// A scan has a price that turns on JIT compilation, which took 50 ms of each numbering.
#[tokio::test(flavor = "multi_thread")]
async fn numbering_looks_rows_up_by_their_keys() {
    let database = Database::postgres().await;
    let store = migrated(&database).await;
    let scans = |kind: &str| {
        format!(
            "select sum({kind}) from pg_stat_user_tables where relname in ('feed_head', 'feed_new')"
        )
    };
    let count = async |kind: &str| -> i64 {
        database.texts(&format!("select cast(({}) as text)", scans(kind))).await[0].parse().unwrap()
    };
    let mut stored = 0;
    // A session hands its counts over after a while.
    eventually("lookups are counted", || {
        stored += 1;
        let numbers = stored..stored + 1;
        let (store, count) = (&store, &count);
        async move {
            put(store, numbers).await;
            count("idx_scan").await > 0
        }
    })
    .await;
    assert_eq!(count("seq_scan").await, 2, "one for each key when it was made");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_long_feed_reads_few_rows_of_it() {
    let database = Database::postgres().await;
    let store = migrated(&database).await;
    let begin = start(&store).await;
    // 4,000 rows of 500 ids that no event has.
    database
        .execute(
            "insert into feed (position, ids, numbered_at)
             select n, array_fill(gen_random_uuid(), array[500]), now() from generate_series(1, 4000) as n;
             update feed_head set position = 4000",
        )
        .await;
    let fetched = "select cast(idx_tup_fetch + seq_tup_read as text) from pg_stat_user_tables where relname = 'feed'";
    let count = async || -> i64 { database.texts(fetched).await[0].parse().unwrap() };
    let (before, mut pages) = (count().await, 0);
    // A session hands its counts over after a while.
    while count().await == before {
        let page = page(&store, begin, FeedLimit::default()).await;
        assert_eq!((page.gone.len(), page.is_end), (2000, false));
        pages += 1;
    }
    let rows = count().await - before;
    assert!(rows <= 10 * pages, "{rows} rows for {pages} pages");
    store.close().await;
}
