//! Rooms that hold very much, while others are to be settled beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::Connection;
use tokio_util::task::TaskTracker;
use trtc_callbacks::clock::Clock;

use crate::cluster::Cluster;
use crate::server::{Place, Serving};
use crate::support::{APP, OK};
use crate::trial::{Trial, full, in_full};

/// How soon a room is settled whatever else there is to settle.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
/// What the server may hold in memory, in MiB.
const MEMORY_MAX: u64 = 256;
/// How many requests are under way at once.
const SENDERS: usize = 8;
/// How many rooms are looked at while the hostile one is settled.
const PROBES: usize = 5;
/// 2015-01-01.
const FIRST_MS: i64 = 1_420_070_400_000;

/// A command and a body, by a number.
type Make = fn(usize) -> (&'static str, String);

fn now() -> i64 {
    Clock::system().now().0
}

/// Sixty-three times 16 keys of 4-byte letters in each of some sessions of one room on one day.
fn metadata(number: usize) -> (&'static str, String) {
    const SETS: usize = 63;
    let session = i64::try_from(number / (SETS + 2)).unwrap();
    let step = i64::try_from(number % (SETS + 2)).unwrap();
    let at = now() / 86_400_000 * 86_400_000 + 1000 + session * 60_000 + step * 500;
    let head = |command: &str| {
        format!(r#"{{"CallbackCommand":"{command}","Operator_Account":"eve","EventTime":{at}"#)
    };
    match step {
        0 => {
            let command = "Live.CallbackAfterCreateRoom";
            (
                command,
                format!(
                    r#"{},"RoomInfo":{{"RoomId":"hostile","RoomType":"Live"}}}}"#,
                    head(command)
                ),
            )
        }
        64 => {
            let command = "Live.CallbackAfterDestroyRoom";
            (
                command,
                format!(r#"{},"RoomId":"hostile","EventType":"DestroyByUser"}}"#, head(command)),
            )
        }
        _ => {
            let command = "Live.CallbackAfterSetMetadata";
            let value = "\u{1f600}".repeat(3990);
            let entries: Vec<String> = (0..16)
                .map(|key| format!(r#"{{"Key":"{step}-{key}","Value":"{value}"}}"#))
                .collect();
            (
                command,
                format!(
                    r#"{},"RoomId":"hostile","Metadata":[{}]}}"#,
                    head(command),
                    entries.join(",")
                ),
            )
        }
    }
}

/// Created again each ms.
fn creates(number: usize) -> (&'static str, String) {
    let at = now() / 86_400_000 * 86_400_000 + i64::try_from(number).unwrap();
    create("hostile", at)
}

/// Three rooms into which somebody came on each of thousands of days.
fn days(number: usize) -> (&'static str, String) {
    let step = (now() - FIRST_MS) / in_full(60_000, 6000);
    let at = FIRST_MS + i64::try_from(number).unwrap() * step;
    let command = "Room.CallbackAfterMemberEnter";
    let body = format!(
        r#"{{"CallbackCommand":"{command}","Operator_Account":"eve","RoomId":"{}","Type":"Enter","MemberList_Account":["u{number}"],"EventTime":{at}}}"#,
        ["hostile", "hostile-1", "hostile-2"][number % 3]
    );
    (command, body)
}

fn create(room: &str, at: i64) -> (&'static str, String) {
    let command = "Room.CallbackAfterCreateRoom";
    let body = format!(
        r#"{{"CallbackCommand":"{command}","Operator_Account":"eve","RoomInfo":{{"RoomId":"{room}","RoomType":"Meeting"}},"EventTime":{at}}}"#
    );
    (command, body)
}

fn client() -> reqwest::Client {
    trtc_callbacks::tencent_api::http_client().timeout(Duration::from_secs(30)).build().unwrap()
}

/// Posts it, and says whether it was answered OK.
async fn post(client: &reqwest::Client, place: &Place, (command, body): (&str, String)) -> bool {
    let url = format!("http://{}/?SdkAppid={APP}&CallbackCommand={command}", place.address());
    let Ok(answer) = client.post(url).body(body).send().await else { return false };
    answer.text().await.is_ok_and(|text| text == OK)
}

/// Sends as many events, some at once. Returns how many were answered OK.
async fn attack(place: &Arc<Place>, events: usize, make: Make) -> usize {
    let (next, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let client = client();
    let senders = TaskTracker::new();
    for _ in 0..SENDERS {
        let (place, client) = (place.clone(), client.clone());
        let (next, answered) = (next.clone(), answered.clone());
        senders.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    break;
                }
                let is_ok = post(&client, &place, make(number)).await;
                answered.fetch_add(usize::from(is_ok), Ordering::Relaxed);
            }
        });
    }
    senders.close();
    senders.wait().await;
    answered.load(Ordering::Relaxed)
}

/// How many sessions of this room are settled.
async fn sessions(url: &str, room: &str) -> i64 {
    let sql = "select count(*) from room_sessions where room_id = $1";
    if url.starts_with("postgres") {
        let mut session = sqlx::PgConnection::connect(url).await.unwrap();
        sqlx::query_scalar(sql).bind(room).fetch_one(&mut session).await.unwrap()
    } else {
        let mut session = sqlx::SqliteConnection::connect(url).await.unwrap();
        sqlx::query_scalar(sql).bind(room).fetch_one(&mut session).await.unwrap()
    }
}

/// The most memory the server ever held, in MiB; `None` where the system does not say.
fn memory(serving: &Serving) -> Option<u64> {
    let status = format!("/proc/{}/status", serving.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}

/// While a hostile room is there, rooms are settled soon, all events are taken, and the server stays small.
async fn others_are_settled_beside(
    fault: &'static str,
    url: &str,
    place: Place,
    events: usize,
    make: Make,
) {
    // Alone on the machine.
    let _trial = Trial::of(fault, url);
    let place = Arc::new(place);
    let serving = place.start();
    let client = client();
    let begun = Instant::now();
    let answered = attack(&place, events, make).await;
    let sent = begun.elapsed();
    assert_eq!(answered, events, "not all were answered OK");
    let mut slowest = Duration::ZERO;
    for probe in 0..PROBES {
        let room = format!("probe-{probe}");
        let begun = Instant::now();
        assert!(post(&client, &place, create(&room, now())).await, "{room} was not answered OK");
        while sessions(url, &room).await == 0 {
            let waited = begun.elapsed();
            assert!(waited < SETTLED_WITHIN, "{room} was not settled within {waited:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        slowest = slowest.max(begun.elapsed());
    }
    let held = memory(&serving);
    let begun = Instant::now();
    let most = Duration::from_secs(in_full(240, 60));
    while sessions(url, "hostile").await == 0 {
        assert!(begun.elapsed() < most, "the hostile room itself is not settled");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let held = memory(&serving).max(held);
    eprintln!(
        "{fault}: {events} events in {sent:.1?}, others settled within {slowest:.1?}, itself {:.1?} later, {held:?} MiB",
        begun.elapsed()
    );
    // A debug build is larger.
    assert!(!full() || held.is_none_or(|held| held <= MEMORY_MAX), "{held:?} MiB");
    serving.terminate();
}

async fn on_sqlite(fault: &'static str, events: usize, make: Make) {
    let place = Place::on_sqlite_in_memory();
    others_are_settled_beside(fault, &place.store_url(), place, events, make).await;
}

async fn on_postgres(fault: &'static str, events: usize, make: Make) {
    let cluster = Cluster::start().await;
    let url = cluster.url();
    others_are_settled_beside(fault, &url, Place::on(&url), events, make).await;
}

const METADATA: &str = "metadata of 250 KB an event in one live room";
const CREATES: &str = "one room is created again each ms";
const DAYS: &str = "three rooms with events of thousands of days";

fn metadata_events() -> usize {
    in_full(20 * 65, 65)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_full_of_metadata_delays_no_other_room_on_sqlite() {
    on_sqlite(METADATA, metadata_events(), metadata).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_full_of_metadata_delays_no_other_room_on_postgres() {
    on_postgres(METADATA, metadata_events(), metadata).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_created_each_ms_delays_no_other_room_on_sqlite() {
    on_sqlite(CREATES, in_full(100_000, 5000), creates).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_created_each_ms_delays_no_other_room_on_postgres() {
    on_postgres(CREATES, in_full(100_000, 5000), creates).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_of_thousands_of_days_delay_no_other_room_on_sqlite() {
    on_sqlite(DAYS, in_full(60_000, 6000), days).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_of_thousands_of_days_delay_no_other_room_on_postgres() {
    on_postgres(DAYS, in_full(60_000, 6000), days).await;
}
