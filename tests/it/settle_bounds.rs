//! Rooms that hold very much, and what of them is settled, shown and kept from others.

use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection, SqliteConnection};
use tokio::time::timeout;
use trtc_callbacks::store::SettlerConnection;

use crate::settle::{comes, create, enter, everything, post};
use crate::support::{APP, Database, NOW, Server, eventually, on_both_stores, settings};

/// An hour before the servers' present.
const T: i64 = NOW.0 - 3_600_000;
const DAY_MS: i64 = 86_400_000;

type Event = (&'static str, String);

fn live(command: &'static str, room: &str, at: i64, rest: &str) -> Event {
    let body = format!(
        r#"{{"CallbackCommand":"{command}","Operator_Account":"ann","RoomId":"{room}","RoomInfo":{{"RoomId":"{room}"}},"EventTime":{}{rest}}}"#,
        T + at
    );
    (command, body)
}

/// Sets so many keys, each to as many four-byte letters.
fn metadata(room: &str, at: i64, keys: usize, letters: usize) -> Event {
    let value = "\u{1f600}".repeat(letters);
    let entries: Vec<String> =
        (0..keys).map(|key| format!(r#"{{"Key":"k{key:02}","Value":"{value}"}}"#)).collect();
    let rest = format!(r#","Metadata":[{}]"#, entries.join(","));
    live("Live.CallbackAfterSetMetadata", room, at, &rest)
}

/// A call's recording with so many names of files, which begin with a number.
fn recording(number: usize, names: usize) -> Event {
    let names: Vec<String> = (0..names).map(|name| format!("\"{number}-{name}\"")).collect();
    let command = "Call.CallbackAfterRecordChanged";
    let body = format!(
        r#"{{"CallbackCommand":"{command}","CallId":"c","EventTime":{0},"Callback":{{"EventGroupId":3,"EventType":310,"EventInfo":{{"RoomId":"r","UserId":"rec","TaskId":"t","EventMsTs":{0},"Payload":{{"Status":0,"FileList":[{1}]}}}}}}}}"#,
        T + i64::try_from(number).unwrap(),
        names.join(",")
    );
    (command, body)
}

fn bytes(database: &Database, column: &str) -> String {
    if database.is_postgres() {
        format!("octet_length({column}::text)::bigint")
    } else {
        format!("length(cast({column} as blob))")
    }
}

async fn get(server: &Server, path: &str) -> (Value, usize) {
    let (status, text) = server.get_ops(path).await;
    assert_eq!(status, 200, "{path}: {text}");
    (serde_json::from_str(&text).unwrap(), text.len())
}

/// A boundary in each of some seconds around midnight, creates and destroys in turn or not, many of them close together.
fn around_midnight(room: &str) -> Vec<Event> {
    let midnight = (T - T.rem_euclid(DAY_MS)) - T;
    let mut at = midnight - 1_500_000;
    let mut events = Vec::new();
    for number in 0..90_i64 {
        at += 15_000 + number * 7919 % 31_000;
        events.push(if number * 31 % 7 < 4 {
            create(room, at)
        } else {
            crate::settle::destroy(room, at)
        });
        if number % 10 == 3 {
            events.push(enter(room, &format!("u{number}"), at + 1));
        }
    }
    events
}

on_both_stores! {
    async fn metadata_of_a_session_is_bounded_and_marked_when_cut(database: Database) {
        let bound = [("TRTC_SETTLE__SESSION_BYTES_MAX", "10000")];
        let server = Server::start_with(settings(&database, &bound)).await;
        post(&server, &[live("Live.CallbackAfterCreateRoom", "l", 0, ""), metadata("l", 1000, 16, 3990)]).await;
        comes(&database, "select cast(cut as text) from live_sessions", &[r#"["metadata"]"#]).await;
        let marks = format!("select max({0}) || ' ' || sum({0}) || ' ' || count(*) || ' ' || count(cut) from metadata_marks", bytes(&database, "value"));
        // 16 keys, 4 KiB of each value: as much as one event may bring.
        assert_eq!(database.texts(&marks).await, ["4096 65536 16 16"]);
        let settled = database.count(&format!("select {} from live_sessions", bytes(&database, "metadata"))).await;
        assert!((4096..=10_000).contains(&settled), "{settled} bytes");
        let (sessions, _) = get(&server, "/api/v1/live-sessions").await;
        assert_eq!(sessions["items"][0]["live"]["cut"], serde_json::json!(["metadata"]));
        let page = format!("/room-sessions/{APP}/l/{}", sessions["items"][0]["session"]);
        let (status, page) = server.get_ops(&page).await;
        assert!(status == 200 && page.contains("Not whole here, since it is much: metadata."), "{page}");
        // Deleted, there is room for others again.
        post(&server, &[
            live("Live.CallbackAfterDelMetadata", "l", 2000, r#","Keys":["k00","k01"]"#),
            live("Live.CallbackAfterSetMetadata", "l", 3000, r#","Metadata":[{"Key":"x","Value":"y"}]"#),
        ]).await;
        comes(&database, "select cast(metadata as text) from live_sessions", &[r#"{"x":"y"}"#]).await;
    }

    async fn properties_of_a_room_are_bounded_and_marked_when_cut(database: Database) {
        let server = Server::start(&database).await;
        let info = |at: i64, text: &str| {
            let command = "Live.CallbackAfterUpdateRoomInfo";
            let body = format!(r#"{{"CallbackCommand":"{command}","RoomInfo":{{"RoomId":"l","CustomInfo":"{text}"}},"EventTime":{}}}"#, T + at);
            (command, body)
        };
        post(&server, &[live("Live.CallbackAfterCreateRoom", "l", 0, ""), info(1000, &"\\u0001".repeat(20_000))]).await;
        comes(&database, "select cast(cut as text) from room_sessions", &[r#"["properties"]"#]).await;
        let settled = database.count(&format!("select {} from room_sessions", bytes(&database, "properties"))).await;
        assert!((4000..5000).contains(&settled), "{settled} bytes");
        post(&server, &[info(2000, "short")]).await;
        let properties = "select coalesce(cast(cut as text), 'whole') || ' ' || cast(properties as text) from room_sessions";
        comes(&database, properties, &[r#"whole {"custom_info":"short"}"#]).await;
    }

    async fn sessions_begun_in_a_day_are_bounded(database: Database) {
        let bound = [("TRTC_SETTLE__BOUNDARIES_PER_DAY_MAX", "10")];
        let other = if database.is_postgres() { Database::postgres().await } else { Database::sqlite() };
        let (one, two) = (settings(&database, &bound), settings(&other, &bound));
        let (one, two) = tokio::join!(Server::start_with(one), Server::start_with(two));
        let creates: Vec<Event> = (0..30).map(|number| create("busy", number * 1000)).collect();
        let yesterday: Vec<Event> = (0..3).map(|number| create("busy", number * 1000 - DAY_MS)).collect();
        let all: Vec<Event> = creates.into_iter().chain(yesterday).collect();
        post(&one, &all).await;
        // Backwards, in two parts, the first of which is settled before.
        let backwards: Vec<Event> = all.iter().rev().cloned().collect();
        post(&two, &backwards[..20]).await;
        comes(&other, "select cast(count(*) as text) from room_sessions", &["13"]).await;
        post(&two, &backwards[20..]).await;
        for database in [&database, &other] {
            comes(database, "select cast(count(*) as text) from settle_queue", &["0"]).await;
        }
        let settled = everything(&database).await;
        assert_eq!(settled, everything(&other).await);
        let cut = "select state || ' ' || cast(cut as text) from room_sessions where cut is not null";
        assert_eq!(database.texts(cut).await, [r#"open ["sessions"]"#]);
        assert_eq!(database.count("select count(*) from room_sessions").await, 13);
    }

    async fn dense_creates_and_destroys_are_independent_of_order(database: Database) {
        let bound = [("TRTC_SETTLE__BOUNDARIES_PER_DAY_MAX", "40")];
        let other = if database.is_postgres() { Database::postgres().await } else { Database::sqlite() };
        let (one, two) = (settings(&database, &bound), settings(&other, &bound));
        let (one, two) = tokio::join!(Server::start_with(one), Server::start_with(two));
        let all = around_midnight("dense");
        post(&one, &all).await;
        // Each third first, and what is between them when those are settled.
        for third in 0..3 {
            let part: Vec<Event> = all.iter().skip(third).step_by(3).rev().cloned().collect();
            post(&two, &part).await;
            comes(&other, "select cast(count(*) as text) from settle_queue", &["0"]).await;
        }
        comes(&database, "select cast(count(*) as text) from settle_queue", &["0"]).await;
        let settled = everything(&database).await;
        assert!(settled.len() >= 10, "{settled:#?}");
        assert_eq!(settled, everything(&other).await);
    }

    async fn a_room_with_thousands_of_days_delays_no_other(database: Database) {
        let store = database.store().await;
        store.migrate().await.unwrap();
        store.close().await;
        let days = if database.is_postgres() {
            "generate_series(5000, 19999) as n(n)"
        } else {
            "(with recursive c(n) as (select 5000 union all select n + 1 from c where n < 19999) select n from c)"
        };
        let queue = |room: &str| format!("insert into settle_queue (sdk_app_id, room_id, day, slot) select {APP}, '{room}', n, 1 from {days};");
        database.execute(&(queue("a-busy") + &queue("z-busy"))).await;
        let server = Server::start(&database).await;
        post(&server, &[create("probe", 0)]).await;
        comes(&database, "select room_id from room_sessions", &["probe"]).await;
        assert!(database.count("select count(*) from settle_queue").await > 10_000, "the others are not settled yet");
        let shown = || async {
            let figures = server.figures().await;
            figures.value("trtc_settle_queue_rooms") > 10_000 && figures.value("trtc_settle_oldest_seconds") > 1_000_000
        };
        eventually("the queue is shown", shown).await;
    }

    async fn a_room_that_is_refused_is_counted_and_others_are_settled(database: Database) {
        let server = Server::start(&database).await;
        database.execute(if database.is_postgres() {
            "alter table room_sessions add constraint poison check (room_id <> 'm')"
        } else {
            "create trigger poison before insert on room_sessions when new.room_id = 'm' begin select raise(abort, 'no'); end"
        }).await;
        post(&server, &[create("m", 0)]).await;
        let fails = || async {
            let figures = server.figures().await;
            figures.value("trtc_settle_failures_total") > 0 && figures.value("trtc_settle_backoff_rooms") == 1
        };
        eventually("the room is tried later", fails).await;
        post(&server, &[create("z", 0)]).await;
        comes(&database, "select room_id from room_sessions", &["z"]).await;
        assert!(database.count("select count(*) from settle_queue where room_id = 'm'").await > 0);
    }

    async fn thousands_of_enters_at_one_moment_are_all_counted(database: Database) {
        let server = Server::start(&database).await;
        let (numbers, at, id, yes) = if database.is_postgres() {
            ("generate_series(0, 9999) as n(n)".to_owned(), format!("timestamptz 'epoch' + {T} * interval '1 millisecond'"), "gen_random_uuid()", "true")
        } else {
            ("(with recursive c(n) as (select 0 union all select n + 1 from c where n < 9999) select n from c)".to_owned(), T.to_string(), "printf('%036d', n)", "1")
        };
        database.execute(&format!(
            "insert into room_marks (sdk_app_id, room_id, account, at, event_id, family, enters)
             select {APP}, 'hot', 'user-' || n, {at}, {id}, 'room', {yes} from {numbers}"
        )).await;
        post(&server, &[create("hot", 0), create("cold", 0)]).await;
        let members = "select room_id || ' ' || members from room_sessions order by 1";
        comes(&database, members, &["cold 0", "hot 10000"]).await;
    }

    async fn files_of_a_recording_are_bounded_and_marked_when_cut(database: Database) {
        let server = Server::start(&database).await;
        let call = format!(r#"{{"CallbackCommand":"Call.CallbackAfterStartCall","EventTime":{T},"CallInfo":{{"CallId":"c","CallMediaType":"Video"}},"UserList":[{{"User_Account":"ann","Status":"Calling"}}]}}"#);
        post(&server, &[("Call.CallbackAfterStartCall", call)]).await;
        for number in 0..5 {
            post(&server, &[recording(number, 20_000)]).await;
        }
        let marks = format!("select max({}) from recording_marks where cut", bytes(&database, "files"));
        assert!((1000..=65_537).contains(&database.count(&marks).await));
        let (call, size) = get(&server, &format!("/api/v1/calls/{APP}/c")).await;
        let task = &call["recordings"][0];
        assert_eq!((task["files"].as_array().unwrap().len(), &task["files_cut"]), (1000, &true.into()));
        // The rest are the bodies of the timeline, which have a bound of their own.
        assert!(size < 9 << 20, "{size} bytes");
        let (status, page) = server.get_ops(&format!("/calls/{APP}/c")).await;
        assert!(status == 200 && page.len() < 1 << 20, "{status}, {} bytes", page.len());
    }

    async fn a_list_of_large_rows_is_paged_by_bytes(database: Database) {
        let store = database.store().await;
        store.migrate().await.unwrap();
        store.close().await;
        let (numbers, time, no, json) = if database.is_postgres() {
            ("generate_series(0, 99) as n(n)", format!("timestamptz 'epoch' + ({T} + n) * interval '1 millisecond'"), "false", "::json")
        } else {
            ("(with recursive c(n) as (select 0 union all select n + 1 from c where n < 99) select n from c)", format!("{T} + n"), "0", "")
        };
        let large = format!("('{{\"k\":\"{}\"}}'){json}", "x".repeat(60_000));
        database.execute(&format!(
            "insert into room_sessions (sdk_app_id, room_id, session, family, started_at, from_at, last_at, state, inferred, members, members_peak,
                 visitors, entries, leaves_missing, enters_missing, properties, occupancy)
             select {APP}, 'r' || n, {T} + n, 'live', {time}, {time}, {time}, 'ended', {no}, 0, 0, 0, 0, 0, 0, {large}, '[]' from {numbers};
             insert into live_sessions (sdk_app_id, room_id, session, gifts, gift_coins, gift_senders, top_senders, top_receivers, battles, admins, metadata)
             select {APP}, 'r' || n, {T} + n, 0, 0, 0, '[]', '[]', 0, '[]', {large} from {numbers};
             insert into room_changes (sdk_app_id, room_id, at, event_id, ordinal, family, kind, properties)
             select {APP}, 'r0', {time}, {}, n, 'live', 'update', {large} from {numbers}",
            if database.is_postgres() { "gen_random_uuid()" } else { "'00000000-0000-8000-8000-000000000000'" }
        )).await;
        let server = Server::start(&database).await;
        for list in ["room-sessions", "live-sessions"] {
            let (mut seen, mut pages, mut next) = (Vec::new(), 0, String::new());
            loop {
                let (page, size) = get(&server, &format!("/api/v1/{list}?limit=100{next}")).await;
                assert!(size < 6 << 20, "{list}: {size} bytes");
                pages += 1;
                seen.extend(page["items"].as_array().unwrap().iter().map(|row| row["room_id"].to_string()));
                let Some(cursor) = page["next"].as_str() else { break };
                next = format!("&cursor={cursor}");
            }
            let rows = seen.len();
            seen.sort();
            seen.dedup();
            assert!((rows, seen.len()) == (100, 100) && pages > 2, "{list}: {rows} rows on {pages} pages");
        }
        let (room, size) = get(&server, &format!("/api/v1/room-sessions/{APP}/r0/latest")).await;
        assert!(size < 3 << 20, "{size} bytes");
        assert_eq!(room["lists_cut"], serde_json::json!(["changes"]));
        let (status, page) = server.get_ops("/live-sessions").await;
        assert!(status == 200 && page.contains("Older"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_settlement_interrupts_sqlite() {
    let database = Database::sqlite();
    let store = database.store().await;
    store.migrate().await.unwrap();
    store.close().await;
    database
        .execute(
            "create table seen (i integer); insert into seen values (1); drop table anomalies;
             create view anomalies as
             with recursive n (i) as (select i from seen union all select i + 1 from n)
             select 'x' as kind, i, null as resolved_at from n",
        )
        .await;
    let mut settling =
        SettlerConnection::open(&settings(&database, &[]).store_options()).await.unwrap();
    let listed = timeout(Duration::from_millis(100), settling.listed()).await;
    assert!(listed.is_err(), "it came to an end");
    // What reads keeps the file from being rewritten.
    let rewritten = async || {
        let mut connection = SqliteConnection::connect(&database.url).await.unwrap();
        sqlx::query("insert into seen values (2)").execute(&mut connection).await.unwrap();
        sqlx::query("pragma busy_timeout = 0").execute(&mut connection).await.unwrap();
        let sql = "pragma wal_checkpoint(truncate)";
        let busy: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        busy == 0
    };
    eventually("it reads", async || !rewritten().await).await;
    drop(settling);
    eventually("nobody reads any more", rewritten).await;
}
