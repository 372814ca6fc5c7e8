//! Hostile clients, in numbers, while an honest one sends events and waits for its answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::load::{Load, Plan};
use crate::server::Place;
use crate::support::{APP, DESTROY_ROOM};
use crate::trial::{Kept, Trial, in_full};

/// What an honest client is answered within, 99 times in 100.
const HONEST_P99: Duration = Duration::from_millis(250);
/// Nothing here waits longer for the server.
const PATIENCE: Duration = Duration::from_secs(2);
/// What the process needs besides its idle connections.
const DESCRIPTORS_RESERVED: u64 = 1000;

/// What one thread of the hostile does until it is to stop.
type Attack = fn(&Hostile);

/// What the hostile threads share.
struct Hostile {
    target: SocketAddr,
    ended: AtomicBool,
    /// Connections they opened to keep them.
    held: AtomicUsize,
    /// Exchanges they had.
    talks: AtomicUsize,
}

impl Hostile {
    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.target, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    fn holds_one_more(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    fn talked(&self) {
        self.talks.fetch_add(1, Ordering::Relaxed);
    }
}

/// Threads that attack until this is dropped.
struct Assault {
    hostile: Arc<Hostile>,
    threads: Vec<JoinHandle<()>>,
}

impl Assault {
    fn begin(target: SocketAddr, attacks: &[(Attack, usize)]) -> Self {
        let ended = AtomicBool::new(false);
        let (held, talks) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let hostile = Arc::new(Hostile { target, ended, held, talks });
        let threads = attacks.iter().flat_map(|&(attack, threads)| {
            let hostile = &hostile;
            (0..threads).map(move |_| {
                let hostile = hostile.clone();
                std::thread::spawn(move || attack(&hostile))
            })
        });
        let threads = threads.collect();
        Self { hostile, threads }
    }

    /// Returns when the attack has come about: so many connections are held, or some exchanges were had.
    async fn came_about(&self, held: usize) {
        let begun = Instant::now();
        let (done, enough) = match held {
            0 => (&self.hostile.talks, 10),
            held => (&self.hostile.held, held),
        };
        while done.load(Ordering::Relaxed) < enough {
            let so_far = done.load(Ordering::Relaxed);
            assert!(
                begun.elapsed() < Duration::from_mins(1),
                "the attack did not come about: {so_far} of {enough}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Assault {
    fn drop(&mut self) {
        self.hostile.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Under attack, so many connections of which are held, an honest client is served, and in time.
async fn honest_under(fault: &'static str, attacks: &[(Attack, usize)], held: usize) {
    honest_within(HONEST_P99, fault, attacks, held).await;
}

/// The same, and 99 answers in 100 come within this time.
async fn honest_within(
    p99: Duration,
    fault: &'static str,
    attacks: &[(Attack, usize)],
    held: usize,
) {
    let trial = Trial::of(fault, "SQLite in memory");
    let place = Place::on_sqlite_in_memory();
    let serving = place.start();
    let assault = Assault::begin(place.address(), attacks);
    assault.came_about(held).await;
    // Some connections are kept, some are new: both must find their place.
    let honest = Plan::to(&[place.address()]).light(5);
    let load = Load::start(&honest);
    tokio::time::sleep(Duration::from_secs(in_full(30, 5))).await;
    let sent = load.finish();
    drop(assault);
    serving.drained().await;
    let kept = Kept::in_store(&place.store_url()).await.and_by(&place, &serving).await;
    let shown = trial.judge(&sent, &kept);
    let most = u64::try_from(p99.as_millis()).unwrap();
    assert!(shown.p99_ms < most, "the honest client waited: {shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_delay_no_honest_client() {
    honest_under("1,000 clients send their heads byte by byte", &[(slow_heads, 1)], 1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_delay_no_honest_client() {
    honest_under("1,000 clients send their bodies byte by byte", &[(slow_bodies, 1)], 1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_delay_no_honest_client() {
    let fault = match idle_count() {
        IDLE => "10,000 connections are opened and say nothing",
        _ => "2,000 connections are opened and say nothing",
    };
    honest_under(fault, &[(idle, 4)], idle_count()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_heads_delay_no_honest_client() {
    honest_under("heads over the limit, one after another", &[(oversized_heads, 4)], 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_bodies_delay_no_honest_client() {
    honest_under("chunked bodies without an end", &[(endless_bodies, 4)], 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_delay_no_honest_client() {
    honest_under("pipelined requests, fifty at a time", &[(pipelining, 2)], 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_pipelining_clients_delay_no_honest_client() {
    let fault = "1,000 connections with eight pipelined `GET /nothing` each";
    // A build for debugging takes a quarter of a second for as many new connections alone.
    let p99 = in_full(HONEST_P99, Duration::from_secs(1));
    honest_within(p99, fault, &[(pipelining_nothing, 2)], 1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_delays_no_honest_client() {
    honest_under("garbage instead of HTTP", &[(garbage, 4)], 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_attacks_together_delay_no_honest_client() {
    let attacks: [(Attack, usize); 7] = [
        (idle, 4),
        (slow_heads, 1),
        (slow_bodies, 1),
        (oversized_heads, 1),
        (endless_bodies, 1),
        (pipelining, 1),
        (garbage, 1),
    ];
    honest_under("all of these together", &attacks, idle_count() + 2000).await;
}

const IDLE: usize = 10_000;

/// How many idle connections this process can hold.
fn idle_count() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // The server starts with the same limits.
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let enough = limit.maximum.is_none_or(|most| most >= IDLE as u64 + DESCRIPTORS_RESERVED);
    if enough {
        return IDLE;
    }
    eprintln!("the limit on open files allows no {IDLE} connections here: 2000 it is");
    2000
}

/// Opens its share of connections, and keeps them.
fn idle(hostile: &Hostile) {
    let mut kept = Vec::new();
    while hostile.goes_on() && kept.len() < idle_count() / 4 {
        match hostile.connect() {
            Ok(stream) => {
                kept.push(stream);
                hostile.holds_one_more();
            }
            Err(_) => pause(10),
        }
    }
    while hostile.goes_on() {
        pause(50);
    }
}

fn slow_heads(hostile: &Hostile) {
    trickle(hostile, "POST / HTTP/1.1\r\nHost: slow\r\nX-Slow: ");
}

fn slow_bodies(hostile: &Hostile) {
    let path = format!("/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}");
    let head = format!("POST {path} HTTP/1.1\r\nHost: slow\r\nContent-Length: 200000\r\n\r\n");
    trickle(hostile, &head);
}

/// A thousand connections on which a byte comes each second. One that is closed is opened again.
fn trickle(hostile: &Hostile, begin: &str) {
    let mut streams: Vec<Option<TcpStream>> = (0..1000).map(|_| None).collect();
    while hostile.goes_on() {
        for (index, place) in streams.iter_mut().enumerate() {
            // Not all of them at once, and then none for a second.
            if index % 50 == 0 {
                pause(50);
            }
            let going = place.as_mut().is_some_and(|stream| stream.write_all(b"x").is_ok());
            if going || !hostile.goes_on() {
                continue;
            }
            let first = place.is_none();
            *place = hostile.connect().ok().and_then(|mut stream| {
                stream.write_all(begin.as_bytes()).ok()?;
                if first {
                    hostile.holds_one_more();
                }
                Some(stream)
            });
        }
    }
}

/// Half a thousand connections with eight requests each; then the same again.
fn pipelining_nothing(hostile: &Hostile) {
    let requests = "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".repeat(8);
    while hostile.goes_on() {
        let mut streams = Vec::new();
        for _ in 0..500 {
            let Ok(mut stream) = hostile.connect() else { continue };
            if stream.write_all(requests.as_bytes()).is_ok() {
                hostile.holds_one_more();
                streams.push(stream);
            }
        }
        for mut stream in streams {
            let _ = stream.read(&mut [0; 4096]);
        }
        pause(250);
    }
}

fn oversized_heads(hostile: &Hostile) {
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(100_000));
    while hostile.goes_on() {
        talk(hostile, head.as_bytes());
        pause(10);
    }
}

fn garbage(hostile: &Hostile) {
    let bytes: Vec<u8> =
        (0..4096_usize).map(|index| u8::try_from(index * 37 % 256).unwrap()).collect();
    while hostile.goes_on() {
        talk(hostile, &bytes);
        pause(10);
    }
}

fn endless_bodies(hostile: &Hostile) {
    let path = format!("/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}");
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    while hostile.goes_on() {
        let Ok(mut stream) = hostile.connect() else { continue };
        let mut going = stream.write_all(head.as_bytes());
        while going.is_ok() && hostile.goes_on() {
            going = stream.write_all(chunk.as_bytes());
            pause(1);
        }
        hostile.talked();
    }
}

/// For an app that is not ours, so that none is stored.
fn pipelining(hostile: &Hostile) {
    let request = "POST /?SdkAppid=5 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    let last =
        "POST /?SdkAppid=5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    let requests = request.repeat(49) + last;
    while hostile.goes_on() {
        talk(hostile, requests.as_bytes());
        pause(50);
    }
}

/// Sends it, and reads what comes until the connection ends.
fn talk(hostile: &Hostile, bytes: &[u8]) {
    let Ok(mut stream) = hostile.connect() else {
        return pause(10);
    };
    // A server that has had enough closes in the middle: that is its right.
    if stream.write_all(bytes).is_ok() {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    hostile.talked();
}

fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}
