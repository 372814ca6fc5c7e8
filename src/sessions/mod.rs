//! Computes what is settled from the facts: rooms and lives, soon after something new is known of them, and gaps in what
//! the vendor sent, every few seconds.
//!
//! One server at a time does so for each database. It has a few connections of its own and short transactions, which lock no
//! row that an event writes but those of overdue calls. Three things go on beside each other, so that none keeps another
//! waiting: rooms that take little are settled together, those of which there is much one after the other, and gaps are looked for.

pub(crate) mod compute;
pub(crate) mod drift;
pub(crate) mod gaps;
pub(crate) mod lanes;
pub(crate) mod memory;
pub(crate) mod overdue_calls;
pub(crate) mod plan;
pub(crate) mod silence;
pub(crate) mod verify;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::callback::AppId;
use crate::clock::Clock;
use crate::registration::Book;
use crate::settings::{GapsSettings, SettleSettings};
use crate::store::{SettlerConnection, StoreError, StoreOptions};
use crate::telemetry::Metrics;

pub(crate) use crate::sessions::gaps::MINUTES_KEPT;
pub(crate) use crate::sessions::verify::Again;

use crate::sessions::gaps::Sweeps;
use crate::sessions::memory::Memory;

/// How long to wait before new facts are looked for again. It is as long as settling took, where that is longer, so that
/// the store is ours for half of the time at most.
const POLL: Duration = Duration::from_millis(500);
/// How long one step may take: to settle a room of which there is much, or to look for gaps.
const STEP_MAX: Duration = Duration::from_mins(2);
/// How often to ask whether to take over from the server that settles, and whether one still is that server.
const LEAD_EVERY: Duration = Duration::from_secs(3);
/// How long to wait before a connection that failed is made anew.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The background task.
pub(crate) struct Settler {
    options: StoreOptions,
    apps: Vec<AppId>,
    gaps: GapsSettings,
    bounds: SettleSettings,
    book: Arc<Book>,
    clock: Clock,
    metrics: Arc<Metrics>,
    memory: Mutex<Memory>,
}

impl Settler {
    pub(crate) fn new(
        options: StoreOptions,
        apps: Vec<AppId>,
        (gaps, bounds): (GapsSettings, SettleSettings),
        book: Arc<Book>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let memory = Mutex::default();
        Self { options, apps, gaps, bounds, book, clock, metrics, memory }
    }

    /// Settles for ever. It may be cancelled at any point: what is half done is done again.
    pub(crate) async fn run(&self) {
        let mut said = Said::default();
        loop {
            // What three tasks hold between their steps is large.
            if let Err(reason) = Box::pin(self.lead(&mut said)).await {
                said.fails(&reason);
            }
            self.metrics.settle.queue(0, Duration::ZERO);
            self.metrics.settle.backing_off(0);
            self.metrics.anomalies(&[]);
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Settles while the connection lasts that says who does. Returns why it does not.
    async fn lead(&self, said: &mut Said) -> Result<(), String> {
        let mut lock = step(SettlerConnection::open(&self.options)).await?;
        while !step(lock.lead()).await? {
            // Only this server knows of them.
            step(drift::list_repairs(&mut lock, &self.book, &self.metrics)).await?;
            sleep(LEAD_EVERY).await;
        }
        said.works();
        tracing::debug!("this server settles rooms and lives");
        let mut sweeps = Sweeps::default();
        let held = async {
            loop {
                sleep(LEAD_EVERY).await;
                step(lock.clock_ms()).await?;
            }
        };
        let all = async { tokio::join!(self.quick(), self.slow(), self.sweeps(&mut sweeps)) };
        tokio::select! {
            _ = all => Ok(()),
            lost = held => lost,
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What went wrong last, so that it is said once.
#[derive(Default)]
struct Said(Option<String>);

impl Said {
    fn fails(&mut self, reason: &str) {
        if self.0.as_deref() != Some(reason) {
            warn!(reason, "rooms and lives are not up to date; trying again");
            self.0 = Some(reason.to_owned());
        }
    }

    fn works(&mut self) {
        if self.0.take().is_some() {
            info!("rooms and lives are settled again");
        }
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
