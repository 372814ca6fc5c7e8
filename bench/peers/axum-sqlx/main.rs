//! What `scripts/bench` compares with: a receiver of callbacks as one writes it with axum and sqlx, one `insert` and so one
//! commit for each request. `axum-sqlx PORT DATABASE_URL`.
//!
//! One process: its threads take all cores.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use trtc_callbacks::clock::Clock;
use uuid::Uuid;

const APP: i64 = 1_400_000_001;
const OK: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(port), Some(url)) = (arguments.next(), arguments.next()) else {
        println!("usage: axum-sqlx PORT DATABASE_URL");
        return;
    };
    let options = PgPoolOptions::new().min_connections(16).max_connections(16);
    // Else each use of a connection would begin with a question whether it still lives.
    let options = options.test_before_acquire(false).acquire_timeout(Duration::from_secs(10));
    let pool = options.connect(&url).await.unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).await.unwrap();
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
    let router = axum::Router::new().route("/", post(callback)).with_state(Arc::new(pool));
    println!("ready");
    axum::serve(listener, router).await.unwrap();
}

async fn callback(
    State(pool): State<Arc<PgPool>>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let Some((query, event)) = read(query.as_deref(), &body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match insert(&pool, &query, &event, &body).await {
        Ok(()) => ([(header::CONTENT_TYPE, "application/json")], OK).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[derive(Default)]
struct Query {
    app: Option<i64>,
    client_ip: Option<String>,
    platform: Option<String>,
}

/// Nothing where it is of another app, or no JSON.
fn read(text: Option<&str>, body: &[u8]) -> Option<(Query, Value)> {
    let mut query = Query::default();
    for (key, value) in form_urlencoded::parse(text?.as_bytes()) {
        match &*key {
            "SdkAppid" => query.app = value.parse().ok(),
            "ClientIP" => query.client_ip = Some(value.into_owned()),
            "OptPlatform" => query.platform = Some(value.into_owned()),
            _ => {}
        }
    }
    (query.app == Some(APP)).then_some(())?;
    Some((query, serde_json::from_slice(body).ok()?))
}

async fn insert(
    pool: &PgPool,
    query: &Query,
    event: &Value,
    body: &[u8],
) -> Result<(), sqlx::Error> {
    let command = event["CallbackCommand"].as_str().unwrap_or("unknown");
    let family = command.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let received_at = Clock::system().now().0;
    let event_time = event["EventTime"].as_i64().unwrap_or(received_at);
    let first = |pointers: &[&str]| {
        pointers.iter().find_map(|pointer| event.pointer(pointer)?.as_str().map(str::to_owned))
    };
    sqlx::query(
        "insert into events (id, sdk_app_id, family, command, event_time, received_at,
             call_id, room_id, operator, client_ip, platform, payload)
         values ($1, $2, $3, $4,
             timestamptz 'epoch' + $5 * interval '1 millisecond',
             timestamptz 'epoch' + $6 * interval '1 millisecond',
             $7, $8, $9, $10, $11, $12::json)
         on conflict do nothing",
    )
    .bind(id(event_time, body))
    .bind(query.app)
    .bind(family)
    .bind(command)
    .bind(event_time)
    .bind(received_at)
    .bind(first(&["/CallInfo/CallId", "/CallRecord/CallId", "/CallId"]))
    .bind(first(&[
        "/RoomId",
        "/CallInfo/RoomId",
        "/CallRecord/RoomId",
        "/RoomInfo/RoomId",
        "/GroupId",
    ]))
    .bind(first(&["/Operator_Account", "/CallRecord/Caller_Account", "/From_Account"]))
    .bind(&query.client_ip)
    .bind(&query.platform)
    .bind(String::from_utf8_lossy(body))
    .execute(pool)
    .await?;
    Ok(())
}

/// The event's time in ms, then SHA-256 of the body.
fn id(event_time: i64, body: &[u8]) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&event_time.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&Sha256::digest(body)[..10]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
