//! The workers that write queued events in batches. Under load they linger briefly for larger batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::ingest::batch_writer::{BatchWriter, Ticket};

/// Minimum size of the last batch from which on a worker lingers: after smaller ones no more events would arrive in
/// time.
const LINGER_FROM: usize = 2;
/// How long a worker lingers.
const LINGER: Duration = Duration::from_millis(3);
/// From this size on, a batch as large as the largest recent one is complete: all senders may be waiting for their
/// answers. Smaller batches would stay small without lingering.
const COMPLETE_BATCH_MIN: usize = 8;
/// A batch of this size does not linger: the cost of a transaction is small compared to that of its events.
const BATCH_ENOUGH: usize = 128;
/// Minimum size of a batch that is written concurrently with another one. A transaction costs as much as a third of
/// this many events, and two that write the same rooms wait for each other.
const SECOND_WRITER_MIN: usize = 64;
/// How long a smaller batch waits for a running write; after that, the other one is slow.
const LINGER_MAX: Duration = Duration::from_millis(8);

/// The queue, and the sizes of the last batches taken from it.
pub(crate) struct EventQueue {
    tickets: mpsc::Receiver<Ticket>,
    /// The size of the last batch.
    taken: usize,
    /// The largest recent batch size; it decays by a quarter with each batch.
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
    /// Cancelled when no more events will arrive; queued ones are still written.
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

    /// All queued events, at least one; none when the queue is closed and empty. A transaction costs much and an
    /// event in it little, so under load lingering pays.
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

    /// Waits until the taken and queued events justify a transaction.
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
            // Set before the queue is checked, so that an event in between is either counted or wakes this worker.
            self.trigger.wait_for(missing);
            if tickets.len() >= missing || waited >= LINGER_MAX || tickets.is_closed() {
                self.trigger.wait_for(usize::MAX);
                return;
            }
            // The loop checks the time.
            let _ = timeout_at(begun + until, self.trigger.look.notified()).await;
        }
    }
}

/// Wakes a lingering worker, once enough events are queued or another worker has finished its write.
pub(crate) struct BatchTrigger {
    /// Number of queued events that wakes the worker; `usize::MAX` where none lingers or it was woken.
    missing: AtomicUsize,
    look: Notify,
    /// Number of running writes.
    writing: AtomicUsize,
}

impl BatchTrigger {
    pub(crate) fn new() -> Self {
        Self { missing: usize::MAX.into(), look: Notify::new(), writing: 0.into() }
    }

    /// Reports the number of queued events.
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
    fn a_full_batch_or_a_finished_write_wakes_a_worker_once() {
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
