//! A stand-in for the vendor's cloud API: it checks the signature with a reader of its own, holds the documented limits, and fails as
//! told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trtc_callbacks::clock::Clock;

pub(crate) const ID: &str = "AKIDsecretidofthetests";
pub(crate) const KEY: &str = "s3cret-key-of-the-tests";

/// One session that the vendor knows; times in s.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) app: i64,
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) destroyed: Option<i64>,
    /// Users, when they came, and when they went.
    pub(crate) users: Vec<(String, i64, Option<i64>)>,
}

impl Room {
    fn comm_id(&self) -> String {
        format!("{}_{}_{}", self.app, self.id, self.created)
    }
}

/// What happens to a request in place of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Refuse(&'static str),
    Answer(u16, String),
    Hang,
}

/// A request that was signed well.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) action: String,
    pub(crate) region: String,
    pub(crate) body: Value,
}

#[derive(Default)]
struct State {
    rooms: Vec<Room>,
    faults: VecDeque<Fault>,
    seen: Vec<Seen>,
    /// Of every request, refused ones too.
    times: Vec<(String, Instant)>,
    too_fast: u32,
}

/// A running stand-in; it ends with this value.
pub(crate) struct CloudStub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
}

impl CloudStub {
    pub(crate) async fn start(rooms: Vec<Room>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { rooms, ..State::default() }));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(accept(listener, state.clone(), stop.clone(), tasks.clone()));
        Self { address, state, stop }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Plans faults for the next requests.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    pub(crate) fn seen(&self, action: &str) -> Vec<Seen> {
        self.state().seen.iter().filter(|seen| seen.action == action).cloned().collect()
    }

    pub(crate) fn requests(&self) -> usize {
        self.state().times.len()
    }

    /// How many requests were more than the vendor takes in a second.
    pub(crate) fn too_fast(&self) -> u32 {
        self.state().too_fast
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for CloudStub {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else { continue };
        let (state, stop) = (state.clone(), stop.clone());
        tasks.spawn(async move {
            let service = service_fn(|request| answer(&state, request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away is no fault of the stand-in's.
            let _ended = stop.run_until_cancelled(connection).await;
        });
    }
}

async fn answer(
    state: &Mutex<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let header = |name: &str| text_of(&head.headers, name);
    let action = header("x-tc-action").to_owned();
    let (fault, is_fast) = {
        let mut state = state.lock().unwrap();
        let now = Instant::now();
        let within = state
            .times
            .iter()
            .filter(|(of, at)| *of == action && now.duration_since(*at) < Duration::from_secs(1));
        let is_fast = within.count() >= 20;
        state.too_fast += u32::from(is_fast);
        state.times.push((action.clone(), now));
        (state.faults.pop_front(), is_fast)
    };
    let answer = match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Answer(status, text)) => {
            let answer = Response::builder().status(status).body(Full::from(text));
            return Ok(answer.unwrap());
        }
        Some(Fault::Refuse(code)) => Err(code),
        None if is_fast => Err("RequestLimitExceeded"),
        None => {
            let sound =
                head.method == "POST" && head.uri == "/" && header("x-tc-version") == "2019-07-22";
            let signed = signature_error(&head.headers, &body);
            match (sound, signed) {
                (false, _) => Err("InvalidParameter"),
                (_, Some(code)) => Err(code),
                _ => {
                    let body: Value = serde_json::from_slice(&body).unwrap();
                    let mut state = state.lock().unwrap();
                    let region = header("x-tc-region").to_owned();
                    state.seen.push(Seen { action: action.clone(), region, body: body.clone() });
                    listed(&state.rooms, &action, &body)
                }
            }
        }
    };
    let mut response = answer.unwrap_or_else(|code| {
        // The vendor's message is foreign text.
        json!({ "Error": { "Code": code, "Message": format!("no\u{1b}[31m {} {KEY}", "x".repeat(999)) } })
    });
    response["RequestId"] = "id-of-the-request".into();
    Ok(Response::new(Full::from(json!({ "Response": response }).to_string())))
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The code with which the vendor refuses what is not signed well. Written from the vendor's page, for whatever headers are signed.
fn signature_error(headers: &HeaderMap, body: &[u8]) -> Option<&'static str> {
    const FAILURE: Option<&str> = Some("AuthFailure.SignatureFailure");
    let header = |name: &str| text_of(headers, name);
    let Some(fields) = header("authorization").strip_prefix("TC3-HMAC-SHA256 ") else {
        return FAILURE;
    };
    let mut parts = fields.split(", ");
    let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name));
    let (Some(credential), Some(names), Some(signature)) =
        (part("Credential="), part("SignedHeaders="), part("Signature="))
    else {
        return FAILURE;
    };
    let scope: Vec<&str> = credential.split('/').collect();
    let [id, day, service, "tc3_request"] = scope[..] else { return FAILURE };
    if id != ID {
        return Some("AuthFailure.SecretIdNotFound");
    }
    let time: i64 = header("x-tc-timestamp").parse().unwrap_or_default();
    if (Clock::system().now().as_secs() - time).abs() > 300 {
        return Some("AuthFailure.SignatureExpire");
    }
    let list: Vec<&str> = names.split(';').collect();
    if !["content-type", "host"].iter().all(|name| list.contains(name)) || !list.is_sorted() {
        return FAILURE;
    }
    let lines = list.iter().map(|name| format!("{name}:{}\n", header(name).trim().to_lowercase()));
    let lines: String = lines.collect();
    let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", sha256(body));
    let text = format!(
        "TC3-HMAC-SHA256\n{time}\n{day}/{service}/tc3_request\n{}",
        sha256(canonical.as_bytes())
    );
    let mut secret = format!("TC3{KEY}").into_bytes();
    for word in [day, service, "tc3_request", &text] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
        mac.update(word.as_bytes());
        secret = mac.finalize().into_bytes().to_vec();
    }
    let is_day = jiff::Timestamp::from_second(time).unwrap().to_string().starts_with(day);
    if hex::encode(secret) != signature || service != "trtc" || !is_day { FAILURE } else { None }
}

fn listed(rooms: &[Room], action: &str, body: &Value) -> Result<Value, &'static str> {
    let number = |name: &str| body[name].as_i64().ok_or("InvalidParameter");
    let (from, until) = (number("StartTime")?, number("EndTime")?);
    let (page, size) = (number("PageNumber")?, number("PageSize")?);
    if Clock::system().now().as_secs() - from > 14 * 86_400 {
        return Err("InvalidParameter.StartTimeExpire");
    }
    if page < 0 || !(1..=100).contains(&size) {
        return Err("InvalidParameter.PageSizeOversize");
    }
    let most = if action == "DescribeRoomInfo" { 86_400 } else { 4 * 3600 };
    if !(0..=most).contains(&(until - from)) {
        return Err("InvalidParameter.StartTimeOversize");
    }
    let app = number("SdkAppId")?;
    let now = Clock::system().now().as_secs();
    let overlaps = |begin: i64, end: Option<i64>| begin <= until && end.unwrap_or(now) >= from;
    let mine = rooms.iter().filter(|room| room.app == app);
    let (name, rows): (_, Vec<Value>) = match action {
        "DescribeRoomInfo" => {
            let found = mine.filter(|room| overlaps(room.created, room.destroyed));
            let row = |room: &Room| {
                json!({
                    "CommId": room.comm_id(),
                    "RoomString": room.id,
                    "CreateTime": room.created,
                    "DestroyTime": room.destroyed.unwrap_or(now),
                    "IsFinished": room.destroyed.is_some(),
                    "UserId": room.users.first().map_or("", |user| &user.0),
                })
            };
            ("RoomList", found.map(row).collect())
        }
        "DescribeUserInfo" => {
            let room = mine.into_iter().find(|room| body["CommId"] == room.comm_id());
            let users = room.ok_or("InvalidParameter.CommID")?.users.iter();
            let found = users.filter(|(_, joined, left)| overlaps(*joined, *left));
            let row = |(user, joined, left): &(String, i64, Option<i64>)| {
                json!({
                    "RoomStr": "", "UserId": user, "JoinTs": joined, "LeaveTs": left.unwrap_or(now),
                    "DeviceType": "", "SdkVersion": "", "ClientIp": "", "Finished": left.is_some(),
                })
            };
            ("UserList", found.map(row).collect())
        }
        _ => return Err("InvalidAction"),
    };
    let (skipped, size) = (usize::try_from(page * size).unwrap(), usize::try_from(size).unwrap());
    let rows: Vec<Value> = rows.into_iter().skip(skipped).take(size).collect();
    Ok(json!({ "Total": rows.len(), name: rows }))
}
