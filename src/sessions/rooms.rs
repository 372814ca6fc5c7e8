//! The two tasks that settle rooms: small rooms many at a time, large ones one after the other.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::sessions::compute::Round;
use crate::sessions::memory::Memory;
use crate::sessions::plan::{SettleReport, settle};
use crate::sessions::rtc;
use crate::sessions::settler::{FailureLog, POLL, RETRY_PAUSE, STEP_MAX, Settler, step};
use crate::settings::seconds;
use crate::store::{Queued, RoomId, RoomQueue, SLOT_MS, SettlerConnection};
use protocol::diagnostic::{Diagnostic, Hint};

/// How long a round may go on before the queue is read again.
const ROUND_MAX: Duration = Duration::from_secs(2);
/// How long rooms may take that are settled together, or one that was thought to take little.
const QUICK_MAX: Duration = Duration::from_secs(5);
/// How old what stands in the queue must be to leave it, in ms: its writer has committed, or given up.
const QUEUE_AGE_MS: i64 = 5000;
/// How long to wait where a slow room has nothing that is due.
const TURN_PAUSE: Duration = Duration::from_millis(100);
/// How many days of a slow room are looked at.
const DAYS_MAX: u32 = 100;

/// The last slot of which all that was written can be seen by now.
fn slot_old(clock_ms: i64) -> i64 {
    (clock_ms - QUEUE_AGE_MS).div_euclid(SLOT_MS) - 1
}

/// A connection that is opened when it is needed, and again after a failure.
#[derive(Default)]
struct LazyConnection(Option<SettlerConnection>);

impl LazyConnection {
    async fn store(&mut self, settler: &Settler) -> Result<&mut SettlerConnection, Diagnostic> {
        if self.0.is_none() {
            self.0 = Some(step(SettlerConnection::open(&settler.options)).await?);
        }
        self.0.as_mut().ok_or_else(|| "there is no connection".to_owned().into())
    }
}

impl Settler {
    /// Settles rooms that take little, for ever.
    pub(crate) async fn quick(&self, queue: RoomQueue) {
        let (mut connection, mut failures, mut after) =
            (LazyConnection::default(), FailureLog::default(), None);
        loop {
            let begun = Instant::now();
            match self.round(queue, &mut connection, &mut after).await {
                Ok(None) => failures.succeeded(),
                Ok(Some(reason)) => failures.failed(&reason),
                Err(reason) => {
                    failures.failed(&reason);
                    connection = LazyConnection::default();
                    sleep(RETRY_PAUSE).await;
                }
            }
            sleep(begun.elapsed().max(POLL)).await;
        }
    }

    /// Settles a part of the queue, from `after` on. Returns what went wrong with some of it, if anything did.
    async fn round(
        &self,
        queue: RoomQueue,
        connection: &mut LazyConnection,
        after: &mut Option<RoomId>,
    ) -> Result<Option<Diagnostic>, Diagnostic> {
        let begun = Instant::now();
        let store = connection.store(self).await?;
        let slot_old = slot_old(step(store.clock_ms()).await?);
        if queue == RoomQueue::Rtc {
            step(store.queue_rooms_of_new_robots()).await?;
        }
        let (queued, next) = step(store.queued(queue, after.as_ref())).await?;
        *after = next;
        let mut waiting = self.memory(queue).ready(queued);
        let mut wrong = None;
        while !waiting.is_empty() && begun.elapsed() < ROUND_MAX {
            let some = self.memory(queue).take_some(&mut waiting);
            if some.is_empty() {
                break;
            }
            let store = connection.store(self).await?;
            if let Err(reason) = self.settle_some(queue, store, &some, slot_old, QUICK_MAX).await {
                *connection = LazyConnection::default();
                wrong = Some(reason);
            }
        }
        Ok(wrong)
    }

    /// Settles rooms of which there is much, for ever.
    pub(crate) async fn slow(&self, queue: RoomQueue) {
        let (mut connection, mut failures) = (LazyConnection::default(), FailureLog::default());
        loop {
            let begun = Instant::now();
            let room = self.memory(queue).next_slow();
            let Some(room) = room else {
                // It would be idle for long.
                connection = LazyConnection::default();
                sleep(POLL).await;
                continue;
            };
            match self.slow_room(queue, &mut connection, &room).await {
                Ok(true) => failures.succeeded(),
                // They rest, or are done.
                Ok(false) => sleep(TURN_PAUSE).await,
                Err(reason) => {
                    failures.failed(&reason);
                    connection = LazyConnection::default();
                    sleep(RETRY_PAUSE).await;
                }
            }
            sleep(begun.elapsed()).await;
        }
    }

    /// Settles a day of a slow room; `false` where none is due.
    async fn slow_room(
        &self,
        queue: RoomQueue,
        connection: &mut LazyConnection,
        room: &RoomId,
    ) -> Result<bool, Diagnostic> {
        let store = connection.store(self).await?;
        let slot_old = slot_old(step(store.clock_ms()).await?);
        let days = step(store.queued_of(queue, room, DAYS_MAX)).await?;
        if days.is_empty() {
            self.memory(queue).is_done(room);
            return Ok(false);
        }
        let due = {
            let memory = self.memory(queue);
            days.into_iter().find(|queued| !memory.is_resting(queued))
        };
        let Some(due) = due else { return Ok(false) };
        self.settle_some(queue, store, &[due], slot_old, STEP_MAX).await?;
        Ok(true)
    }

    /// Settles some rooms together, or one by itself, and remembers how it went.
    async fn settle_some(
        &self,
        queue: RoomQueue,
        store: &mut SettlerConnection,
        some: &[Queued],
        slot_old: i64,
        most: Duration,
    ) -> Result<(), Diagnostic> {
        let is_deep = most > QUICK_MAX;
        let round = Round {
            now: self.clock.now(),
            idle_max: seconds(self.gaps.room_idle_overdue_s),
            slot_old,
            keeps_open: false,
            deep: is_deep,
            boundaries_per_day_max: self.bounds.boundaries_per_day_max,
            session_bytes_max: self.bounds.session_bytes_max,
        };
        let since = Instant::now();
        let done = timeout(most, async {
            match queue {
                RoomQueue::Kit => settle(store, some, &round).await,
                RoomQueue::Rtc => rtc::settle(store, some, &round).await,
            }
        })
        .await;
        let took = since.elapsed();
        self.metrics.settle.seconds.record(took.as_secs_f64());
        let mut memory = self.memory(queue);
        match done {
            Ok(Ok(settled)) => {
                remember(&mut memory, some, &settled, took);
                drop(memory);
                settled.found.iter().for_each(|kind| self.metrics.anomaly_found(kind));
                Ok(())
            }
            Ok(Err(error)) => {
                self.metrics.settle.failures.increment(1);
                memory.failed(some);
                Err(error.diagnostic())
            }
            Err(_) => {
                self.metrics.settle.failures.increment(1);
                if is_deep {
                    memory.failed(some);
                } else {
                    memory.late(some);
                }
                Err("some rooms were not settled in time".to_owned().into())
            }
        }
    }
}

fn remember(memory: &mut Memory, some: &[Queued], settled: &SettleReport, took: Duration) {
    settled.too_much.iter().for_each(|place| memory.too_much(some, *place));
    let is_settled = |(place, _): &(usize, &Queued)| !settled.too_much.contains(place);
    let rest: Vec<Queued> =
        some.iter().enumerate().filter(is_settled).map(|(_, queued)| queued.clone()).collect();
    memory.settled(&rest, took);
}
