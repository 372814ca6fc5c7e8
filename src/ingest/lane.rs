//! Takes what is queued and has it written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::writer::{Ticket, Writer};

/// How many events the batch before had, where more are waited for: else they come so seldom that none would.
const SOME: usize = 2;
/// How long to wait until it is looked again whether a batch is to be written.
const LOOK: Duration = Duration::from_millis(1);
/// For how many [`LOOK`]s more events are waited for, whatever else.
const LOOKS: usize = 3;
/// From how many events on they need not wait for more where as many came as in the largest of the last batches: all who send
/// may wait for their answers. Fewer would stay few if they did not wait.
const ALL_CAME: usize = 8;
/// How many events need not wait for more, whatever came before: beginning and committing a transaction costs little beside so
/// many.
const ENOUGH: usize = 48;
/// How many events are worth a transaction of their own while another lane writes: beginning and committing one costs as much
/// as so many events in it.
const WORTH_A_LANE: usize = 24;
/// For how many [`LOOK`]s fewer wait for the other lane. Then it is slow.
const LOOKS_MAX: usize = 8;

/// Events that wait to be written, and how many were taken of late.
pub(super) struct Waiting {
    tickets: mpsc::Receiver<Ticket>,
    /// How many were in the last batch.
    taken: usize,
    /// How many were in the largest of the last batches, of which each counts a quarter less than the one after it.
    largest: usize,
}

impl Waiting {
    pub(super) fn new(tickets: mpsc::Receiver<Ticket>) -> Self {
        Self { tickets, taken: 0, largest: 0 }
    }
}

#[derive(Clone)]
pub(super) struct Lane {
    /// Shared by all lanes: the one that holds the lock waits for events, the others write or wait for the lock.
    pub(super) waiting: Arc<Mutex<Waiting>>,
    /// How many lanes write. Shared too.
    pub(super) writing: Arc<AtomicUsize>,
    /// Cancelled when no more events will come; what is queued is written all the same.
    pub(super) stop: CancellationToken,
    pub(super) rows_max: usize,
    pub(super) writer: Arc<Writer>,
}

impl Lane {
    pub(super) async fn run(self) {
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
        (batch, Writes::begin(&self.writing))
    }

    /// Waits until what was taken and what is queued are worth a transaction.
    async fn gather(&self, taken: usize, tickets: &mpsc::Receiver<Ticket>, largest: usize) {
        let enough = ENOUGH.min(self.rows_max);
        for look in 0..LOOKS_MAX {
            let events = taken + tickets.len();
            let others_write = self.writing.load(Ordering::Relaxed) > 0;
            let all_came = events >= largest.max(ALL_CAME);
            let may_begin =
                (look >= LOOKS || all_came) && (events >= WORTH_A_LANE || !others_write);
            if events >= enough || may_begin || tickets.is_closed() {
                return;
            }
            sleep(LOOK).await;
        }
    }
}

/// A lane that writes, counted until this is dropped, however that comes about.
struct Writes<'a>(&'a AtomicUsize);

impl<'a> Writes<'a> {
    fn begin(lanes: &'a AtomicUsize) -> Self {
        lanes.fetch_add(1, Ordering::Relaxed);
        Self(lanes)
    }
}

impl Drop for Writes<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
