//! The read models made anew from the events.

use std::sync::Arc;
use std::time::Duration;

use protocol::UnixMillis;
use protocol::simulate::{Generator, Kind as Scene, Options, TimedDelivery};
use protocol::{AppId, Apps, Event, Query};
use serde_json::Value;
use trtc_callbacks::clock::Clock;
use trtc_callbacks::projections::table::{Column, Join, Kind, Table};
use trtc_callbacks::projections::{Change, TABLES, changes};
use trtc_callbacks::store::{EventInsert, Store};

use crate::models::dump;
use crate::process::{Serving, done, failed};
use crate::settle::everything;
use crate::support::{APP, Database, eventually, insert_alone, on_both_stores};
use crate::{rtc_rooms, rtc_tasks};

fn app() -> AppId {
    AppId::parse(APP).unwrap()
}

/// What so many scenarios of every kind send, all of it within the last hours.
fn deliveries(each: usize) -> Vec<TimedDelivery> {
    let mut start = UnixMillis(Clock::system().now().0 - 4 * 3_600_000);
    let options = Options { compress: 20.0, recorded: 1.0, ..Options::tiny() };
    let mut generator = Generator::new(17, app(), start, options);
    let mut all = Vec::new();
    for _ in 0..each {
        for kind in Scene::ALL {
            all.extend(generator.scenario(kind, start).deliveries);
            start = UnixMillis(start.0 + 20_000);
        }
    }
    all.sort_by_key(|delivery| delivery.at);
    all
}

fn events(deliveries: &[TimedDelivery]) -> Vec<Event> {
    let event = |delivery: &TimedDelivery| {
        let request = delivery.delivery(app());
        let apps = Apps::new().with(app(), Vec::new());
        let verified = apps.verify(Query::parse(&request.query), delivery.at).unwrap();
        Event::decode(&verified, &request.bytes().unwrap(), delivery.at)
    };
    let mut events: Vec<Event> = deliveries.iter().map(event).collect();
    // The scenarios have no events of the other dialect.
    let start = deliveries.first().map_or(UnixMillis(0), |delivery| delivery.at);
    events.extend(rtc_tasks::events(1, start));
    events.extend(rtc_rooms::events(1, start));
    events
}

async fn ready(database: &Database) -> Arc<dyn Store> {
    let store = database.store().await;
    store.migrate().await.unwrap();
    store.upkeep(Clock::system().now()).await.unwrap();
    store
}

/// Stores events as ingest does.
async fn ingest(database: &Database, events: &[Event]) {
    let store = ready(database).await;
    for page in events.chunks(100) {
        let mut page: Vec<&Event> = page.iter().collect();
        page.sort_by_key(|event| event.id);
        let changes: Vec<Vec<Change>> = page.iter().map(|event| changes(event)).collect();
        let entries =
            page.iter().zip(&changes).map(|(event, changes)| EventInsert::copied(event, changes));
        store.insert(&entries.collect::<Vec<_>>()).await.unwrap();
    }
    store.close().await;
}

fn run(database: &Database, more: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [&["rebuild", "--store", &database.url], more].concat();
    done(folder.path(), &arguments)
}

fn rebuild(database: &Database, more: &[&str]) -> Value {
    serde_json::from_str(&run(database, &[&["--json"], more].concat())).unwrap()
}

/// The rows of all tables.
async fn all(database: &Database) -> Vec<(&'static str, Vec<String>)> {
    let mut all = vec![
        ("room sessions and live sessions", everything(database).await),
        ("sessions of the RTC Engine", rtc_rooms::everything(database).await),
    ];
    for table in TABLES.iter().filter(|table| !is_queue(table)) {
        all.push((table.name, dump(database, table).await));
    }
    all
}

/// Whether it says only which rooms are to be settled.
fn is_queue(table: &Table) -> bool {
    table.name.ends_with("settle_queue")
}

async fn expect(database: &Database, expected: &[(&'static str, Vec<String>)]) {
    for ((table, rows), (_, expected)) in all(database).await.iter().zip(expected) {
        assert_eq!(rows, expected, "{table}");
    }
}

fn columns(table: &Table, change: impl Fn(&str) -> Option<String>) -> String {
    let columns = table
        .columns
        .iter()
        .map(|column| change(column.name).unwrap_or_else(|| column.name.to_owned()));
    columns.collect::<Vec<_>>().join(", ")
}

/// A row of a table for which a condition holds, counted from its latest.
fn nth(table: &Table, real: &str, place: usize) -> String {
    let name = table.name;
    let keys: Vec<&str> = table.keys().map(|key| key.name).collect();
    let keys = keys.join(", ");
    let times = ["at", "first_at", "last_at"];
    let time = times.iter().find(|time| table.columns.iter().any(|column| column.name == **time));
    let time = time.unwrap();
    format!(
        "({keys}) in (select {keys} from (select {keys} from {name} where {real} order by {time} desc, {keys} limit 1 offset {place}) as one)"
    )
}

/// What is added up of [`TABLES`]' log.
static SUMS: Table = Table {
    name: "summed_event_counts",
    columns: &[
        column("sdk_app_id", Kind::Number, Join::Key),
        column("width_s", Kind::Number, Join::Key),
        column("at", Kind::Time, Join::Key),
        column("command", Kind::Text, Join::Key),
        column("result", Kind::Text, Join::Key),
        column("family", Kind::Text, Join::Fact),
        column("events", Kind::Number, Join::Fact),
        column("lag_ms", Kind::Number, Join::Fact),
        column("lag_ms_max", Kind::Number, Join::Fact),
    ],
};

const fn column(name: &'static str, kind: Kind, join: Join) -> Column {
    Column { name, kind, join, may_name: false }
}

/// The tables that are compared, and how the report names them.
fn compared() -> impl Iterator<Item = (&'static Table, &'static str)> {
    let tables = TABLES.into_iter().filter(|table| !is_queue(table));
    tables.map(|table| if table.is_log() { (&SUMS, "event_counts") } else { (table, table.name) })
}

/// Takes one row away, changes another, and adds one.
async fn damage(database: &Database, table: &Table) {
    let name = table.name;
    let wrong = match name {
        "merged_calls" => "caller = 'nobody', end_event_at = null",
        "merged_call_members" => "last_action = 'nothing', joined_at = null",
        "room_changes" => "name = 'other'",
        "room_marks" => "cause = 'other'",
        "seat_marks" => "by_account = 'other'",
        "gifts" => "coins = 99999",
        "battle_marks" => "owner = 'other'",
        "metadata_marks" => "value = 'other'",
        "recording_marks" => "message = 'other'",
        "rtc_task_marks" => "robot = 'other'",
        "rtc_room_marks" => "role = 99",
        "rtc_robots" if database.is_postgres() => "last_at = last_at + interval '1 hour'",
        "rtc_robots" => "last_at = last_at + 3600000",
        "summed_event_counts" => "events = events + 5",
        other => panic!("{other} is not damaged"),
    };
    let key = table.keys().map(|key| key.name).find(|name| {
        ["call_id", "room_id", "battle_id", "task_id", "account", "command"].contains(name)
    });
    let key = key.unwrap();
    let copy = columns(table, |column| (column == key).then(|| "'nobody'".to_owned()));
    let names = columns(table, |_| None);
    database
        .execute(&format!(
            "insert into {name} ({names}) select {copy} from {name} where {}",
            nth(table, "true", 2)
        ))
        .await;
    // The row that was added is of the same time as the one it is a copy of, and is neither of these.
    let real = format!("{key} <> 'nobody'");
    database.execute(&format!("update {name} set {wrong} where {}", nth(table, &real, 6))).await;
    database.execute(&format!("delete from {name} where {}", nth(table, &real, 9))).await;
}

async fn damage_settled(database: &Database) {
    let mut copy = Vec::new();
    let sql = if database.is_postgres() {
        "select column_name::text from information_schema.columns where table_name = 'room_sessions' order by 1"
    } else {
        "select name from pragma_table_info('room_sessions')"
    };
    let names = database.texts(sql).await;
    for name in &names {
        copy.push(if name == "room_id" { "'nobody'".to_owned() } else { name.clone() });
    }
    let first = "(room_id, session) in (select room_id, session from (select * from room_sessions where room_id <> 'nobody' order by room_id desc limit 1) as one)";
    let last = "(room_id, session) in (select room_id, session from (select * from room_sessions where room_id <> 'nobody' order by room_id limit 1) as one)";
    let damages = [
        format!(
            "insert into room_sessions ({}) select {} from room_sessions where {first}",
            names.join(", "),
            copy.join(", ")
        ),
        format!("update room_sessions set visitors = visitors + 7 where {last}"),
        format!("delete from room_sessions where {first}"),
        "update live_sessions set gifts = gifts + 1".to_owned(),
    ];
    for damage in damages {
        database.execute(&damage).await;
    }
}

/// What a report says of a table: missing, wrong, too many.
fn faults(report: &Value, table: &str) -> [u64; 3] {
    ["missing", "wrong", "too_many"].map(|what| report["tables"][table][what].as_u64().unwrap())
}

on_both_stores! {
    async fn a_rebuild_reports_and_corrects_every_difference(database: Database) {
        ingest(&database, &events(&deliveries(12))).await;
        rebuild(&database, &[]);
        let right = all(&database).await;
        for (table, rows) in &right {
            assert!(rows.len() > 10, "{table} has {} rows", rows.len());
        }
        let report = rebuild(&database, &[]);
        assert_eq!(report["faults"], 0, "{report:#}");
        expect(&database, &right).await;

        for (table, _) in compared() {
            damage(&database, table).await;
        }
        damage_settled(&database).await;
        let damaged = all(&database).await;
        let dry = rebuild(&database, &["--dry-run"]);
        expect(&database, &damaged).await;
        let report = rebuild(&database, &[]);
        for (_, table) in compared() {
            assert_eq!(faults(&report, table), [1, 1, 1], "{table} {report:#}");
            assert_eq!(dry["tables"][table], report["tables"][table], "{table}");
        }
        assert_eq!(faults(&report, "room_sessions"), [1, 1, 1], "{report:#}");
        expect(&database, &right).await;
        assert_eq!(rebuild(&database, &[])["faults"], 0);
        let text = run(&database, &[]);
        assert!(text.ends_with("nothing to repair\n") && text.contains("call_members"), "{text}");
    }

    async fn an_interrupted_rebuild_resumes_and_counts_new_events_once(database: Database) {
        let events = events(&deliveries(20));
        let half = |first| events.iter().skip(first).step_by(2).cloned().collect::<Vec<Event>>();
        let (before, meanwhile) = (half(0), half(1));
        assert!(before.len() > 600, "{} events", before.len());
        let whole = if database.is_postgres() { Database::postgres().await } else { Database::sqlite() };
        ingest(&whole, &events).await;
        rebuild(&whole, &[]);

        ingest(&database, &before).await;
        let said = run(&database, &["--limit", "500"]);
        assert_eq!(said, "read 500 events so far; run it again to resume\n");
        ingest(&database, &meanwhile).await;
        let report = rebuild(&database, &[]);
        let read = report["events"].as_u64().unwrap();
        assert!(read > 500 && read < events.len() as u64, "{report:#}");
        for (_, table) in compared() {
            assert_eq!(faults(&report, table), [0, 0, 0], "{table} {report:#}");
        }
        expect(&database, &all(&whole).await).await;
        assert_eq!(rebuild(&database, &[])["faults"], 0);
    }

    async fn a_rebuild_from_events_equals_ingest(database: Database) {
        let events = events(&deliveries(12));
        let whole = if database.is_postgres() { Database::postgres().await } else { Database::sqlite() };
        ingest(&whole, &events).await;
        rebuild(&whole, &[]);
        let store = ready(&database).await;
        let mut sorted: Vec<&Event> = events.iter().collect();
        sorted.sort_by_key(|event| event.id);
        for page in sorted.chunks(100) {
            insert_alone(&store, page).await.unwrap();
        }
        store.close().await;
        let report = rebuild(&database, &[]);
        for (_, table) in compared() {
            let tally = &report["tables"][table];
            assert!(tally["missing"].as_u64() > Some(0) && tally["right"] == 0, "{report:#}");
        }
        expect(&database, &all(&whole).await).await;
    }

    async fn a_rebuild_beside_a_server_finds_no_fault_and_queues_rooms(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let serving = Serving::start(folder.path(), &["--store", &database.url]);
        let client = trtc_callbacks::tencent_api::http_client().build().unwrap();
        for delivery in deliveries(1) {
            let request = delivery.delivery(app());
            let url = format!("{}/?{}", serving.url, request.query);
            let sent = client.post(url).body(request.bytes().unwrap()).send().await.unwrap();
            assert_eq!(sent.status(), 200);
        }
        let settled = || async {
            database.count("select count(*) from settle_queue").await == 0
                && database.count("select count(*) from room_sessions").await > 0
        };
        eventually("all rooms are settled", settled).await;
        let report = rebuild(&database, &[]);
        assert_eq!(report["faults"], 0, "{report:#}");
        let right = everything(&database).await;
        damage_settled(&database).await;
        let report = rebuild(&database, &[]);
        assert_eq!(faults(&report, "room_sessions"), [1, 1, 1], "{report:#}");
        let mended = || async { everything(&database).await == right };
        eventually("the server has settled the rooms", mended).await;
        drop(serving);
    }

    async fn a_second_rebuild_and_an_erasure_are_refused(database: Database) {
        ingest(&database, &events(&deliveries(1))).await;
        let folder = tempfile::tempdir().unwrap();
        let refused = |arguments: &[&str]| {
            let said = failed(folder.path(), arguments, 1);
            assert!(said.contains("a rebuild of the store") && said.contains("is running"), "{said}");
        };
        let erase = ["erase-user", "somebody", "--yes", "--store", &database.url];
        let rebuild = ["rebuild", "--store", &database.url];
        if database.is_postgres() {
            use sqlx::{Connection, Executor};
            let mut other = sqlx::PgConnection::connect(&database.url).await.unwrap();
            other.execute("select pg_advisory_lock(1953657954)").await.unwrap();
            refused(&rebuild);
            refused(&erase);
        } else {
            let file = format!("{}-rebuild", database.url.trim_start_matches("sqlite://"));
            let file = std::fs::File::create(file).unwrap();
            file.lock().unwrap();
            refused(&rebuild);
            refused(&erase);
        }
        // One that was broken off may hold the account: it is forgotten.
        let gone = || async {
            std::process::Command::new(env!("CARGO_BIN_EXE_trtc-callbacks"))
                .args(rebuild).args(["--limit", "1"]).output().unwrap().status.success()
        };
        tokio::time::timeout(Duration::from_secs(30), eventually("the lock is given up", gone)).await.unwrap();
        assert_eq!(database.count("select count(*) from rebuilds").await, 1);
        done(folder.path(), &erase);
        assert_eq!(database.count("select count(*) from rebuilds").await, 0);
    }
}
