//! Computes what is settled from the facts: rooms and lives, soon after something new is known of them, and gaps in what
//! the vendor sent, every few seconds.
//!
//! One server at a time does so for each database. It has a connection of its own and short transactions, which lock no
//! row that an event writes but those of overdue calls.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::callback::AppId;
use crate::clock::Clock;
use crate::guard::Book;
use crate::settings::GapsSettings;
use crate::store::{Queued, RoomId, SLOT_MS, Settling, StoreError, StoreOptions};
use crate::telemetry::Metrics;

mod again;
mod calls;
mod drift;
mod room;
mod silence;

pub(crate) use again::Again;

use calls::Calls;
use room::{AT_ONCE, Round, settle};

/// How long to wait before new facts are looked for again. It is as long as settling took, where that is longer, so that
/// the store is ours for half of the time at most.
const POLL: Duration = Duration::from_millis(500);
/// How long a round may go on before other things get their turn.
const ROUND_MAX: Duration = Duration::from_secs(2);
/// How long rooms that are settled together, or one sweep, may take.
const STEP_MAX: Duration = Duration::from_mins(2);
/// How many days of rooms are taken from the queue at once.
const QUEUE_MAX: u32 = 5000;
/// The shortest time between two settlings of one room: each computes its lives anew, whatever is new.
const AGAIN_MIN: Duration = Duration::from_secs(2);
/// How many times as long as settling a room took it is left alone.
const AGAIN_SHARE: u32 = 20;
/// How long a room is left alone that could not be settled.
const FAILED_PAUSE: Duration = Duration::from_mins(1);
/// How long settling some rooms may take until each is settled by itself.
const SLOW: Duration = Duration::from_millis(500);
/// How many rooms are remembered that are settled each by itself. Past it they are tried together once more.
const ALONE_MAX: usize = 1000;
/// How old what stands in the queue must be to leave it, in ms: whoever wrote it has committed, or given up.
const QUEUE_AGE_MS: i64 = 5000;
/// How often gaps are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How often to ask whether to take over from the server that settles.
const LEAD_EVERY: Duration = Duration::from_secs(3);
/// How long to wait before a connection that failed is made anew.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long counts of minutes are kept; those of hours stay.
pub(crate) const MINUTES_KEPT: Duration = Duration::from_hours(48);

/// The background task.
pub(crate) struct Settler {
    options: StoreOptions,
    apps: Vec<AppId>,
    gaps: GapsSettings,
    book: Arc<Book>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// What is remembered between rounds, and when a connection is made anew.
struct Memory {
    /// Until when a day of a room is left alone.
    resting: HashMap<Key, Instant>,
    /// Those that are settled each by itself, since it failed with others, or took long with them or alone: so each fails
    /// alone, and rests by what it took.
    alone: HashSet<Key>,
    swept_at: Option<Instant>,
    /// The version of the registrations' book that was listed.
    listed: u64,
    calls: Calls,
    /// What went wrong last, so that it is said once.
    said: Option<String>,
}

/// A day of a room.
type Key = (RoomId, i64);

fn key(queued: &Queued) -> Key {
    (queued.room.clone(), queued.day)
}

impl Memory {
    /// Takes those that are to be settled together: the first that waits and others behind it, of each room one day.
    fn take_some(&self, waiting: &mut Vec<Queued>) -> Vec<Queued> {
        let is_alone =
            |queued: &Queued| !self.alone.is_empty() && self.alone.contains(&key(queued));
        let mut some: Vec<Queued> = Vec::new();
        let mut rest = Vec::with_capacity(waiting.len());
        for queued in waiting.drain(..) {
            let fits = some.first().is_none_or(|first| {
                some.len() < AT_ONCE
                    && !some.iter().any(|other| other.room == queued.room)
                    && !is_alone(first)
                    && !is_alone(&queued)
            });
            if fits { some.push(queued) } else { rest.push(queued) }
        }
        *waiting = rest;
        some
    }

    /// Remembers how long it took to settle some.
    fn settled(&mut self, some: &[Queued], took: Duration) {
        // Of several nobody knows which took long, until each is settled by itself.
        let share = took / u32::try_from(some.len()).unwrap_or(u32::MAX).max(1);
        let rest = (share * AGAIN_SHARE).max(AGAIN_MIN);
        for queued in some {
            self.resting.insert(key(queued), Instant::now() + rest);
            if took < SLOW {
                self.alone.remove(&key(queued));
            }
        }
        if took >= SLOW {
            self.settle_alone(some);
        }
    }

    /// What failed by itself is left alone for a while, what failed with others is tried by itself.
    fn failed(&mut self, some: &[Queued], since: Instant) {
        match some {
            [one] => _ = self.resting.insert(key(one), since + FAILED_PAUSE),
            _ => self.settle_alone(some),
        }
    }

    fn settle_alone(&mut self, some: &[Queued]) {
        if self.alone.len() >= ALONE_MAX {
            self.alone.clear();
        }
        self.alone.extend(some.iter().map(key));
    }
}

impl Settler {
    pub(crate) fn new(
        options: StoreOptions,
        apps: Vec<AppId>,
        gaps: GapsSettings,
        book: Arc<Book>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { options, apps, gaps, book, clock, metrics }
    }

    /// Settles for ever. It may be cancelled at any point: what is half done is done again.
    pub(crate) async fn run(&self) {
        let mut memory = Memory {
            resting: HashMap::new(),
            alone: HashSet::new(),
            swept_at: None,
            listed: 0,
            calls: Calls::default(),
            said: None,
        };
        loop {
            if let Err(reason) = self.lead(&mut memory).await
                && memory.said.as_ref() != Some(&reason)
            {
                warn!(reason, "rooms and lives are not up to date; trying again");
                memory.said = Some(reason);
            }
            self.metrics.settle_queue_rooms.set(0);
            self.metrics.anomalies(&[]);
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Settles while the connection lasts. Returns why it does not.
    async fn lead(&self, memory: &mut Memory) -> Result<(), String> {
        let mut store = step(Settling::open(&self.options)).await?;
        while !step(store.lead()).await? {
            // Only this server knows of them.
            step(drift::list_repairs(&mut store, &self.book, &self.metrics)).await?;
            sleep(LEAD_EVERY).await;
        }
        tracing::debug!("this server settles rooms and lives");
        loop {
            let begun = Instant::now();
            self.round(&mut store, memory).await?;
            let version = self.book.version();
            let is_news = memory.listed != version;
            if is_news || memory.swept_at.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
                step(self.sweep(&mut store, memory)).await?;
                memory.swept_at = Some(Instant::now());
                memory.listed = version;
            }
            if memory.said.take().is_some() {
                info!("rooms and lives are settled again");
            }
            sleep(begun.elapsed().max(POLL)).await;
        }
    }

    /// Adds up what is counted, and settles what is queued.
    async fn round(&self, store: &mut Settling, memory: &mut Memory) -> Result<(), String> {
        let begun = Instant::now();
        step(store.add_counts()).await?;
        let (clock_ms, mut waiting) = step(store.queued(QUEUE_MAX)).await?;
        self.metrics
            .settle_queue_rooms
            .set(f64::from(u32::try_from(waiting.len()).unwrap_or(u32::MAX)));
        memory.resting.retain(|_, until| *until > begun);
        // The last slot of which all that was written can be seen by now.
        let slot_old = (clock_ms - QUEUE_AGE_MS).div_euclid(SLOT_MS) - 1;
        waiting.retain(|queued| !memory.resting.contains_key(&key(queued)));
        while !waiting.is_empty() && begun.elapsed() < ROUND_MAX {
            let some = memory.take_some(&mut waiting);
            let since = Instant::now();
            if let Err(reason) = self.settle(store, &some, slot_old).await {
                memory.failed(&some, since);
                return Err(reason);
            }
            let took = since.elapsed();
            self.metrics.settle_seconds.record(took.as_secs_f64());
            memory.settled(&some, took);
        }
        Ok(())
    }

    async fn settle(
        &self,
        store: &mut Settling,
        queued: &[Queued],
        slot_old: i64,
    ) -> Result<(), String> {
        let round = Round {
            now: self.clock.now(),
            idle_max: seconds(self.gaps.room_idle_overdue_s),
            slot_old,
            keeps_open: false,
        };
        for kind in step(settle(store, queued, &round)).await? {
            self.metrics.anomaly_found(kind);
        }
        Ok(())
    }

    /// Looks for gaps that no new event tells of.
    async fn sweep(&self, store: &mut Settling, memory: &mut Memory) -> Result<(), StoreError> {
        let now = self.clock.now();
        memory.calls.sweep(store, &self.gaps, now, &self.metrics).await?;
        if let Some(idle_max) = seconds(self.gaps.room_idle_overdue_s) {
            store.queue_idle_rooms(now.minus(idle_max)).await?;
        }
        for app in &self.apps {
            silence::sweep(store, *app, &self.gaps, now, &self.metrics).await?;
        }
        drift::sweep(store, &self.book, now, &self.metrics).await?;
        store.delete_minutes(now.minus(MINUTES_KEPT)).await?;
        self.metrics.anomalies(&store.listed().await?);
        Ok(())
    }
}

/// A setting in seconds, where 0 means none.
fn seconds(setting: u64) -> Option<Duration> {
    (setting > 0).then(|| Duration::from_secs(setting))
}

async fn step<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, String> {
    match timeout(STEP_MAX, work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("the store did not answer in time".to_owned()),
    }
}
