//! A kind of destination that the server does not have: a Redis stream, by its protocol over TCP.
//!
//! `cargo run -p trtc-callbacks-forward --example redis_stream 127.0.0.1:6379`
//!
//! What it shows: an attempt is one `XADD`; every failure is said in the terms of [`Failure`] and of statuses, so that retries, order and the breaker
//! do the right thing. `docs/development/adding.md` says where the server takes a kind in. Redis knows no ids of a sender's, so an event
//! whose answer is lost is added twice: consumers store the field `id`.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use forward::answer::{Failure, Response};
use forward::envelope::{ClientIp, SAMPLE_TYPE, envelope, event_type};
use forward::event_columns::{Content, EventColumns};
use forward::sender::{Outgoing, Sender, Sent};
use protocol::event::Payload;
use protocol::{AppId, UnixMillis};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use uuid::Uuid;

/// Longer lines are no answers to `XADD`.
const LINE_BYTES_MAX: usize = 4096;

struct RedisStream {
    address: String,
    key: String,
    timeout: Duration,
    /// One connection, and so one attempt at a time; absent until the first, and after a failure: what is left in it belongs to another attempt.
    connection: Mutex<Option<BufStream<TcpStream>>>,
}

#[async_trait]
impl Sender for RedisStream {
    async fn send(&self, outgoing: Outgoing) -> Sent {
        let started = Instant::now();
        let answer = timeout(self.timeout, self.add(&outgoing)).await;
        let answer = answer.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
        let (response, problem, excerpt) = match answer {
            Ok(Ok(_id)) => (status(200), None, String::new()),
            // What it says is kept and shown; the log has its first word.
            Ok(Err(error)) => {
                let code = error.split(' ').next().unwrap_or_default().to_owned();
                (status(status_of(&code)), Some(format!("redis answered {code}")), error)
            }
            Err(error) => {
                (Response::Failure(failure_of(&error)), Some(error.to_string()), String::new())
            }
        };
        let now = UnixMillis::default().plus(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default());
        let meaning = response.meaning(now);
        Sent { meaning, status: None, problem, excerpt, took: started.elapsed() }
    }
}

impl RedisStream {
    /// The id of the entry, or the error that Redis answered.
    async fn add(&self, outgoing: &Outgoing) -> io::Result<Result<String, String>> {
        let mut slot = self.connection.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => BufStream::new(TcpStream::connect(&self.address).await?),
        };
        let (id, kind) = (outgoing.event.id.to_string(), event_type(&outgoing.event.command));
        let command = ["XADD", &self.key, "*", "id", &id, "type", kind, "body", &outgoing.body];
        connection.write_all(&encoded(&command)).await?;
        connection.flush().await?;
        let first = line(&mut connection).await?;
        let answer = match first.split_at_checked(1) {
            Some(("-", error)) => Err(error.to_owned()),
            Some(("$", _length)) => Ok(line(&mut connection).await?),
            _ => return Err(io::Error::new(ErrorKind::InvalidData, "no answer to XADD")),
        };
        *slot = Some(connection);
        Ok(answer)
    }
}

/// An array of strings in Redis' protocol.
fn encoded(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

async fn line(connection: &mut BufStream<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        let read = connection.fill_buf().await?;
        if read.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let end = read.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(read.len(), |end| end + 1);
        line.extend_from_slice(&read[..taken]);
        connection.consume(taken);
        if end.is_some() {
            return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(io::Error::new(ErrorKind::InvalidData, "the answer is too long"));
        }
    }
}

fn status(status: u16) -> Response<'static> {
    Response::Status { status, retry_after: None }
}

/// An error of Redis as the status of the same meaning: who is full, starting or a replica takes events later.
fn status_of(code: &str) -> u16 {
    match code {
        "OOM" | "LOADING" | "READONLY" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" => 503,
        "NOAUTH" | "NOPERM" | "WRONGPASS" => 401,
        _ => 400,
    }
}

fn failure_of(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::TimedOut => Failure::Timeout,
        ErrorKind::ConnectionRefused
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => Failure::Connect,
        _ => Failure::Reset,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: redis_stream HOST:PORT")?;
    let destination = RedisStream {
        address,
        key: "trtc:events".to_owned(),
        timeout: Duration::from_secs(5),
        connection: Mutex::new(None),
    };
    let now = UnixMillis::default().plus(SystemTime::UNIX_EPOCH.elapsed()?);
    let event = EventColumns {
        id: Uuid::parse_str("0198f300-0000-8000-8000-000000000001")?,
        position: 0,
        app: AppId::parse("1400000001").ok_or("an app's id is a number")?,
        family: "test".to_owned(),
        command: SAMPLE_TYPE.to_owned(),
        command_sent: None,
        event_time: now,
        received_at: now,
        call_id: None,
        room_id: None,
        operator: None,
        client_ip: None,
        platform: None,
        decode_error: None,
        content: Content::Vendor(Payload::Json("{}".to_owned())),
    };
    let body = envelope(&event, ClientIp::Omitted);
    let sent = destination
        .send(Outgoing { event: Arc::new(event), body, attempt: 1, replay: false })
        .await;
    println!("{:?} after {:?}", sent.meaning, sent.took);
    if let Some(problem) = sent.problem {
        return Err(problem.into());
    }
    Ok(())
}
