//! How long readers wait: every list and page on 5 million events in PostgreSQL, with what they left in the read models.
//!
//! Run it with `./scripts/with-postgres cargo bench --bench read_speed`; it takes some minutes and 6 GB of disk. With
//! `READ_SPEED_URL` it fills that database where it is empty, and leaves it there; with `READ_SPEED_EVENTS`, with that
//! many events. `docs/reports/reading.md` has what came of it.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::AppId;
use protocol::UnixMillis;
use sqlx::{Connection, Executor, PgConnection};
use trtc_callbacks::settings::{Settings, Sources};
use trtc_callbacks::store::{
    self, AnomalyFilter, CallFilter, CountBy, CountFilter, DetailPage, DetailPlace, EventFilter,
    Order, Room, RoomFilter, RoomKey, Step, Store, StoreError, Subject, UserCallFilter,
};

const APP: &str = "1400000001";
/// When the last event happened: 2026-11-01 12:00 UTC.
const END: UnixMillis = UnixMillis(1_793_534_400_000);
const LIMIT: u32 = 100;

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let Ok(admin) = std::env::var("TEST_POSTGRES_URL") else {
        println!(
            "TEST_POSTGRES_URL is not set: run ./scripts/with-postgres cargo bench --bench read_speed"
        );
        return;
    };
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let kept = std::env::var("READ_SPEED_URL").ok();
    let name = format!("bench_{}", uuid::Uuid::now_v7().simple());
    let mut connection = PgConnection::connect(&admin).await.unwrap();
    let url = if let Some(url) = &kept {
        url.clone()
    } else {
        let create = format!("create database {name} encoding 'UTF8' template template0");
        connection.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
        format!("{}/{name}", admin.rsplit_once('/').unwrap().0)
    };
    let env = [("TRTC_SDK_APP_ID", APP), ("TRTC_STORE__URL", &url)];
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let settings = Settings::load(&Sources { env, ..Sources::default() }).unwrap();
    let store = store::open(&settings.store_options()).await.unwrap();
    // Anything but a call, an error too, says that it is not filled yet.
    if !matches!(store.call(app(), "call-499999").await, Ok(Some(_))) {
        store.migrate().await.unwrap();
        fill(&url).await;
    }
    calls(&store).await;
    rooms(&store).await;
    statistics(&store).await;
    details(&store).await;
    events(&store).await;
    store.close().await;
    if kept.is_none() {
        let drop = format!("drop database {name} with (force)");
        connection.execute(sqlx::AssertSqlSafe(drop)).await.unwrap();
    }
}

fn app() -> AppId {
    AppId::parse(APP).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "a condition of a filter is there or not")]
fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn before(hours: u64) -> UnixMillis {
    let ms = i64::try_from(Duration::from_hours(hours).as_millis()).unwrap();
    UnixMillis(END.0 - ms)
}

/// Asks six times, and says how long the first took, which may find nothing in memory, and the middle one of the rest.
async fn time<T: Length>(what: &str, ask: impl AsyncFn() -> Result<T, StoreError>) {
    let mut times = Vec::new();
    let mut rows = 0;
    for _ in 0..6 {
        let begun = Instant::now();
        rows = ask().await.unwrap().length();
        times.push(begun.elapsed());
    }
    let first = times.remove(0);
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("{what:<60} {rows:>7} rows {:>8.1} ms first {:>8.1} ms", ms(first), ms(times[2]));
}

/// How many rows an answer has.
trait Length {
    fn length(&self) -> usize;
}

impl<T> Length for Vec<T> {
    fn length(&self) -> usize {
        self.len()
    }
}

impl<T> Length for Option<T> {
    fn length(&self) -> usize {
        usize::from(self.is_some())
    }
}

impl<T> Length for store::Details<T> {
    fn length(&self) -> usize {
        self.rows.len()
    }
}

impl Length for store::VisitPage {
    fn length(&self) -> usize {
        self.visits.len()
    }
}

impl Length for store::EventPage {
    fn length(&self) -> usize {
        self.events.len()
    }
}

async fn calls(store: &Arc<dyn Store>) {
    let all = CallFilter { limit: LIMIT, ..CallFilter::default() };
    let deep = Some((before(24 * 80), 1_400_000_001, "call-9".to_owned()));
    for (what, filter) in [
        ("calls", all.clone()),
        ("calls, 80 days down", CallFilter { after: deep.clone(), ..all.clone() }),
        ("calls of an app", CallFilter { app: Some(app()), ..all.clone() }),
        ("calls of a small app", CallFilter { app: AppId::parse("1400000002"), ..all.clone() }),
        ("calls of an app that has none", CallFilter { app: AppId::parse("7"), ..all.clone() }),
        ("calls, ringing", CallFilter { state: text("ringing"), ..all.clone() }),
        ("calls, active", CallFilter { state: text("active"), ..all.clone() }),
        ("calls, overdue", CallFilter { state: text("overdue"), ..all.clone() }),
        (
            "calls, overdue, 80 days down",
            CallFilter { state: text("overdue"), after: deep, ..all.clone() },
        ),
        ("calls, ended", CallFilter { state: text("ended"), ..all.clone() }),
        ("calls, a rare result", CallFilter { result: text("call_busy"), ..all.clone() }),
        ("calls, no such result", CallFilter { result: text("none"), ..all.clone() }),
        (
            "calls, audio and a rare result",
            CallFilter { media: text("audio"), result: text("call_busy"), ..all.clone() },
        ),
        ("calls, no such media", CallFilter { media: text("none"), ..all.clone() }),
        ("calls of an account", CallFilter { account: text("u77"), ..all.clone() }),
        ("calls of an account with 50,000", CallFilter { account: text("agent"), ..all.clone() }),
        ("calls of no account", CallFilter { account: text("none"), ..all.clone() }),
        ("calls in a room", CallFilter { room_id: text("4242"), ..all.clone() }),
        (
            "calls of a day",
            CallFilter { since: Some(before(240)), until: Some(before(216)), ..all.clone() },
        ),
    ] {
        time(what, async || store.calls(&filter).await).await;
    }
    time("call", async || store.call(app(), "call-77").await).await;
    time("call_members", async || store.call_members(app(), "call-77").await).await;
    for account in ["u77", "agent", "none"] {
        for outcome in [None, text("answered"), text("hung_up"), text("busy"), text("dropped")] {
            let what = format!("user_calls of {account}, {outcome:?}");
            let account = account.to_owned();
            let filter = UserCallFilter {
                app: app(),
                account,
                direction: None,
                outcome,
                after: None,
                limit: LIMIT,
            };
            time(&what, async || store.user_calls(&filter).await).await;
        }
    }
}

async fn rooms(store: &Arc<dyn Store>) {
    let all = RoomFilter { limit: LIMIT, ..RoomFilter::default() };
    for (what, filter) in [
        ("rooms", all.clone()),
        ("rooms, live", RoomFilter { family: text("live"), ..all.clone() }),
        ("rooms, open", RoomFilter { state: text("open"), ..all.clone() }),
        ("rooms, overdue", RoomFilter { state: text("overdue"), ..all.clone() }),
        ("rooms, ended", RoomFilter { state: text("ended"), ..all.clone() }),
        ("rooms of one id", RoomFilter { room_id: text("room-7"), ..all.clone() }),
        ("rooms of an owner", RoomFilter { owner: text("star"), ..all.clone() }),
        ("rooms of an app that has none", RoomFilter { app: AppId::parse("7"), ..all.clone() }),
        ("rooms, no such family", RoomFilter { family: text("none"), ..all.clone() }),
    ] {
        time(what, async || store.rooms(&filter).await).await;
    }
    let page = store.rooms(&all).await.unwrap();
    let key =
        |room: &Room| RoomKey { app: app(), room_id: room.room_id.clone(), session: room.session };
    let keys: Vec<RoomKey> = page.iter().map(key).collect();
    time("sessions of a page", async || store.live_sessions(&keys).await).await;
}

async fn statistics(store: &Arc<dyn Store>) {
    let all = AnomalyFilter { limit: LIMIT, ..AnomalyFilter::default() };
    for (what, filter) in [
        ("anomalies", all.clone()),
        ("anomalies that are still so", AnomalyFilter { resolved: Some(false), ..all.clone() }),
        ("anomalies of one subject", AnomalyFilter { subject: text("call-9"), ..all.clone() }),
        (
            "anomalies of a kind there is none of",
            AnomalyFilter { kind: text("none"), ..all.clone() },
        ),
    ] {
        time(what, async || store.anomalies(&filter).await).await;
    }
    for (step, hours) in [
        (Step::Minute, 1),
        (Step::Minute, 24),
        (Step::Hour, 48),
        (Step::Hour, 744),
        (Step::Day, 24 * 90),
    ] {
        for by in [CountBy::Family, CountBy::Command, CountBy::Result] {
            let filter = CountFilter { app: None, since: before(hours), until: END, step, by };
            let what = format!("counts by {step:?} and {by:?} of {hours} h");
            time(&what, async || store.counts(&filter).await).await;
        }
    }
    for id in ["call-77", "room-7", "u77", "agent", "none"] {
        time(&format!("find {id}"), async || store.find(id).await).await;
    }
}

async fn details(store: &Arc<dyn Store>) {
    let hot = RoomKey { app: app(), room_id: "hot".into(), session: 1_790_000_000_000 };
    let hot = store.room(&hot).await.unwrap().unwrap();
    let page = DetailPage { limit: LIMIT, ..DetailPage::default() };
    let place = |seconds: i64, entered| {
        let at = UnixMillis(hot.from_at.0 + seconds * 1000);
        Some(DetailPlace { at, event_id: uuid::Uuid::nil(), account: String::new(), entered })
    };
    for (what, page) in [
        ("visits of a hot room", page.clone()),
        (
            "visits of a hot room, half down",
            DetailPage { after: place(2500, true), ..page.clone() },
        ),
        (
            "visits of a hot room, no beginnings",
            DetailPage { after: place(20_000, false), ..page.clone() },
        ),
        (
            "visits of a hot room, the last",
            DetailPage { after: place(9951, false), ..page.clone() },
        ),
        ("visits of an account", DetailPage { account: text("h77"), ..page.clone() }),
    ] {
        time(what, async || store.visits(&hot, &page).await).await;
    }
    for (what, account) in [
        ("gifts of a hot room", None),
        ("gifts from one", text("h77")),
        ("gifts to all", text("star")),
        ("gifts of nobody", text("none")),
    ] {
        let page = DetailPage { account, ..page.clone() };
        time(what, async || store.gifts(&hot, &page).await).await;
    }
    time("seats of a hot room", async || store.seats(&hot).await).await;
    time("room_changes", async || store.room_changes(&hot).await).await;
    time("battles", async || store.battles(&hot).await).await;
    let room = RoomFilter { room_id: text("room-7"), limit: 1, ..RoomFilter::default() };
    let room = store.rooms(&room).await.unwrap().remove(0);
    time("visits of a room", async || store.visits(&room, &page).await).await;
    time("seats of a room", async || store.seats(&room).await).await;
    let subject = Subject::Room(Box::new(Room { from_at: UnixMillis(0), until_at: None, ..room }));
    time("recordings of a room", async || store.recordings(&subject).await).await;
    let subject = Subject::Call(app(), "call-100".into());
    time("recordings of a call", async || store.recordings(&subject).await).await;
}

async fn events(store: &Arc<dyn Store>) {
    let all = EventFilter { limit: LIMIT, ..EventFilter::default() };
    let oldest = Order::Oldest { after: None };
    let deep = Order::Newest { after: Some((before(24 * 40), uuid::Uuid::nil())) };
    for (what, filter) in [
        ("events", all.clone()),
        ("events, the oldest", EventFilter { order: oldest, ..all.clone() }),
        ("events, 40 days down", EventFilter { order: deep, ..all.clone() }),
        (
            "events of a day",
            EventFilter { since: Some(before(240)), until: Some(before(216)), ..all.clone() },
        ),
        ("events of an app", EventFilter { app: Some(app()), ..all.clone() }),
        ("events of a call", EventFilter { call_id: text("call-77"), ..all.clone() }),
        ("events of a room", EventFilter { room_id: text("room-7"), ..all.clone() }),
        ("events of a hot room", EventFilter { room_id: text("hot"), ..all.clone() }),
        (
            "events of a hot room, a rare command",
            EventFilter { room_id: text("hot"), command: text("none"), ..all.clone() },
        ),
        ("events of no call", EventFilter { call_id: text("none"), ..all.clone() }),
        ("events of a family", EventFilter { family: text("call"), ..all.clone() }),
        (
            "events of a rare command",
            EventFilter { command: text("Call.CallbackRare"), ..all.clone() },
        ),
        ("events of a user", EventFilter { operator: text("u77"), ..all.clone() }),
        ("events of a platform", EventFilter { platform: text("Web"), ..all.clone() }),
        (
            "events with a text there is none of",
            EventFilter { text: text("no such text"), ..all.clone() },
        ),
        (
            "events that arrived in an hour",
            EventFilter {
                received_since: Some(before(240)),
                received_until: Some(before(239)),
                ..all.clone()
            },
        ),
        ("events, undecoded", EventFilter { undecoded: true, ..all.clone() }),
        ("events of a call, by time", EventFilter::of_call_id(app(), "call-77", LIMIT)),
    ] {
        time(what, async || store.event_page(&filter).await).await;
    }
    let one = store.events(&EventFilter { limit: 1, ..all }).await.unwrap().remove(0);
    time("event", async || store.event(one.id).await).await;
}

async fn fill(url: &str) {
    let begun = Instant::now();
    let mut connection = PgConnection::connect(url).await.unwrap();
    let events = std::env::var("READ_SPEED_EVENTS")
        .map_or(5_000_000, |events| events.parse::<u32>().unwrap().clamp(10, 5_000_000));
    let set = sqlx::query("select set_config('read_speed.events', $1, false)");
    set.bind(events.to_string()).execute(&mut connection).await.unwrap();
    // Each by itself: `vacuum` takes no company.
    for statement in include_str!("read_speed.sql").split(";\n\n") {
        connection.execute(sqlx::raw_sql(statement)).await.unwrap();
    }
    println!("filled with {events} events in {} s", begun.elapsed().as_secs());
}
