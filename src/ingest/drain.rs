//! Empties the spool into the store, the oldest events first, beside those that arrive. While the store is away, this is
//! what asks for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::spooler::{Keeper, filled_or};
use super::writer::{Answer, GROUP_BYTES_MAX, Ticket, Writer};
use crate::telemetry::Metrics;

/// How many events are moved at once, at most, and how many at first.
const ROWS_MAX: u32 = 500;
const ROWS_MIN: u32 = 8;
/// How long to wait before a store that did not take events is asked again: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

pub(super) struct Drain {
    pub(super) keeper: Arc<Keeper>,
    pub(super) writer: Arc<Writer>,
    /// Cancelled when the server stops: what is left waits for the next start.
    pub(super) stop: CancellationToken,
    pub(super) metrics: Arc<Metrics>,
}

enum Step {
    Empty,
    Moved(u64),
    Failed,
}

impl Drain {
    pub(super) async fn run(self) {
        let (mut rows, mut pause, mut moved) = (ROWS_MIN, PAUSE_MIN, 0);
        while !self.stop.is_cancelled() {
            match self.step(rows).await {
                Step::Empty => {
                    if moved > 0 {
                        info!(events = moved, "the spool is empty again");
                        moved = 0;
                        self.shrink().await;
                    }
                    filled_or(&self.keeper, &self.stop).await;
                }
                Step::Moved(events) => {
                    moved += events;
                    (rows, pause) = ((rows * 4).min(ROWS_MAX), PAUSE_MIN);
                }
                Step::Failed => {
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.stop.cancelled() => {}
                    }
                    (rows, pause) = ((rows / 4).max(1), (pause * 2).min(PAUSE_MAX));
                }
            }
        }
    }

    /// Moves one batch: stores it, and then forgets it. A crash between the two repeats it, under the same ids.
    async fn step(&self, rows: u32) -> Step {
        let spool = &self.keeper.spool;
        let generation = spool.generation().await;
        let records = match spool.oldest(0, rows, GROUP_BYTES_MAX as u64).await {
            Ok(records) if records.is_empty() => return Step::Empty,
            Ok(records) => records,
            Err(error) => {
                self.keeper.failed(generation, &error).await;
                return Step::Failed;
            }
        };
        let (mut tickets, mut waiting, mut untrusted) = (Vec::new(), Vec::new(), 0);
        for record in records {
            match record.event {
                Ok(event) => {
                    let (answer, outcome) = oneshot::channel();
                    tickets.push(Ticket { event: Arc::new(event), insists: true, answer });
                    waiting.push((record.place, outcome));
                }
                Err(reason) => {
                    untrusted += 1;
                    if !self.set_aside(generation, record.place, &reason).await {
                        return Step::Failed;
                    }
                }
            }
        }
        let (taken, refused) = self.store(tickets, waiting).await;
        if refused > 0 && taken.is_empty() {
            return Step::Failed;
        }
        if let Err(error) = spool.remove(&taken).await {
            self.keeper.failed(generation, &error).await;
            return Step::Failed;
        }
        self.keeper.recovered();
        self.keeper.measure().await;
        self.metrics.spool_drained.increment(taken.len() as u64);
        Step::Moved(taken.len() as u64 + untrusted)
    }

    /// Returns the places of what the store has now, and how many it did not take.
    async fn store(
        &self,
        tickets: Vec<Ticket>,
        waiting: Vec<(i64, oneshot::Receiver<Answer>)>,
    ) -> (Vec<i64>, usize) {
        self.writer.write_once(tickets).await;
        let (mut taken, mut refused) = (Vec::new(), 0);
        for (place, outcome) in waiting {
            match outcome.await {
                Ok(Ok(_)) => taken.push(place),
                Ok(Err(_)) | Err(_) => refused += 1,
            }
        }
        (taken, refused)
    }

    async fn set_aside(&self, generation: u64, place: i64, reason: &str) -> bool {
        if let Err(error) = self.keeper.spool.set_aside(place, reason).await {
            self.keeper.failed(generation, &error).await;
            return false;
        }
        self.metrics.spool_damaged.increment(1);
        error!(
            place,
            reason, "a record of the spool cannot be trusted; it is in its table `damaged`"
        );
        true
    }

    async fn shrink(&self) {
        let generation = self.keeper.spool.generation().await;
        if let Err(error) = self.keeper.spool.shrink().await {
            self.keeper.failed(generation, &error).await;
        }
        self.keeper.measure().await;
    }
}
