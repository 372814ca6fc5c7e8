//! How many events a second are stored in PostgreSQL: by this server, and by one INSERT per request through the same
//! stack (axum, sqlx, the same decoding). Both run in turn in one go, so that their ratio holds on a busy machine.
//!
//! Run it with `./scripts/with-postgres cargo bench --bench store_rate`. `EVENTS`, `CONNECTIONS` and `ROUNDS` change
//! its size. The servers are processes of their own; every OK must be a row, or the run fails.
//!
//! With `-- models` it measures another thing: how much CPU an event takes with and without its changes in the read
//! models, in the server and in all of PostgreSQL's processes together, on a mix of the simulator's commands.
//!
//! What comes before the server's store is ready, and the first sixth of the events, which fill caches, is not measured.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use trtc_callbacks::callback::event::Payload;
use trtc_callbacks::callback::{AppId, Apps, Event};
use trtc_callbacks::clock::{Clock, UnixMillis};
use trtc_callbacks::http::{Limits, Receiver, callback_router, serve};
use trtc_callbacks::ingest::{Outcome, Sink};
use trtc_callbacks::server::{self, Listeners};
use trtc_callbacks::settings::{Settings, Sources};
use trtc_callbacks::simulate::{Generator, Options, TimedDelivery};

const APP: &str = "1400000001";

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", "grouped", url] => runtime.block_on(serve_grouped(url)),
        ["serve", "single", url] => runtime.block_on(serve_single(url)),
        arguments if arguments.contains(&"models") => runtime.block_on(measure_models()),
        _ => runtime.block_on(measure()),
    }
}

fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

async fn measure() {
    let Ok(admin) = std::env::var("TEST_POSTGRES_URL") else {
        println!(
            "TEST_POSTGRES_URL is not set: run ./scripts/with-postgres cargo bench --bench store_rate"
        );
        return;
    };
    let (events, connections) = (number("EVENTS", 20_000), number("CONNECTIONS", 64));
    let rounds = number("ROUNDS", 5).max(1);
    println!(
        "{events} events over {connections} connections, {rounds} rounds after one to warm up"
    );
    println!("{:>5} {:>14} {:>14} {:>7}", "round", "grouped ev/s", "single ev/s", "ratio");
    let mut ratios = Vec::new();
    let now = Clock::system().now().0;
    let requests: Arc<[String]> = (0..events).map(|number| request(number, now - 1000)).collect();
    for round in 0..=rounds {
        let grouped = run(&admin, "grouped", false, &requests, connections).await.rate;
        let single = run(&admin, "single", false, &requests, connections).await.rate;
        let ratio = grouped / single;
        println!("{round:>5} {grouped:>14.0} {single:>14.0} {ratio:>7.2}");
        if round > 0 {
            ratios.push(ratio);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    println!("ratio: median {:.2}, least {least:.2}, most {most:.2}", ratios[ratios.len() / 2]);
}

/// How much CPU an event takes, with what it changes and alone.
async fn measure_models() {
    let Ok(admin) = std::env::var("TEST_POSTGRES_URL") else {
        println!(
            "TEST_POSTGRES_URL is not set: run ./scripts/with-postgres cargo bench --bench store_rate -- models"
        );
        return;
    };
    let (events, connections) = (number("EVENTS", 20_000), number("CONNECTIONS", 64));
    let rounds = number("ROUNDS", 5).max(1);
    let requests = simulated(events);
    println!(
        "{events} events of the simulator over {connections} connections, {rounds} rounds after one to warm up; \
         CPU in us for each event: of the server, and of PostgreSQL"
    );
    println!("{:>5} {:>20} {:>20} {:>7}", "round", "alone", "with changes", "ratio");
    let mut ratios = Vec::new();
    for round in 0..=rounds {
        let alone = run(&admin, "grouped", false, &requests, connections).await;
        let whole = run(&admin, "grouped", true, &requests, connections).await;
        let ratio = (whole.server_us + whole.database_us) / (alone.server_us + alone.database_us);
        let shown = |cost: &Run| format!("{:.0} + {:.0}", cost.server_us, cost.database_us);
        println!("{round:>5} {:>20} {:>20} {ratio:>7.2}", shown(&alone), shown(&whole));
        if round > 0 {
            ratios.push(ratio);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    println!("ratio: median {:.2}, least {least:.2}, most {most:.2}", ratios[ratios.len() / 2]);
}

/// The first so many requests of believable traffic.
fn simulated(events: usize) -> Arc<[String]> {
    let app = AppId::parse(APP).unwrap();
    let start = UnixMillis(Clock::system().now().0 - 86_400_000);
    let mut timed: Vec<_> = Generator::new(7, app, start, Options::default())
        .flat_map(|it| it.deliveries)
        .take(events)
        .collect();
    timed.sort_by_key(|timed| timed.at);
    let request = |timed: &TimedDelivery| {
        let (query, body) = (timed.delivery(app).query, &timed.body);
        format!(
            "POST /?{query} HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    timed.iter().map(request).collect()
}

/// What one run took.
struct Run {
    /// Events a second.
    rate: f64,
    /// CPU of the server for each event, in us.
    server_us: f64,
    /// CPU of PostgreSQL for each event, in us.
    database_us: f64,
}

/// The CPU that a process took, and those of its children that are gone, in ticks of a hundredth of a second.
fn ticks(process: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let Some((_, fields)) = stat.rsplit_once(") ") else { return 0 };
    fields.split(' ').skip(11).take(4).map(|field| field.parse::<u64>().unwrap_or(0)).sum()
}

/// The same of a process and its children, which all of PostgreSQL's are.
fn ticks_of_all(parent: &str) -> u64 {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let names = processes.filter_map(|process| process.file_name().into_string().ok());
    let is_child = |name: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{name}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1)) == Some(parent)
    };
    ticks(parent) + names.filter(is_child).map(|name| ticks(&name)).sum::<u64>()
}

/// Posts all of `requests`, with a database and a server of its own.
async fn run(
    admin: &str,
    kind: &str,
    read_models: bool,
    requests: &Arc<[String]>,
    connections: usize,
) -> Run {
    let name = format!("bench_{}", uuid::Uuid::now_v7().simple());
    let mut connection = PgConnection::connect(admin).await.unwrap();
    let create = format!("create database {name} encoding 'UTF8' template template0");
    connection.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
    let url = format!("{}/{name}", admin.rsplit_once('/').unwrap().0);
    let (mut server, address) = start(kind, &url, read_models);
    let backend: i32 =
        sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{backend}/stat")).unwrap_or_default();
    let postgres = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1));
    let postgres = postgres.unwrap_or_default().to_owned();
    let process = server.id().to_string();

    let first = requests.len() / 6;
    post_all(&address, requests, 0..first, connections).await;
    let before = (ticks(&process), ticks_of_all(&postgres));
    let begun = Instant::now();
    post_all(&address, requests, first..requests.len(), connections).await;
    let seconds = begun.elapsed().as_secs_f64();
    let after = (ticks(&process), ticks_of_all(&postgres));

    let mut own = PgConnection::connect(&url).await.unwrap();
    let rows: i64 =
        sqlx::query_scalar("select count(*) from events").fetch_one(&mut own).await.unwrap();
    assert_eq!(rows, i64::try_from(requests.len()).unwrap(), "{kind}: not every OK is a row");
    let events = requests.len() - first;
    own.close().await.unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    let drop = format!("drop database {name} with (force)");
    connection.execute(sqlx::AssertSqlSafe(drop)).await.unwrap();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let cost = |ticks: u64| ticks as f64 * 10_000.0 / events as f64;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let rate = events as f64 / seconds;
    Run {
        rate,
        server_us: cost(after.0 - before.0),
        database_us: cost(after.1.saturating_sub(before.1)),
    }
}

/// Starts this program again as a server; returns once it says where it listens, and takes events.
fn start(kind: &str, url: &str, read_models: bool) -> (Child, String) {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["serve", kind, url])
        .env("TRTC_INGEST__READ_MODELS", read_models.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut address).unwrap();
    (server, address.trim().to_owned())
}

/// Posts some of `requests` over so many connections, each waiting for its answer before the next.
async fn post_all(
    address: &str,
    requests: &Arc<[String]>,
    which: Range<usize>,
    connections: usize,
) {
    let next = Arc::new(AtomicUsize::new(which.start));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (next, address, requests) = (next.clone(), address.to_owned(), requests.clone());
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut answer = [0_u8; 1024];
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(request) = requests[..which.end].get(number) else { return };
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut length = 0;
                while !answer[..length].ends_with(b"\"ErrorCode\":0}") {
                    let read = stream.read(&mut answer[length..]).await.unwrap();
                    assert!(read > 0, "the server closed the connection");
                    length += read;
                }
                assert!(answer.starts_with(b"HTTP/1.1 200 "));
            }
        });
    }
    clients.join_all().await;
}

fn request(number: usize, time: i64) -> String {
    let body = format!(
        r#"{{"CallbackCommand":"Call.CallbackAfterEndCall","CallRecord":{{"CallId":"055662e1-bc8a-469c-a334-{number:012}","Caller_Account":"user-{number}","MediaType":"Video","CallType":"SingleCall","StartTime":1741231146,"EndTime":1741231296,"AcceptTime":1741231150,"CallResult":"NormalEnd","CalleeList_Account":["user-{number}","user-2"],"RoomId":"room-{number}","RoomIdType":2}},"EventTime":{time}}}"#
    );
    format!(
        "POST /?SdkAppid={APP}&CallbackCommand=Call.CallbackAfterEndCall&contenttype=json&ClientIP=203.0.113.7&OptPlatform=Android HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn settings(url: &str) -> Settings {
    // `TRTC_…` of the caller's environment counts, so that a setting can be tried.
    let mut env: std::collections::BTreeMap<_, _> = std::env::vars().collect();
    env.insert("TRTC_SDK_APP_ID".into(), APP.into());
    env.insert("TRTC_STORE__URL".into(), url.into());
    Settings::load(&Sources { env, ..Sources::default() }).unwrap()
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn serve_grouped(url: &str) {
    let listeners = Listeners { public: listen().await, ops: listen().await };
    let (public, ops) =
        (listeners.public.local_addr().unwrap(), listeners.ops.local_addr().unwrap());
    let running = server::run(settings(url), listeners, Clock::system(), CancellationToken::new());
    let told = async {
        // Until then events go to the spool.
        while text(&format!("http://{ops}/readyz")).await != "ok\n" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("{public}");
    };
    tokio::join!(async { running.await.unwrap() }, told);
}

/// What stands there; empty while nothing answers.
async fn text(url: &str) -> String {
    match reqwest::get(url).await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// The same endpoint before a sink that gives each event an INSERT and a commit of its own.
async fn serve_single(url: &str) {
    let store = trtc_callbacks::store::open(&settings(url).store_options()).await.unwrap();
    store.migrate().await.unwrap();
    store.upkeep(Clock::system().now()).await.unwrap();
    let connections = u32::try_from(number("SINGLE_POOL", 16)).unwrap();
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(connections).connect(url).await;
    let app = AppId::parse(APP).unwrap();
    let apps = Apps::new().with(app, Vec::new());
    let receiver = Receiver::new(apps, Arc::new(OneInsertEach(pool.unwrap())));
    let listener = listen().await;
    println!("{}", listener.local_addr().unwrap());
    let limits = Limits {
        connections_max: 10_000,
        header_timeout: Duration::from_secs(10),
        header_bytes_max: 32768,
        idle_timeout: Duration::from_secs(75),
        write_timeout: Duration::from_secs(10),
        drain: Duration::ZERO,
        shutdown_timeout: Duration::from_secs(1),
    };
    let router = callback_router(receiver, &["/".to_owned()]);
    serve(listener, router, None, limits, None, CancellationToken::new()).await;
}

struct OneInsertEach(PgPool);

#[async_trait]
impl Sink for OneInsertEach {
    async fn submit(&self, event: Event) -> Outcome {
        let Payload::Json(payload) = &event.payload else { unreachable!("all are JSON") };
        let done = sqlx::query(
            "insert into events (id, sdk_app_id, family, command, command_sent, event_time, received_at,
                 call_id, room_id, operator, client_ip, platform, payload, decode_error)
             values ($1, $2, $3, $4, $5,
                 timestamptz 'epoch' + $6 * interval '1 millisecond',
                 timestamptz 'epoch' + $7 * interval '1 millisecond',
                 $8, $9, $10, $11, $12, $13::json, $14)
             on conflict do nothing",
        )
        .bind(event.id)
        .bind(event.app.as_i64())
        .bind(event.family.as_str())
        .bind(event.command.as_ref())
        .bind(event.command_sent.as_deref())
        .bind(event.event_time.0)
        .bind(event.received_at.0)
        .bind(event.call_id.as_deref())
        .bind(event.room_id.as_deref())
        .bind(event.operator.as_deref())
        .bind(event.client_ip.as_deref())
        .bind(event.platform.as_deref())
        .bind(payload)
        .bind(event.decode_error.as_deref())
        .execute(&self.0)
        .await
        .unwrap();
        if done.rows_affected() == 0 { Outcome::Duplicate } else { Outcome::New }
    }
}
