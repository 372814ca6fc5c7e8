//! One fault under traffic: what was sent and answered is held against what the store has, both ways.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::Connection;

use crate::load::{Attempt, Outcome, is_before, number_of};
use crate::server::{Place, Serving};

/// What the vendor waits.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Whether the faults are tested in full length, as `scripts/soak` does.
pub(crate) fn full() -> bool {
    std::env::var("FAULTS").is_ok_and(|length| length == "full")
}

/// The one or the other, by the length of the run.
pub(crate) fn in_full<T>(full_length: T, short: T) -> T {
    if full() { full_length } else { short }
}

/// Traffic without a fault, for a while.
pub(crate) async fn calm() {
    tokio::time::sleep(Duration::from_secs(in_full(10, 2))).await;
}

/// Traffic while the fault lasts: longer than any deadline of the server's.
pub(crate) async fn while_it_lasts() {
    tokio::time::sleep(Duration::from_secs(in_full(20, 5))).await;
}

/// One test, alone on the machine: its facts are about time too.
pub(crate) struct Trial {
    name: String,
    fault: &'static str,
    store: String,
    may_cut: bool,
    may_log: bool,
    _alone: MutexGuard<'static, ()>,
}

/// What a trial showed; a line of `docs/reports/reliability.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shown {
    pub(crate) test: String,
    pub(crate) fault: String,
    pub(crate) store: String,
    pub(crate) seconds: u64,
    /// Events, by their number.
    pub(crate) sent: u64,
    /// Requests: an event that got no answer is sent again, and one in ten is repeated.
    pub(crate) requests: u64,
    /// Events that were answered OK.
    pub(crate) answered: u64,
    pub(crate) stored: u64,
    /// Events that went through the spool.
    pub(crate) spooled: u64,
    /// Events that neither store nor spool took, and the error log did.
    pub(crate) logged: u64,
    pub(crate) twice: u64,
    pub(crate) lost: u64,
    /// Of the answers, in ms.
    pub(crate) worst_ms: u64,
    pub(crate) p999_ms: u64,
    pub(crate) p99_ms: u64,
}

/// Which rows there are, and what else the server kept.
#[derive(Default)]
pub(crate) struct Kept {
    /// How many rows a number has.
    rows: BTreeMap<u64, usize>,
    /// Rows that nobody sent.
    strange: Vec<String>,
    parked: i64,
    spooled: u64,
    logged: HashSet<u64>,
}

impl Trial {
    pub(crate) fn of(fault: &'static str, store: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        // One that failed leaves nothing behind that the next could trip over.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let name = std::thread::current().name().expect("a test has a name").replace("::", "-");
        let store = store.to_owned();
        Self { name, fault, store, may_cut: false, may_log: false, _alone: alone }
    }

    /// One of several of the same test.
    pub(crate) fn numbered(mut self, number: u64) -> Self {
        self.name = format!("{}-{number}", self.name);
        self
    }

    /// Connections may be refused and cut: the server is away for a time.
    pub(crate) fn with_cuts(mut self) -> Self {
        self.may_cut = true;
        self
    }

    /// The error log may hold events: nothing else was left to take them.
    pub(crate) fn with_last_resort(mut self) -> Self {
        self.may_log = true;
        self
    }

    /// Holds that no answered event is missing, none is there twice, and each answer was right and in time.
    pub(crate) fn judge(
        &self,
        (attempts, lasted): &(Vec<Attempt>, Duration),
        kept: &Kept,
    ) -> Shown {
        let mut wrong = Vec::new();
        let mut numbers: BTreeMap<u64, Sent> = BTreeMap::new();
        let mut micros = Vec::new();
        for attempt in attempts {
            let sent = numbers.entry(attempt.number).or_default();
            sent.arrived += usize::from(attempt.outcome != Outcome::Refused);
            match &attempt.outcome {
                Outcome::Answered => {
                    sent.answered += 1;
                    micros.push(attempt.micros);
                }
                Outcome::Refused | Outcome::Cut if self.may_cut => {}
                other => wrong.push(format!("event {} was answered {other:?}", attempt.number)),
            }
        }
        micros.sort_unstable();
        let rows_of = |number: &u64| kept.rows.get(number).copied().unwrap_or(0);
        let rows_max = |number: u64, sent: &Sent| if is_before(number) { sent.arrived } else { 1 };
        let rows_min = |number: u64, sent: &Sent| {
            if is_before(number) { sent.answered } else { sent.answered.min(1) }
        };
        let lost =
            numbers.iter().filter(|(number, sent)| rows_of(number) < rows_min(**number, sent));
        let lost: Vec<u64> = lost.map(|(number, _)| *number).collect();
        let twice =
            numbers.iter().filter(|(number, sent)| rows_of(number) > rows_max(**number, sent));
        let twice: Vec<u64> = twice.map(|(number, _)| *number).collect();
        let never_sent = kept.rows.keys().filter(|number| !numbers.contains_key(number)).count();
        let shown = Shown {
            test: self.name.clone(),
            fault: self.fault.to_owned(),
            store: self.store.clone(),
            seconds: lasted.as_secs(),
            sent: count(numbers.len()),
            requests: count(attempts.len()),
            answered: count(numbers.values().filter(|sent| sent.answered > 0).count()),
            stored: count(numbers.keys().filter(|number| rows_of(number) > 0).count()),
            spooled: kept.spooled,
            logged: count(kept.logged.len()),
            twice: count(twice.len()),
            lost: count(lost.len()),
            worst_ms: at(&micros, 1000),
            p999_ms: at(&micros, 999),
            p99_ms: at(&micros, 990),
        };
        shown.write();
        let first = |list: &[String]| list.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
        assert!(shown.answered > 0, "nothing was answered: {shown:?}");
        let nowhere = lost.iter().filter(|number| !kept.logged.contains(number)).count();
        assert_eq!(
            lost,
            Vec::<u64>::new(),
            "answered OK, and no row; {nowhere} of them are not in the error log either: {shown:?}"
        );
        assert_eq!(twice, Vec::<u64>::new(), "more than one row: {shown:?}");
        assert!(
            kept.strange.is_empty() && never_sent == 0,
            "{never_sent}, {}",
            first(&kept.strange)
        );
        assert_eq!(kept.parked, 0, "rows were put aside: {shown:?}");
        assert!(wrong.is_empty(), "{} answers, such as {}: {shown:?}", wrong.len(), first(&wrong));
        assert!(self.may_log || kept.logged.is_empty(), "events in the error log: {shown:?}");
        let within = u64::try_from(ANSWER_WITHIN.as_millis()).unwrap();
        assert!(shown.worst_ms < within, "an answer came too late: {shown:?}");
        shown
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap()
}

#[derive(Default)]
struct Sent {
    /// Attempts that may have reached a server.
    arrived: usize,
    /// Those that were answered OK.
    answered: usize,
}

/// The value below which so many in a thousand are, in ms, rounded up.
fn at(sorted_micros: &[u64], thousandth: usize) -> u64 {
    let last = sorted_micros.len().saturating_sub(1);
    sorted_micros.get((last * thousandth).div_ceil(1000)).map_or(0, |micros| micros.div_ceil(1000))
}

impl Shown {
    /// For the table that `scripts/soak` makes.
    fn write(&self) {
        let folder = folder();
        std::fs::create_dir_all(&folder).unwrap();
        let line = serde_json::to_string(self).unwrap() + "\n";
        eprintln!("{line}");
        std::fs::write(folder.join(format!("{}.json", self.test)), line).unwrap();
    }
}

/// Where the figures of the last run stand.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/reliability")
}

impl Kept {
    /// What the database has.
    pub(crate) async fn in_store(url: &str) -> Self {
        const ROWS: &str =
            "select coalesce(room_id, cast(id as text)), count(*) from events group by 1";
        const PARKED: &str = "select count(*) from dead_letter_events";
        let (rooms, parked): (Vec<(String, i64)>, i64) = if url.starts_with("postgres") {
            let mut session = sqlx::PgConnection::connect(url).await.unwrap();
            let rooms = sqlx::query_as(ROWS).fetch_all(&mut session).await;
            (rooms.unwrap(), sqlx::query_scalar(PARKED).fetch_one(&mut session).await.unwrap())
        } else {
            let mut session = sqlx::SqliteConnection::connect(url).await.unwrap();
            let rooms = sqlx::query_as(ROWS).fetch_all(&mut session).await;
            (rooms.unwrap(), sqlx::query_scalar(PARKED).fetch_one(&mut session).await.unwrap())
        };
        let mut kept = Self { parked, ..Self::default() };
        for (room, rows) in rooms {
            match number_of(&room) {
                Some(number) => {
                    kept.rows.insert(number, usize::try_from(rows).unwrap());
                }
                None => kept.strange.push(room),
            }
        }
        kept
    }

    /// How many events were answered OK and have no row.
    pub(crate) fn missing(&self, attempts: &[Attempt]) -> usize {
        let answered = attempts.iter().filter(|attempt| attempt.outcome == Outcome::Answered);
        let answered: BTreeSet<u64> = answered.map(|attempt| attempt.number).collect();
        answered.iter().filter(|number| !self.rows.contains_key(number)).count()
    }

    /// And what the server says of its ways there.
    pub(crate) async fn and_by(mut self, place: &Place, serving: &Serving) -> Self {
        self.spooled += serving.figures().await.value("trtc_spool_drained_total");
        self.logged.extend(place.logged());
        self
    }

    /// Without what is there of an earlier load, which comes back as numbers.
    pub(crate) fn only_from(mut self, first: u64) -> (Self, BTreeSet<u64>) {
        let rows = self.rows.split_off(&first);
        let earlier = std::mem::replace(&mut self.rows, rows);
        self.spooled = 0;
        (self, earlier.into_keys().collect())
    }
}

/// Random numbers that can be had again: `SplitMix64`.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by `FAULTS_SEED`, or anew; the seed is printed.
    pub(crate) fn new() -> Self {
        let seed = std::env::var("FAULTS_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = seed.unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1);
        eprintln!("FAULTS_SEED={seed}");
        Self(seed)
    }

    /// One below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
