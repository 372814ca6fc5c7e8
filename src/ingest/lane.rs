//! Takes what is queued and has it written.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::writer::{Ticket, Writer};

/// How long to wait for more events where many come: those who were just answered are about to send the next.
const GATHER: Duration = Duration::from_millis(1);
/// How many events the batch before had, where many come.
const MANY: usize = 8;

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
    /// Cancelled when no more events will come; what is queued is written all the same.
    pub(super) stop: CancellationToken,
    pub(super) rows_max: usize,
    pub(super) writer: Arc<Writer>,
}

impl Lane {
    pub(super) async fn run(self) {
        loop {
            let batch = self.next_batch().await;
            if batch.is_empty() {
                return;
            }
            self.writer.write(batch).await;
        }
    }

    /// Everything that is queued, at least one event; none when the queue is closed and empty. A transaction costs much
    /// and an event in it little, so where many come it is worth a moment to have them in one.
    async fn next_batch(&self) -> Vec<Ticket> {
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
            sleep(GATHER).await;
            let room = self.rows_max.saturating_sub(batch.len());
            if room > 0 && !tickets.is_empty() {
                tickets.recv_many(&mut batch, room).await;
            }
        }
        waiting.taken = batch.len();
        batch
    }
}
