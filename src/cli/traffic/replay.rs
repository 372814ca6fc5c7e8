use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cli::args::{ConfigArgs, StoreArgs};
use crate::cli::error::diagnostic;
use crate::cli::output::{self, progress_bar, say};
use crate::cli::read::filter_args::FilterArgs;
use crate::cli::traffic::confirmation::{Confirmation, SentEvent};
use crate::cli::traffic::recordings::{Found, Inputs, RecordedDelivery, files};
use crate::cli::traffic::target::{Target, TargetArgs};
use crate::clock::Clock;
use crate::settings::Settings;
use crate::store::{self, EventFilter, Order, Store};
use protocol::Delivery;
use protocol::UnixMillis;
use protocol::diagnostic::{Diagnostic, Hint};

/// How many stored events are read at once.
const PAGE: u32 = 500;

/// Post recorded events again
///
/// Reads files: fixtures, JSON lines as written by `events --json`, and the log
/// lines of events that a server could not store. For a directory it reads the
/// .json, .jsonl, .ndjson and .log files below it, for `-` standard input. With
/// `--stored` it reads events from the store, oldest first.
///
/// Sending an event again to the server that has it changes nothing. Events with
/// neither a time of their own nor a `RequestId`, and "before" callbacks, are new
/// events each time. Events of a log that are in the configured store are skipped.
/// As the server answers OK to every request, the command then checks what was
/// stored, in the server's metrics or, for files, in the configured store. Exits
/// with 1 when something was not stored.
///
/// Examples:
///   trtc-callbacks replay errors.log
///   trtc-callbacks replay --stored --room 1234 --since 2h --to http://127.0.0.1:3000/ --speed 10
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Replay {
    /// Files, directories, or `-`
    #[arg(required_unless_present = "stored", conflicts_with = "stored", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Read from the store, with the filters below
    #[arg(long)]
    stored: bool,
    /// Replay in real time, this many times faster [default: as fast as possible]
    #[arg(long, value_name = "FACTOR", value_parser = speed)]
    speed: Option<f64>,
    /// Concurrent requests; with more than 1, events may arrive out of order
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    filter: FilterArgs<EventFilter>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

fn speed(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().map_err(|error| error.to_string())?;
    let range = 0.001..=1_000_000.0;
    if range.contains(&factor) { Ok(factor) } else { Err("give 0.001 to 1000000".into()) }
}

impl Replay {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let settings = self.config.load(Some(&self.store), None)?;
        let (mut source, bytes) = if self.stored {
            let mut filter = self.filter.filter(clock.now())?;
            // Or what this very run stores again would be read again.
            filter.received_until = Some(clock.now());
            (Source::stored(&settings, filter).await?, None)
        } else {
            let files = files(&self.paths)?;
            let sizes = files.iter().map(|file| file.metadata().map_or(0, |data| data.len()));
            let bytes = sizes.sum();
            (Source::Files(Inputs::new(files)), Some(bytes))
        };
        let target = self.target.open(&settings, clock)?;
        let mut confirmation = Confirmation::begin(&settings, &target, clock).await;
        if self.stored {
            confirmation =
                confirmation.without_store("it is the store that the events were read from");
        }
        let mut pace = self.speed.map(Pace::new);
        let at_once = usize::from(self.concurrency);
        let mut posting = Posting::new((target, confirmation), at_once, bar(bytes), clock);
        let mut known = StoredIds::new(&settings);
        while let Some(found) = source.next().await? {
            let found = match found {
                Found::Delivery(found) => found,
                Found::CutOff(line) => {
                    posting.cut_off(&line);
                    continue;
                }
            };
            if known.has(&found).await {
                posting.known += 1;
                continue;
            }
            if let Some(pace) = &mut pace {
                pace.wait(&found.delivery, clock.now()).await;
            }
            posting.post(found).await;
        }
        posting.finish(source.skipped()).await
    }
}

/// Progress in bytes; a spinner where their number is not known.
fn bar(bytes: Option<u64>) -> ProgressBar {
    let template = match bytes {
        Some(_) => "{bar:30} {bytes}/{total_bytes}  {elapsed} elapsed, {eta} left  {msg}",
        None => "{spinner} {elapsed}  {msg}",
    };
    progress_bar(bytes, template)
}

/// Where deliveries come from.
enum Source {
    Files(Inputs),
    Stored {
        store: Arc<dyn Store>,
        filter: Box<EventFilter>,
        page: VecDeque<RecordedDelivery>,
        done: bool,
    },
}

impl Source {
    async fn stored(settings: &Settings, mut filter: EventFilter) -> Result<Self> {
        let store = store::open(&settings.store_options().to_read()).await?;
        filter.order = Order::Oldest { after: None };
        filter.limit = PAGE;
        let filter = Box::new(filter);
        Ok(Self::Stored { store, filter, page: VecDeque::new(), done: false })
    }

    async fn next(&mut self) -> Result<Option<Found>> {
        let (store, filter, page, done) = match self {
            Self::Files(inputs) => return inputs.next(),
            Self::Stored { store, filter, page, done } => (store, filter, page, done),
        };
        if page.is_empty() && !*done {
            let events = store.events(filter).await.context("read the store")?;
            *done = events.len() < PAGE as usize;
            if let Some(last) = events.last() {
                filter.order = Order::Oldest { after: Some((last.event_time, last.id)) };
            }
            page.extend(events.iter().map(|event| RecordedDelivery {
                place: format!("event {}", event.id),
                delivery: event.delivery(),
                not_stored: None,
                bytes_read: 0,
            }));
        }
        Ok(page.pop_front().map(Found::Delivery))
    }

    fn skipped(&self) -> u64 {
        match self {
            Self::Files(inputs) => inputs.skipped,
            Self::Stored { .. } => 0,
        }
    }
}

/// Knows which events of an error log have come into the store after all: a commit may outlast its deadline.
enum StoredIds {
    /// No such event was met yet, so the store need not be there.
    Unasked(store::StoreOptions),
    Asking(Arc<dyn Store>),
    /// It cannot be asked.
    Unknown,
}

impl StoredIds {
    fn new(settings: &Settings) -> Self {
        Self::Unasked(settings.store_options().to_read())
    }

    async fn has(&mut self, found: &RecordedDelivery) -> bool {
        let Some(id) = found.not_stored else {
            return false;
        };
        if let Self::Unasked(options) = self {
            *self = match store::open(options).await {
                Ok(store) => Self::Asking(store),
                Err(error) => Self::unknown(&error),
            };
        }
        let Self::Asking(store) = self else {
            return false;
        };
        match store.contains(id).await {
            Ok(known) => known,
            Err(error) => {
                *self = Self::unknown(&error);
                false
            }
        }
    }

    fn unknown(error: &store::StoreError) -> Self {
        say(&format!(
            "cannot check which of these events are stored already, so all are posted: {}",
            error.diagnostic()
        ));
        Self::Unknown
    }
}

/// Keeps the pauses between the events' own times.
struct Pace {
    speed: f64,
    first: Option<(UnixMillis, Instant)>,
}

impl Pace {
    fn new(speed: f64) -> Self {
        Self { speed, first: None }
    }

    async fn wait(&mut self, delivery: &Delivery, now: UnixMillis) {
        let Some(time) = event_time(delivery, now) else {
            return;
        };
        let (first, begun) = *self.first.get_or_insert((time, Instant::now()));
        sleep_until(begun + time.since(first).div_f64(self.speed)).await;
    }
}

/// When the event happened; `None` where its body does not say.
fn event_time(delivery: &Delivery, now: UnixMillis) -> Option<UnixMillis> {
    delivery.event(now).filter(|event| event.timed).map(|event| event.event_time)
}

/// Posts so many at once, and counts.
struct Posting {
    target: Target,
    at_once: usize,
    running: JoinSet<Result<SentEvent, (String, anyhow::Error)>>,
    bar: ProgressBar,
    confirmation: Confirmation,
    clock: Clock,
    posted: u64,
    failed: u64,
    known: u64,
}

impl Posting {
    fn new(
        (target, confirmation): (Target, Confirmation),
        at_once: usize,
        bar: ProgressBar,
        clock: &Clock,
    ) -> Self {
        let (running, clock) = (JoinSet::new(), clock.clone());
        Self { target, at_once, running, bar, confirmation, clock, posted: 0, failed: 0, known: 0 }
    }

    async fn post(&mut self, found: RecordedDelivery) {
        while self.running.len() >= self.at_once {
            self.join_one().await;
        }
        self.bar.set_position(found.bytes_read);
        let (target, clock) = (self.target.clone(), self.clock.clone());
        self.running.spawn(async move {
            let posted = target.post(&found.delivery).await;
            posted.map_err(|error| (found.place, error))?;
            Ok(SentEvent::of(&found.delivery, clock.now()))
        });
        if self.at_once == 1 {
            // In order: the next one waits for this one's answer.
            self.join_one().await;
        }
    }

    /// The line of an event in an error log is not whole.
    fn cut_off(&mut self, place: &str) {
        self.failed += 1;
        let problem = "an event that was not stored, but its line is cut off or divided";
        let hint = "what collects the log limits the length of a line; the server's standard error has it whole";
        let found = Diagnostic::new(problem, hint);
        self.bar.suspend(|| say(&format!("failed: {place}: {found}")));
    }

    async fn join_one(&mut self) {
        match self.running.join_next().await {
            None => return,
            Some(Ok(Ok(sent))) => {
                self.posted += 1;
                self.confirmation.answered_ok(sent);
            }
            Some(Ok(Err((place, error)))) => {
                self.failed += 1;
                self.bar.suspend(|| say(&format!("failed: {place}: {}", diagnostic(&error))));
            }
            Some(Err(error)) => {
                self.failed += 1;
                self.bar.suspend(|| say(&format!("failed: {error}")));
            }
        }
        self.bar.set_message(format!("{} posted, {} failed", self.posted, self.failed));
    }

    async fn finish(mut self, skipped: u64) -> Result<()> {
        while !self.running.is_empty() {
            self.join_one().await;
        }
        self.bar.finish_and_clear();
        if skipped > 0 {
            say(&format!("skipped {skipped} lines without an event"));
        }
        if self.known > 0 {
            say(&format!("skipped {} events that are stored already", self.known));
        }
        let (posted, failed) = (self.posted, self.failed);
        if posted + failed + self.known == 0 {
            bail!(Diagnostic::new(
                "no event was found",
                "`--help` lists the formats that are read"
            ));
        }
        let verdict = self.confirmation.verdict().await;
        if failed > 0 {
            let all = posted + failed;
            bail!("{failed} of {all} events failed, see above; of the others: {}", verdict.text);
        }
        output::print(&verdict.into_result()?)
    }
}
