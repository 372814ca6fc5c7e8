//! Takes what is queued and has it written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::ingest::batch_writer::{Ticket, Writer};

/// How many events the batch before had, where more are waited for: else they come so seldom that none would.
const SOME: usize = 2;
/// How long more events are waited for.
const GATHER: Duration = Duration::from_millis(3);
/// From how many events on they need not wait for more where as many came as in the largest of the last batches: all who send
/// may wait for their answers. Fewer would stay few if they did not wait.
const ALL_CAME: usize = 8;
/// How many events need not wait for more, whatever came before: beginning and committing a transaction costs little beside so
/// many.
const ENOUGH: usize = 128;
/// How many events are worth a transaction of their own while another lane writes. Beginning and committing one costs as much
/// as a third of them, and two that write the same rooms wait for each other.
const WORTH_A_LANE: usize = 64;
/// How long fewer wait for the other lane. Then it is slow.
const GATHER_MAX: Duration = Duration::from_millis(8);

/// Events that wait to be written, and how many were taken of late.
pub(crate) struct Waiting {
    tickets: mpsc::Receiver<Ticket>,
    /// How many were in the last batch.
    taken: usize,
    /// How many were in the largest of the last batches, of which each counts a quarter less than the one after it.
    largest: usize,
}

impl Waiting {
    pub(crate) fn new(tickets: mpsc::Receiver<Ticket>) -> Self {
        Self { tickets, taken: 0, largest: 0 }
    }
}

#[derive(Clone)]
pub(crate) struct Lane {
    /// Shared by all lanes: the one that holds the lock waits for events, the others write or wait for the lock.
    pub(crate) waiting: Arc<Mutex<Waiting>>,
    /// Shared too.
    pub(crate) gate: Arc<Gate>,
    /// Cancelled when no more events will come; what is queued is written all the same.
    pub(crate) stop: CancellationToken,
    pub(crate) rows_max: usize,
    pub(crate) writer: Arc<Writer>,
}

impl Lane {
    pub(crate) async fn run(self) {
        loop {
            let (batch, _writes) = self.next_batch().await;
            if batch.is_empty() {
                return;
            }
            self.writer.write(batch).await;
        }
    }

    /// Everything that is queued, at least one event; none when the queue is closed and empty. A transaction costs much
    /// and an event in it little, so where some come it is worth a moment to have them in one.
    async fn next_batch(&self) -> (Vec<Ticket>, Writes<'_>) {
        let mut batch = Vec::new();
        let mut waiting = self.waiting.lock().await;
        let Waiting { tickets, taken, largest } = &mut *waiting;
        tokio::select! {
            biased;
            _ = tickets.recv_many(&mut batch, self.rows_max) => {}
            () = self.stop.cancelled() => {
                tickets.close();
                tickets.recv_many(&mut batch, self.rows_max).await;
            }
        }
        if *taken >= SOME && !batch.is_empty() {
            self.gather(batch.len(), tickets, *largest).await;
            let room = self.rows_max.saturating_sub(batch.len());
            if room > 0 && !tickets.is_empty() {
                tickets.recv_many(&mut batch, room).await;
            }
        }
        *taken = batch.len();
        *largest = batch.len().max(*largest * 3 / 4);
        (batch, Writes::begin(&self.gate))
    }

    /// Waits until what was taken and what is queued are worth a transaction.
    async fn gather(&self, taken: usize, tickets: &mpsc::Receiver<Ticket>, largest: usize) {
        let begun = Instant::now();
        loop {
            let waited = begun.elapsed();
            let worth = if self.gate.somebody_writes() { WORTH_A_LANE } else { 0 };
            let (enough, until) = if waited < GATHER {
                (worth.max(largest).max(ALL_CAME), GATHER)
            } else {
                (worth, GATHER_MAX)
            };
            let missing = enough.min(ENOUGH).min(self.rows_max).saturating_sub(taken);
            // Said before it is looked, so that whoever comes in between is seen or says so.
            self.gate.wait_for(missing);
            if tickets.len() >= missing || waited >= GATHER_MAX || tickets.is_closed() {
                self.gate.wait_for(usize::MAX);
                return;
            }
            // Whether the time is over is seen above.
            let _ = timeout_at(begun + until, self.gate.look.notified()).await;
        }
    }
}

/// Where the lane that gathers waits, until enough events are queued or another lane has written.
pub(crate) struct Gate {
    /// How many events are to be queued until the lane looks; `usize::MAX` where none waits, or it was woken.
    missing: AtomicUsize,
    look: Notify,
    /// How many lanes write.
    writing: AtomicUsize,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { missing: usize::MAX.into(), look: Notify::new(), writing: 0.into() }
    }

    /// Tells the lane that so many events are queued.
    pub(crate) fn queued(&self, events: usize) {
        if events >= self.missing.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        // Once is enough.
        if self.missing.swap(usize::MAX, Ordering::SeqCst) != usize::MAX {
            self.look.notify_one();
        }
    }

    fn wait_for(&self, missing: usize) {
        self.missing.store(missing, Ordering::SeqCst);
    }

    fn somebody_writes(&self) -> bool {
        self.writing.load(Ordering::SeqCst) > 0
    }
}

/// A lane that writes, counted until this is dropped, however that comes about.
struct Writes<'a>(&'a Gate);

impl<'a> Writes<'a> {
    fn begin(gate: &'a Gate) -> Self {
        gate.writing.fetch_add(1, Ordering::SeqCst);
        Self(gate)
    }
}

impl Drop for Writes<'_> {
    fn drop(&mut self) {
        self.0.writing.fetch_sub(1, Ordering::SeqCst);
        self.0.wake();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_lane_that_gathers_is_woken_once_when_enough_are_queued_or_another_has_written() {
        let gate = Gate::new();
        let is_woken = || gate.look.notified().now_or_never().is_some();
        gate.queued(1000);
        assert!(!is_woken(), "nobody gathers");
        gate.wait_for(3);
        gate.queued(2);
        assert!(!is_woken());
        gate.queued(3);
        gate.queued(4);
        assert_eq!((is_woken(), is_woken()), (true, false));
        gate.wait_for(3);
        let writes = Writes::begin(&gate);
        assert!(gate.somebody_writes() && !is_woken());
        drop(writes);
        assert!(!gate.somebody_writes() && is_woken());
    }
}
