//! The requests that are sent: the simulator's, each another. They stand in a file that `load.lua` reads.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use protocol::event::Payload;
use protocol::recorded_request::SIGN_HEADER;
use protocol::rtc::sign::sign;
use protocol::simulate::{Dialects, Generator, Options};
use protocol::{AppId, Delivery, Dialect, Event, UnixMillis};
use trtc_callbacks::clock::Clock;

pub(crate) const APP: &str = "1400000001";
/// What the RTC Engine's events are signed with.
pub(crate) const RTC_KEY: &str = "benchkey";
/// How many digits the length before each request has.
const LENGTH_DIGITS: usize = 7;
/// Every which request repeats an earlier one, where some do.
const REPEAT_EACH: usize = 10;

/// Requests in the order they are sent in.
pub(crate) struct Corpus {
    pub(crate) path: PathBuf,
    /// What stands in the file.
    data: Vec<u8>,
    /// Where in it each begins, and where the last one ends.
    starts: Vec<usize>,
    /// Which request each one is, or repeats.
    sources: Vec<usize>,
    /// The time of the first event.
    pub(crate) first_at: UnixMillis,
}

impl Corpus {
    /// Requests each of which is another.
    pub(crate) fn make(wanted: &Wanted<'_>) -> Result<Self> {
        let requests = requests(wanted)?;
        let all = (0..requests.len()).collect();
        Self::write(wanted.path("plain"), &requests, all)
    }

    fn write(path: PathBuf, requests: &[Request], sources: Vec<usize>) -> Result<Self> {
        let mut data = Vec::new();
        let mut starts = vec![0];
        for source in &sources {
            let request = &requests[*source].text;
            data.extend_from_slice(format!("{:0LENGTH_DIGITS$}", request.len()).as_bytes());
            data.extend_from_slice(request.as_bytes());
            starts.push(data.len());
        }
        std::fs::write(&path, &data).with_context(|| format!("write {}", path.display()))?;
        let first_at = requests.iter().map(|request| request.event.event_time).min();
        Ok(Self { path, data, starts, sources, first_at: first_at.unwrap_or(UnixMillis(0)) })
    }

    pub(crate) fn len(&self) -> usize {
        self.sources.len()
    }

    /// The bytes of one.
    pub(crate) fn request(&self, number: usize) -> &[u8] {
        &self.data[self.starts[number] + LENGTH_DIGITS..self.starts[number + 1]]
    }

    /// Where one begins in the file.
    pub(crate) fn offset(&self, number: usize) -> usize {
        self.starts[number]
    }

    /// How many different ones there are among some.
    pub(crate) fn distinct(&self, range: Range<usize>) -> u64 {
        self.sources[range].iter().collect::<HashSet<_>>().len() as u64
    }
}

/// One request, and whether the same once more is the same event.
struct Request {
    text: String,
    repeatable: bool,
    event: Event,
}

/// Which callbacks are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All of the kits and Chat.
    Kits,
    /// Those of calls alone.
    Calls,
    /// Those of the RTC Engine alone, signed.
    RtcEngine,
    /// Kits and RTC Engine tell of the same calls, rooms and shows.
    Both,
}

impl Sent {
    fn dialects(self) -> Dialects {
        match self {
            Self::Kits | Self::Calls => Dialects::Im,
            Self::RtcEngine => Dialects::RtcEngine,
            Self::Both => Dialects::Both,
        }
    }

    fn has(self, command: &str) -> bool {
        self != Self::Calls || command.starts_with("Call.")
    }
}

/// How the requests are to be.
pub(crate) struct Wanted<'a> {
    pub(crate) sent: Sent,
    /// Another seed makes other requests.
    pub(crate) seed: u64,
    pub(crate) events: usize,
    /// How many bytes each body has at least.
    pub(crate) body_bytes: usize,
    pub(crate) folder: &'a Path,
}

impl Wanted<'_> {
    fn path(&self, kind: &str) -> PathBuf {
        let Self { sent, seed, body_bytes, .. } = self;
        self.folder.join(format!("{kind}-{sent:?}-{seed}-{body_bytes}.requests"))
    }
}

/// All that is sent.
pub(crate) struct Made {
    /// Each request another.
    pub(crate) plain: Corpus,
    /// Each tenth one repeats one that came a little before it.
    pub(crate) repeating: Corpus,
    /// The first ones as rows of `events`, in the text format of `copy`, some in each chunk.
    pub(crate) copies: Vec<String>,
    /// The events of these rows.
    pub(crate) rows: Vec<Event>,
}

impl Made {
    pub(crate) fn new(wanted: &Wanted<'_>, rows: usize, rows_in_chunk: usize) -> Result<Self> {
        let requests = requests(wanted)?;
        let all: Vec<usize> = (0..requests.len()).collect();
        let repeats = repeats(&requests);
        let rows = &requests[..rows.min(requests.len())];
        let copies = rows.chunks(rows_in_chunk).map(copy).collect();
        let rows = rows.iter().map(|request| request.event.clone()).collect();
        Ok(Self {
            plain: Corpus::write(wanted.path("plain"), &requests, all)?,
            repeating: Corpus::write(wanted.path("repeating"), &requests, repeats)?,
            copies,
            rows,
        })
    }
}

/// Believable traffic of the last day.
fn requests(wanted: &Wanted<'_>) -> Result<Vec<Request>> {
    let app = AppId::parse(APP).context("the app's id")?;
    let now = Clock::system().now();
    let start = UnixMillis(now.0 - 86_400_000);
    let options = Options { dialects: wanted.sent.dialects(), ..Options::default() };
    let mut timed: Vec<_> = Generator::new(wanted.seed, app, start, options)
        .flat_map(|scenario| scenario.deliveries)
        .filter(|timed| wanted.sent.has(timed.command))
        .take(wanted.events)
        .collect();
    timed.sort_by_key(|timed| timed.at);
    let (mut bodies, mut ids) = (HashSet::new(), HashSet::new());
    let mut random = fastrand::Rng::with_seed(wanted.seed);
    let mut requests = Vec::with_capacity(timed.len());
    for timed in timed {
        // Two equal gifts in one second have equal bodies; the peers take them for one.
        if !bodies.insert(timed.body.clone()) {
            continue;
        }
        let body = padded(&timed.body, wanted.body_bytes, &mut random);
        let padded = Delivery::of_payload(String::new(), &Payload::Json(body.clone()));
        let delivery = Delivery { body: padded.body, ..timed.delivery(app) };
        let event = delivery.event(now).context("a request of the simulator is not verified")?;
        if !ids.insert(event.id) {
            continue;
        }
        // The peers know an event's time by this name only, and without a time none is the same as another.
        let content: serde_json::Value = serde_json::from_str(&body)?;
        let repeatable = event.id.get_version_num() == 8 && content["EventTime"].is_i64();
        requests.push(Request { text: text(&delivery, &body), repeatable, event });
    }
    ensure!(requests.len() > 100, "only {} requests were made\nhint: ask for more", requests.len());
    Ok(requests)
}

/// The request as it is sent.
fn text(delivery: &Delivery, body: &str) -> String {
    let mut headers = delivery.headers.clone();
    if delivery.dialect == Dialect::RtcEngine {
        headers.insert(SIGN_HEADER.to_owned(), sign(&RTC_KEY.into(), body.as_bytes()));
    }
    let headers = headers.iter().fold(String::new(), |mut all, (name, value)| {
        let _ = write!(all, "{name}: {value}\r\n");
        all
    });
    let (query, length) = (&delivery.query, body.len());
    format!(
        "POST /?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// The body with a field more that fills it up. Its value is random, so that no database packs it.
fn padded(body: &str, bytes: usize, random: &mut fastrand::Rng) -> String {
    let Some(missing) = bytes.checked_sub(body.len() + 10).filter(|_| bytes > 0) else {
        return body.to_owned();
    };
    let padding: String = std::iter::repeat_with(|| random.alphanumeric()).take(missing).collect();
    let fields = body.trim_end().strip_suffix('}').unwrap_or(body);
    format!("{fields},\"Pad\":\"{padding}\"}}")
}

/// Which request stands at each place, where each tenth one repeats one of the fifty before it.
fn repeats(requests: &[Request]) -> Vec<usize> {
    let mut sources: Vec<usize> = Vec::with_capacity(requests.len());
    for place in 0..requests.len() {
        let repeated = (place % REPEAT_EACH == REPEAT_EACH - 1).then(|| {
            let near = place.saturating_sub(1 + place * 7 % 50);
            let earlier = sources[..near].iter().rev().take(50);
            earlier.copied().find(|source| requests[*source].repeatable)
        });
        sources.push(repeated.flatten().unwrap_or(place));
    }
    sources
}

/// Events as rows for `copy events (…) from stdin`, with [`COPY_COLUMNS`].
fn copy(requests: &[Request]) -> String {
    let mut rows = String::new();
    for Request { event, .. } in requests {
        let time = |at: UnixMillis| {
            jiff::Timestamp::from_millisecond(at.0)
                .map_or_else(|_| String::new(), |at| at.to_string())
        };
        let payload = match &event.payload {
            Payload::Json(text) => Some(text.as_str()),
            Payload::Raw(_) => None,
        };
        let head = (event.id, event.app.as_i64(), event.family.as_str(), &event.command);
        let (id, app, family, command) = head;
        let _ = write!(rows, "{id}\t{app}\t{family}\t{command}");
        let times = [time(event.event_time), time(event.received_at)];
        for field in [
            event.command_sent.as_deref(),
            Some(times[0].as_str()),
            Some(times[1].as_str()),
            event.call_id.as_deref(),
            event.room_id.as_deref(),
            event.operator.as_deref(),
            event.client_ip.as_deref(),
            event.platform.as_deref(),
            payload,
        ] {
            rows.push('\t');
            match field {
                None => rows.push_str("\\N"),
                Some(text) => rows.push_str(&escaped(text)),
            }
        }
        rows.push('\n');
    }
    rows
}

pub(crate) const COPY_COLUMNS: &str = "id, sdk_app_id, family, command, command_sent, event_time, received_at, call_id, \
                                room_id, operator, client_ip, platform, payload";

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}
