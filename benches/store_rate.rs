//! How many events a second are stored in PostgreSQL: by this server, and by one INSERT per request through the same
//! stack (axum, sqlx, the same decoding). Both run in turn in one go, so that their ratio holds on a busy machine.
//!
//! Run it with `./scripts/with-postgres cargo bench --bench store_rate`. `EVENTS`, `CONNECTIONS` and `ROUNDS` change
//! its size. The servers are processes of their own; every OK must be a row, or the run fails.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use trtc_callbacks::callback::event::Payload;
use trtc_callbacks::callback::{AppId, Apps, Event};
use trtc_callbacks::clock::Clock;
use trtc_callbacks::http::{Limits, Receiver, callback_router, serve};
use trtc_callbacks::ingest::{Outcome, Sink};
use trtc_callbacks::server::{self, Listeners};
use trtc_callbacks::settings::{Settings, Sources};

const APP: &str = "1400000001";

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", "grouped", url] => runtime.block_on(serve_grouped(url)),
        ["serve", "single", url] => runtime.block_on(serve_single(url)),
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
    for round in 0..=rounds {
        let grouped = run(&admin, "grouped", events, connections).await;
        let single = run(&admin, "single", events, connections).await;
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

/// Events a second, with a database and a server of its own.
async fn run(admin: &str, kind: &str, events: usize, connections: usize) -> f64 {
    let name = format!("bench_{}", uuid::Uuid::now_v7().simple());
    let mut connection = PgConnection::connect(admin).await.unwrap();
    let create = format!("create database {name} encoding 'UTF8' template template0");
    connection.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
    let url = format!("{}/{name}", admin.rsplit_once('/').unwrap().0);
    let (mut server, address) = start(kind, &url);

    let begun = Instant::now();
    post_all(&address, events, connections).await;
    let seconds = begun.elapsed().as_secs_f64();

    let mut own = PgConnection::connect(&url).await.unwrap();
    let rows: i64 =
        sqlx::query_scalar("select count(*) from events").fetch_one(&mut own).await.unwrap();
    assert_eq!(rows, i64::try_from(events).unwrap(), "{kind}: not every OK is a row");
    own.close().await.unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    let drop = format!("drop database {name} with (force)");
    connection.execute(sqlx::AssertSqlSafe(drop)).await.unwrap();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let rate = events as f64 / seconds;
    rate
}

/// Starts this program again as a server; returns once it says where it listens.
fn start(kind: &str, url: &str) -> (Child, String) {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["serve", kind, url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut address).unwrap();
    (server, address.trim().to_owned())
}

/// Posts distinct events over so many connections, each waiting for its answer before the next.
async fn post_all(address: &str, events: usize, connections: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = tokio::task::JoinSet::new();
    let now = Clock::system().now().0;
    for _ in 0..connections {
        let (next, address) = (next.clone(), address.to_owned());
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut answer = [0_u8; 1024];
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    return;
                }
                stream.write_all(request(number, now - 1000).as_bytes()).await.unwrap();
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
    println!("{}", listeners.public.local_addr().unwrap());
    server::run(settings(url), listeners, Clock::system(), CancellationToken::new()).await.unwrap();
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
        header_timeout: std::time::Duration::from_secs(10),
        header_bytes_max: 32768,
        idle_timeout: std::time::Duration::from_secs(75),
        write_timeout: std::time::Duration::from_secs(10),
        drain: std::time::Duration::ZERO,
        shutdown_timeout: std::time::Duration::from_secs(1),
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
