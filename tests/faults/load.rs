//! The load: a process of its own that sends numbered events and keeps a record of every attempt.
//!
//! It is this test binary once more, told by a variable what to do. An event whose sending fails is sent again until it
//! is answered, as a retrying client does.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use protocol::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::json;
use trtc_callbacks::clock::Clock;

use crate::support::{APP, DESTROY_ROOM, OK};

/// The variable that makes a process of this binary the load.
const PLAN: &str = "FAULTS_LOAD";
/// The test that is the load then.
const ENTRY: &str = "load::each_number_is_sent_and_each_attempt_recorded";
const SEND_GIFT: &str = "Live.CallbackBeforeSendGift";
/// When a sender stops waiting for an answer. Far past what the vendor waits, so that the worst is measured.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long an event is still sent again once the load is to stop.
const GIVE_UP: Duration = Duration::from_secs(5);
/// No trial needs more; a load that nobody stops ends by itself.
const NUMBERS_MAX: u64 = 200_000;
const LASTS_AT_MOST: Duration = Duration::from_mins(10);

/// What to send, and how fast.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Where to. Senders are spread over them, and go on to the next after a failure.
    pub(crate) targets: Vec<SocketAddr>,
    /// Senders, each with a connection that it keeps.
    pub(crate) connections: u64,
    /// Numbers per second, of all senders together.
    pub(crate) rate: u64,
    /// Each sender makes a new connection after so many numbers.
    pub(crate) reconnect_after: u64,
    /// Bytes that each body has more than it needs.
    padding: usize,
    /// The time of the event with number 0, in ms.
    base: UnixMillis,
    /// The first number.
    first: u64,
    record: PathBuf,
}

/// One request, and what came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) number: u64,
    pub(crate) outcome: Outcome,
    /// From before the connection is made, where one is, to the end of the answer, in µs.
    pub(crate) micros: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// 200 with the envelope.
    Answered,
    /// Something else.
    Wrong(String),
    /// No connection: nothing was sent.
    Refused,
    /// The connection ended before the answer did: it may have been taken or not.
    Cut,
    /// No answer within [`PATIENCE`].
    Silent,
}

/// The vendor asks about gifts beforehand, and two equal ones are two: each attempt may be a row.
pub(crate) fn is_before(number: u64) -> bool {
    number % 10 == 7
}

/// The number whose body is sent once more after this one's.
fn repeated_after(number: u64) -> Option<u64> {
    (number % 10 == 9).then(|| number - 5)
}

/// The number in the room that a row is about.
pub(crate) fn number_of(room: &str) -> Option<u64> {
    room.strip_prefix("n-")?.parse().ok()
}

impl Plan {
    /// Traffic that leaves two cores some air.
    pub(crate) fn to(targets: &[SocketAddr]) -> Self {
        Self {
            targets: targets.to_vec(),
            connections: 32,
            rate: 400,
            reconnect_after: u64::MAX,
            base: UnixMillis(Clock::system().now().0 - 600_000),
            padding: 0,
            first: 0,
            record: PathBuf::new(),
        }
    }

    /// Little of it, and each sender makes a new connection after so many numbers.
    pub(crate) fn light(self, reconnect_after: u64) -> Self {
        Self { connections: 8, rate: 100, reconnect_after, ..self }
    }

    /// So much of it at all times: senders are enough for each to wait as long as the vendor does.
    pub(crate) fn at_all_times(self, rate: u64) -> Self {
        Self { connections: 2 * rate, ..self.at_rate(rate) }
    }

    /// So many a second.
    pub(crate) fn at_rate(self, rate: u64) -> Self {
        Self { rate, ..self }
    }

    /// Of larger bodies.
    pub(crate) fn padded(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// With numbers that another load of the same test does not use.
    pub(crate) fn numbered_from(self, first: u64) -> Self {
        Self { first, ..self }
    }

    /// The same body each time, and no other number's.
    fn request(&self, number: u64) -> Vec<u8> {
        let millis = self.base.0 + i64::try_from(number - self.first).unwrap();
        let mut body = json!({ "RoomId": format!("n-{number}"), "Operator_Account": "u" });
        let command = if is_before(number) {
            body["GiftWater"] = json!({ "Time": millis / 1000, "GiftId": "rose", "Count": 1 });
            SEND_GIFT
        } else {
            body["EventTime"] = json!(millis);
            body["Padding"] = json!("x".repeat(self.padding));
            DESTROY_ROOM
        };
        body["CallbackCommand"] = json!(command);
        let body = body.to_string();
        let query = format!("SdkAppid={APP}&CallbackCommand={command}&contenttype=json");
        let head =
            format!("POST /?{query} HTTP/1.1\r\nHost: load\r\nContent-Type: application/json");
        format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }
}

/// The running process. It stops when its standard input ends, so it never outlives this one.
pub(crate) struct Load {
    child: Child,
    record: tempfile::TempPath,
    begun: Instant,
}

impl Load {
    pub(crate) fn start(plan: &Plan) -> Self {
        let record = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let plan = Plan { record: record.to_path_buf(), ..plan.clone() };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", ENTRY])
            .env(PLAN, serde_json::to_string(&plan).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, record, begun: Instant::now() }
    }

    /// Stops it, and returns what it did in which time.
    pub(crate) fn finish(mut self) -> (Vec<Attempt>, Duration) {
        drop(self.child.stdin.take());
        let lasted = self.begun.elapsed();
        assert!(self.child.wait().unwrap().success(), "the load failed");
        let record = BufReader::new(File::open(&self.record).unwrap());
        let attempts =
            record.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        (attempts, lasted)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Ended already, or to be ended with its failed test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the process does.
fn run(plan: Plan) {
    let next = AtomicU64::new(plan.first);
    let shared = Arc::new(Shared { plan, next, stopped: OnceLock::new() });
    let senders = (0..shared.plan.connections).map(|index| {
        let sender = Sender::new(shared.clone(), index);
        std::thread::spawn(move || sender.send_all())
    });
    let senders: Vec<_> = senders.collect();
    let watched = shared.clone();
    std::thread::spawn(move || {
        // Nothing is ever written to it: it ends, and that is the sign.
        let _ = io::stdin().read(&mut [0]);
        let _ = watched.stopped.set(Instant::now());
    });
    let mut record = BufWriter::new(File::create(&shared.plan.record).unwrap());
    for sender in senders {
        for attempt in sender.join().unwrap() {
            serde_json::to_writer(&mut record, &attempt).unwrap();
            record.write_all(b"\n").unwrap();
        }
    }
    record.flush().unwrap();
}

struct Shared {
    plan: Plan,
    next: AtomicU64,
    /// Since when it is to stop.
    stopped: OnceLock<Instant>,
}

struct Sender {
    shared: Arc<Shared>,
    target: usize,
    stream: Option<BufReader<TcpStream>>,
    attempts: Vec<Attempt>,
}

impl Sender {
    fn new(shared: Arc<Shared>, index: u64) -> Self {
        let target = usize::try_from(index).unwrap();
        Self { shared, target, stream: None, attempts: Vec::new() }
    }

    fn send_all(mut self) -> Vec<Attempt> {
        let shared = self.shared.clone();
        let plan = &shared.plan;
        let pause = Duration::from_secs(1) * u32::try_from(plan.connections).unwrap()
            / u32::try_from(plan.rate).unwrap();
        let begun = Instant::now();
        // One after the other, not all at once.
        let mut due = begun
            + pause * u32::try_from(self.target).unwrap()
                / u32::try_from(plan.connections).unwrap();
        for sent in 1.. {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if shared.stopped.get().is_some() || begun.elapsed() > LASTS_AT_MOST {
                break;
            }
            let number = shared.next.fetch_add(1, Ordering::Relaxed);
            if number - plan.first >= NUMBERS_MAX {
                break;
            }
            self.deliver(number);
            if let Some(earlier) = repeated_after(number) {
                self.deliver(earlier);
            }
            if sent % plan.reconnect_after == 0 {
                self.stream = None;
            }
            // What was held up is not made up for: no burst follows a stall.
            due = (due + pause).max(Instant::now());
        }
        self.attempts
    }

    /// Sends it until it is answered.
    fn deliver(&mut self, number: u64) {
        let request = self.shared.plan.request(number);
        loop {
            let begun = Instant::now();
            let outcome = self.exchange(&request);
            let micros = u64::try_from(begun.elapsed().as_micros()).unwrap();
            let again = matches!(outcome, Outcome::Refused | Outcome::Cut | Outcome::Silent);
            self.attempts.push(Attempt { number, outcome, micros });
            let given_up = self.shared.stopped.get().is_some_and(|at| at.elapsed() > GIVE_UP);
            if !again || given_up {
                return;
            }
            self.target += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn exchange(&mut self, request: &[u8]) -> Outcome {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => match self.connect() {
                Ok(stream) => stream,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Outcome::Silent,
                Err(_) => return Outcome::Refused,
            },
        };
        if stream.get_mut().write_all(request).is_err() {
            return Outcome::Cut;
        }
        match read_answer(&mut stream) {
            Ok(answer) => {
                if !answer.closes {
                    self.stream = Some(stream);
                }
                answer.outcome
            }
            // What a read that took too long fails with differs between systems.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                Outcome::Silent
            }
            Err(_) => Outcome::Cut,
        }
    }

    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let targets = &self.shared.plan.targets;
        let stream = TcpStream::connect_timeout(&targets[self.target % targets.len()], PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(BufReader::new(stream))
    }
}

struct Answer {
    outcome: Outcome,
    closes: bool,
}

fn read_answer(stream: &mut impl BufRead) -> io::Result<Answer> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let head = head.to_ascii_lowercase();
    let value = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map_or("", str::trim)
    };
    let mut body = vec![0; value("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let right = head.starts_with("http/1.1 200 ")
        && value("content-type") == "application/json"
        && body == OK.as_bytes();
    let outcome = if right {
        Outcome::Answered
    } else {
        Outcome::Wrong(format!("{head}{}", String::from_utf8_lossy(&body)))
    };
    Ok(Answer { outcome, closes: value("connection") == "close" })
}

/// Run with a plan this is the load itself; else it holds that the load is to be believed.
#[test]
fn each_number_is_sent_and_each_attempt_recorded() {
    if let Ok(plan) = std::env::var(PLAN) {
        run(serde_json::from_str(&plan).unwrap());
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let counted = Arc::new(AtomicU64::new(0));
    let seen = counted.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let seen = seen.clone();
            std::thread::spawn(move || answer_some(&stream.unwrap(), &seen));
        }
    });
    let load = Load::start(&Plan { connections: 2, rate: 200, ..Plan::to(&[address]) });
    let begun = Instant::now();
    while counted.load(Ordering::Relaxed) < 40 && begun.elapsed() < Duration::from_secs(30) {
        std::thread::yield_now();
    }
    let (attempts, _) = load.finish();
    let of = |number| {
        let of = attempts.iter().filter(move |attempt| attempt.number == number);
        of.map(|attempt| attempt.outcome.clone()).collect::<Vec<_>>()
    };
    assert_eq!(u64::try_from(attempts.len()).unwrap(), counted.load(Ordering::Relaxed));
    assert_eq!(of(1), [Outcome::Answered]);
    assert_eq!(of(4), [Outcome::Answered, Outcome::Answered], "a repeat");
    assert_eq!(of(7), [Outcome::Cut, Outcome::Answered], "a connection cut, and once more");
    assert!(matches!(of(8)[..], [Outcome::Wrong(_)]), "{:?}", of(8));
}

/// Whether a connection was cut.
static CUT: OnceLock<()> = OnceLock::new();

/// Answers as the server would, all but number 8; cuts the first connection on which number 7 comes.
fn answer_some(stream: &TcpStream, seen: &AtomicU64) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let (_, length) = head.trim_end().rsplit_once(' ').unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        seen.fetch_add(1, Ordering::Relaxed);
        let number = number_of(body["RoomId"].as_str().unwrap()).unwrap();
        if number == 7 && CUT.set(()).is_ok() {
            return;
        }
        let status = if number == 8 { "503 Service Unavailable" } else { "200 OK" };
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n");
        write!(writer, "{head}Content-Length: {}\r\n\r\n{OK}", OK.len()).unwrap();
    }
}
