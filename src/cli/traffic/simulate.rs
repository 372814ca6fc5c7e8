use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::cli::args::{AppArgs, ConfigArgs, StoreArgs};
use crate::cli::error::diagnostic;
use crate::cli::output::{self, progress_bar, say};
use crate::cli::traffic::confirmation::{Confirmation, SentEvent};
use crate::cli::traffic::target;
use crate::cli::traffic::target::{Target, TargetArgs};
use crate::clock::Clock;
use protocol::AppId;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;
use protocol::simulate::{Dialects, Disturbance, Due, Generator, Kind, Options, Traffic};

/// Send simulated traffic to a server
///
/// Generates calls, conferences and live shows with viewers, gifts and battles
/// from a seed. They run faster than in real life, so that many begin and end
/// within `--duration`; each event is posted when it happens. As the server answers
/// OK to every request, the command then checks what was stored, in the configured
/// server's metrics or store. Exits with 1 when something was not stored.
///
/// The same seed generates the same traffic again, with other call IDs.
///
/// With `--dialect both`, the RTC Engine tells of the same calls, conferences and
/// shows, too: who is in their rooms, what is published, recorded, relayed,
/// moderated and written down.
///
/// Examples:
///   trtc-callbacks simulate
///   trtc-callbacks simulate --duration 10m --rate 100 --viewers 500
///   trtc-callbacks simulate --seed 7 --disorder 0.1 --duplicates 0.1 --losses 0.01
///   trtc-callbacks simulate --dialect both --rate 50
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Simulate {
    /// Events per second on average: 0.1 to 1000
    #[arg(long, value_name = "N", default_value = "20", value_parser = rate)]
    rate: f64,
    /// How long to send, such as 90s or 10m: 1 s to 24 h
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    duration: Duration,
    /// Seed of the random generator [default: a new one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Maximum viewers of a live show [default: what rate and duration allow]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=50_000))]
    viewers: Option<u32>,
    /// Which callbacks are sent
    #[arg(long, value_enum, default_value_t = DialectChoice::Im)]
    dialect: DialectChoice,
    /// Share of events that arrive out of order: 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    disorder: f64,
    /// Share of events that are sent twice: 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    duplicates: f64,
    /// Share of events that are never sent: 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    losses: f64,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    apps: AppArgs,
}

/// The choices of `--dialect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DialectChoice {
    /// Those of Call, Room and Live, and of Chat
    Im,
    /// Those of the RTC Engine
    RtcEngine,
    /// Both, with the same rooms and users
    Both,
}

impl DialectChoice {
    fn dialects(self) -> Dialects {
        match self {
            Self::Im => Dialects::Im,
            Self::RtcEngine => Dialects::RtcEngine,
            Self::Both => Dialects::Both,
        }
    }

    /// About how many events one viewer makes.
    fn events_per_viewer(self) -> f64 {
        match self {
            Self::Im => 5.0,
            Self::RtcEngine => 2.5,
            Self::Both => 7.5,
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 0.1..=1000.0, "0.1 to 1000")
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0..=1.0, "0 to 1")
}

fn within(text: &str, range: std::ops::RangeInclusive<f64>, words: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().map_err(|error| error.to_string())?;
    if range.contains(&number) { Ok(number) } else { Err(format!("give {words}")) }
}

fn duration(text: &str) -> Result<Duration, String> {
    let range = Duration::from_secs(1)..=Duration::from_hours(24);
    let given = text.parse::<jiff::SignedDuration>().ok();
    let given = given.and_then(|given| Duration::try_from(given).ok());
    given
        .filter(|given| range.contains(given))
        .ok_or("give a time from 1s to 24h, as in 90s".into())
}

/// How long in real life, at least, a traffic plays: a minute's demo plays ten.
const PLAYED_MIN: Duration = Duration::from_mins(10);

impl Simulate {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let settings = self.config.load(Some(&self.store), Some(&self.apps))?;
        let app = target::app(&settings)?;
        let options = self.options()?;
        let target = self.target.open(&settings, clock)?;
        let confirmation = Confirmation::begin(&settings, &target, clock).await;
        let start = clock.now();
        // Short, so that it can be typed.
        let seed = self.seed.unwrap_or(start.0.unsigned_abs() % 1_000_000);
        let disturbance = Disturbance {
            disorder: self.disorder,
            duplicates: self.duplicates,
            losses: self.losses,
        };
        let generator = Generator::new(seed, app, start, options);
        let traffic = Traffic::new(generator, start.plus(self.duration), disturbance, seed);
        let mut play = Play::new((target, confirmation), app, start, self.duration)?;
        let ended = play.run(traffic).await;
        play.finish(ended?, seed).await
    }

    /// Sizes and lengths that fit into the duration.
    fn options(&self) -> Result<Options> {
        let compress = PLAYED_MIN.div_duration_f64(self.duration).max(1.0);
        let played = self.duration.mul_f64(compress);
        // Of all events, that many may be one show's.
        let events = self.rate * self.duration.as_secs_f64();
        let bearable = (events / 2.0 / self.dialect.events_per_viewer()).max(4.0);
        if let Some(viewers) = self.viewers.filter(|viewers| f64::from(*viewers) > bearable) {
            bail!(Diagnostic::new(
                format!(
                    "a live show of {viewers} viewers has more events than half of the {events:.0} to be sent"
                ),
                format!(
                    "give at most `--viewers {bearable:.0}`, a higher `--rate` or a longer `--duration`"
                )
            ));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 4 and 200"
        )]
        let fitting = (bearable / 4.0).clamp(4.0, 200.0) as u32;
        let viewers = usize::try_from(self.viewers.unwrap_or(fitting))?;
        let defaults = Options::default();
        Ok(Options {
            rate: self.rate,
            compress,
            viewers,
            talk_max: defaults.talk_max.min(played.mul_f64(0.5)),
            conference_length: defaults.conference_length.min(played.mul_f64(0.25)),
            show_length: defaults.show_length.min(played.mul_f64(0.35)),
            room_kept: defaults.room_kept.min(played.mul_f64(0.15)),
            dialects: self.dialect.dialects(),
            ..defaults
        })
    }
}

/// Maximum number of requests in flight.
const CONCURRENCY: usize = 64;
/// How many failures are printed one by one.
const FAILURES_SHOWN: u64 = 5;

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndReason {
    /// All was posted.
    Done,
    /// A signal came.
    Stopped,
    /// The time was up before all was posted.
    Late,
}

/// Posts what is due, and counts.
struct Play {
    target: Target,
    confirmation: Confirmation,
    app: AppId,
    start: UnixMillis,
    begun: Instant,
    end: Instant,
    running: JoinSet<Result<SentEvent>>,
    interrupt: Signal,
    terminate: Signal,
    bar: ProgressBar,
    sent: u64,
    ok: u64,
    failed: u64,
    /// Of each kind: how many were played to their end, and their events.
    kinds: BTreeMap<Kind, (u64, u64)>,
}

impl Play {
    fn new(
        (target, confirmation): (Target, Confirmation),
        app: AppId,
        start: UnixMillis,
        duration: Duration,
    ) -> Result<Self> {
        let begun = Instant::now();
        Ok(Self {
            target,
            confirmation,
            app,
            start,
            begun,
            end: begun + duration,
            running: JoinSet::new(),
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            bar: progress_bar(Some(duration.as_secs()), "{bar:30} {pos} of {len} s  {msg}"),
            sent: 0,
            ok: 0,
            failed: 0,
            kinds: BTreeMap::new(),
        })
    }

    async fn run(&mut self, traffic: Traffic) -> Result<EndReason> {
        for due in traffic {
            let at = self.begun + due.delivery.at.since(self.start);
            loop {
                tokio::select! {
                    _ = self.interrupt.recv() => return Ok(EndReason::Stopped),
                    _ = self.terminate.recv() => return Ok(EndReason::Stopped),
                    Some(done) = self.running.join_next() => self.count(done)?,
                    () = sleep_until(self.end) => return Ok(EndReason::Late),
                    () = sleep_until(at), if self.running.len() < CONCURRENCY => break,
                }
            }
            self.post(due);
        }
        Ok(EndReason::Done)
    }

    fn post(&mut self, due: Due) {
        let (target, app) = (self.target.clone(), self.app);
        self.running.spawn(async move {
            let delivery = due.delivery.delivery(app);
            let posted = target.post(&delivery).await;
            posted.with_context(|| format!("send {}", due.delivery.command))?;
            Ok(SentEvent::of(&delivery, due.delivery.at))
        });
        self.sent += 1;
        let (played, events) = self.kinds.entry(due.kind).or_default();
        *played += u64::from(due.is_last);
        *events += 1;
        self.bar.set_position(self.bar.elapsed().as_secs());
    }

    /// # Errors
    /// The failure, where nothing was ever taken: the rest would fail like it.
    fn count(&mut self, done: Result<Result<SentEvent>, JoinError>) -> Result<()> {
        match done.context("send an event").and_then(|posted| posted) {
            Ok(sent) => {
                self.ok += 1;
                self.confirmation.answered_ok(sent);
            }
            Err(error) if self.ok == 0 => {
                self.bar.finish_and_clear();
                return Err(error);
            }
            Err(error) => {
                self.failed += 1;
                if self.failed <= FAILURES_SHOWN {
                    self.bar.suspend(|| say(&format!("failed: {}", diagnostic(&error))));
                }
            }
        }
        self.bar.set_message(format!("{} sent, {} OK, {} failed", self.sent, self.ok, self.failed));
        Ok(())
    }

    /// Waits for what is on its way, unless another signal comes, and tells what was done.
    async fn finish(mut self, ended: EndReason, seed: u64) -> Result<()> {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => break,
                _ = self.terminate.recv() => break,
                done = self.running.join_next() => match done {
                    Some(done) => self.count(done)?,
                    None => break,
                },
            }
        }
        self.bar.finish_and_clear();
        let unanswered = self.sent - self.ok - self.failed;
        match ended {
            EndReason::Done => {}
            EndReason::Stopped => say("stopped before its time"),
            EndReason::Late => say("the server did not keep up: not all was sent in time"),
        }
        if unanswered > 0 {
            say(&format!("{unanswered} events were in flight when it was stopped"));
        }
        output::print(&self.summary(seed))?;
        let verdict = self.confirmation.verdict().await;
        if self.failed > 0 {
            let Self { failed, sent, .. } = self;
            bail!("{failed} of {sent} events failed, see above; of the others: {}", verdict.text);
        }
        output::print(&verdict.into_result()?)
    }

    fn summary(&self, seed: u64) -> String {
        let Self { sent, ok, failed, app, .. } = self;
        let seconds = self.begun.elapsed().as_secs_f64();
        let mut table = output::table(&["KIND", "PLAYED", "EVENTS"]);
        for (kind, (played, events)) in &self.kinds {
            table.add_row([kind.as_str().to_owned(), played.to_string(), events.to_string()]);
        }
        format!(
            "sent {sent} in {seconds:.1} s for app {app}, seed {seed}: {ok} answered OK, {failed} failed\n{table}\n"
        )
    }
}
