//! The tasks that take queued events and write them in batches. Under load they linger a little for larger batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::ingest::batch_writer::{BatchWriter, Ticket};

/// The size of the last batch from which on a writer lingers: with smaller ones, no more events would come in time.
const LINGER_FROM: usize = 2;
/// How long a writer lingers for more events.
const LINGER: Duration = Duration::from_millis(3);
/// From this size on, a batch as large as the largest of the last ones is complete: all senders may be waiting for their
/// answers. Smaller batches would stay small without lingering.
const COMPLETE_BATCH_MIN: usize = 8;
/// A batch of this size never waits for more: the cost of its transaction is small beside that of its events.
const BATCH_ENOUGH: usize = 128;
/// The least size of a batch that is written while another writer writes. A transaction costs as much as a third of so many
/// events, and two that write the same rooms wait for each other.
const SECOND_WRITER_MIN: usize = 64;
/// How long a smaller batch waits for the other writer; beyond that, the other one is slow.
const LINGER_MAX: Duration = Duration::from_millis(8);

/// The queue, and the sizes of the last batches taken from it.
pub(crate) struct EventQueue {
    tickets: mpsc::Receiver<Ticket>,
    /// How many were in the last batch.
    taken: usize,
    /// How many were in the largest of the last batches, of which each counts a quarter less than the one after it.
    largest: usize,
}

impl EventQueue {
    pub(crate) fn new(tickets: mpsc::Receiver<Ticket>) -> Self {
        Self { tickets, taken: 0, largest: 0 }
    }
}

#[derive(Clone)]
pub(crate) struct PoolWorker {
    /// Shared by all workers: the one that holds the lock waits for events, the others write or wait for the lock.
    pub(crate) waiting: Arc<Mutex<EventQueue>>,
    /// Shared by all workers.
    pub(crate) trigger: Arc<BatchTrigger>,
    /// Cancelled when no more events will come; what is queued is written all the same.
    pub(crate) stop: CancellationToken,
    pub(crate) rows_max: usize,
    pub(crate) writer: Arc<BatchWriter>,
}

impl PoolWorker {
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
    /// and an event in it little, so under load it is worth lingering.
    async fn next_batch(&self) -> (Vec<Ticket>, ActiveWrite<'_>) {
        let mut batch = Vec::new();
        let mut waiting = self.waiting.lock().await;
        let EventQueue { tickets, taken, largest } = &mut *waiting;
        tokio::select! {
            biased;
            _ = tickets.recv_many(&mut batch, self.rows_max) => {}
            () = self.stop.cancelled() => {
                tickets.close();
                tickets.recv_many(&mut batch, self.rows_max).await;
            }
        }
        if *taken >= LINGER_FROM && !batch.is_empty() {
            self.linger(batch.len(), tickets, *largest).await;
            let room = self.rows_max.saturating_sub(batch.len());
            if room > 0 && !tickets.is_empty() {
                tickets.recv_many(&mut batch, room).await;
            }
        }
        *taken = batch.len();
        *largest = batch.len().max(*largest * 3 / 4);
        (batch, ActiveWrite::begin(&self.trigger))
    }

    /// Waits until what was taken and what is queued are worth a transaction.
    async fn linger(&self, taken: usize, tickets: &mpsc::Receiver<Ticket>, largest: usize) {
        let begun = Instant::now();
        loop {
            let waited = begun.elapsed();
            let worth = if self.trigger.is_writing() { SECOND_WRITER_MIN } else { 0 };
            let (enough, until) = if waited < LINGER {
                (worth.max(largest).max(COMPLETE_BATCH_MIN), LINGER)
            } else {
                (worth, LINGER_MAX)
            };
            let missing = enough.min(BATCH_ENOUGH).min(self.rows_max).saturating_sub(taken);
            // Set before the queue is looked at, so that an event in between is either seen or wakes this.
            self.trigger.wait_for(missing);
            if tickets.len() >= missing || waited >= LINGER_MAX || tickets.is_closed() {
                self.trigger.wait_for(usize::MAX);
                return;
            }
            // The loop checks whether the time is over.
            let _ = timeout_at(begun + until, self.trigger.look.notified()).await;
        }
    }
}

/// Wakes the worker that lingers, once enough events are queued or another worker has written.
pub(crate) struct BatchTrigger {
    /// How many queued events wake the worker; `usize::MAX` where none lingers, or it was woken.
    missing: AtomicUsize,
    look: Notify,
    /// How many workers are writing.
    writing: AtomicUsize,
}

impl BatchTrigger {
    pub(crate) fn new() -> Self {
        Self { missing: usize::MAX.into(), look: Notify::new(), writing: 0.into() }
    }

    /// Notes that so many events are queued.
    pub(crate) fn queued(&self, events: usize) {
        if events >= self.missing.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        if self.missing.swap(usize::MAX, Ordering::SeqCst) != usize::MAX {
            self.look.notify_one();
        }
    }

    fn wait_for(&self, missing: usize) {
        self.missing.store(missing, Ordering::SeqCst);
    }

    fn is_writing(&self) -> bool {
        self.writing.load(Ordering::SeqCst) > 0
    }
}

/// A write in progress, counted until this is dropped.
struct ActiveWrite<'a>(&'a BatchTrigger);

impl<'a> ActiveWrite<'a> {
    fn begin(trigger: &'a BatchTrigger) -> Self {
        trigger.writing.fetch_add(1, Ordering::SeqCst);
        Self(trigger)
    }
}

impl Drop for ActiveWrite<'_> {
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
    fn a_lingering_worker_is_woken_once_by_a_full_batch_or_a_finished_write() {
        let trigger = BatchTrigger::new();
        let is_woken = || trigger.look.notified().now_or_never().is_some();
        trigger.queued(1000);
        assert!(!is_woken(), "no worker lingers");
        trigger.wait_for(3);
        trigger.queued(2);
        assert!(!is_woken());
        trigger.queued(3);
        trigger.queued(4);
        assert_eq!((is_woken(), is_woken()), (true, false));
        trigger.wait_for(3);
        let writes = ActiveWrite::begin(&trigger);
        assert!(trigger.is_writing() && !is_woken());
        drop(writes);
        assert!(!trigger.is_writing() && is_woken());
    }
}
