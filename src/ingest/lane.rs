//! Takes what is queued and has it written.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::writer::{Ticket, Writer};

/// How long to wait for more events where many come: those who were just answered are about to send the next.
const GATHER: Duration = Duration::from_millis(1);
/// How many events the batch before had, where many come.
const MANY: usize = 8;
/// How many events are worth a transaction of their own while another lane writes: beginning and committing one costs as much
/// as so many events in it.
const WORTH_A_LANE: usize = 24;
/// How often to look, a [`GATHER`] apart, whether the other lane is done or so many wait. Then it is slow, and fewer do.
const LOOKS: usize = 8;

/// Events that wait to be written, and how many were taken last.
pub(super) struct Waiting {
    tickets: mpsc::Receiver<Ticket>,
    taken: usize,
}

impl Waiting {
    pub(super) fn new(tickets: mpsc::Receiver<Ticket>) -> Self {
        Self { tickets, taken: 0 }
    }
}

#[derive(Clone)]
pub(super) struct Lane {
    /// Shared by all lanes: the one that holds the lock waits for events, the others write or wait for the lock.
    pub(super) waiting: Arc<Mutex<Waiting>>,
    /// How many lanes write. Shared too.
    pub(super) writing: Arc<watch::Sender<usize>>,
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
    /// and an event in it little, so where many come it is worth a moment to have them in one.
    async fn next_batch(&self) -> (Vec<Ticket>, Writes<'_>) {
        let mut batch = Vec::new();
        let mut waiting = self.waiting.lock().await;
        let many_come = waiting.taken >= MANY;
        let tickets = &mut waiting.tickets;
        tokio::select! {
            biased;
            _ = tickets.recv_many(&mut batch, self.rows_max) => {}
            () = self.stop.cancelled() => {
                tickets.close();
                tickets.recv_many(&mut batch, self.rows_max).await;
            }
        }
        if many_come && !batch.is_empty() {
            self.wait_for_others(batch.len(), tickets).await;
            sleep(GATHER).await;
            let room = self.rows_max.saturating_sub(batch.len());
            if room > 0 && !tickets.is_empty() {
                tickets.recv_many(&mut batch, room).await;
            }
        }
        waiting.taken = batch.len();
        (batch, Writes::begin(&self.writing))
    }

    /// Until no other lane writes, or enough events wait for one more.
    async fn wait_for_others(&self, taken: usize, tickets: &mpsc::Receiver<Ticket>) {
        let mut writing = self.writing.subscribe();
        for _ in 0..LOOKS {
            if taken + tickets.len() >= WORTH_A_LANE {
                return;
            }
            // It cannot fail: the sender is ours.
            if let Ok(_none) = timeout(GATHER, writing.wait_for(|lanes| *lanes == 0)).await {
                return;
            }
        }
    }
}

/// A lane that writes, counted until this is dropped, however that comes about.
struct Writes<'a>(&'a watch::Sender<usize>);

impl<'a> Writes<'a> {
    fn begin(lanes: &'a watch::Sender<usize>) -> Self {
        lanes.send_modify(|lanes| *lanes += 1);
        Self(lanes)
    }
}

impl Drop for Writes<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|lanes| *lanes -= 1);
    }
}
