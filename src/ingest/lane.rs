//! Takes what is queued and has it written.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::writer::{Ticket, Writer};

#[derive(Clone)]
pub(super) struct Lane {
    /// Shared by all lanes: the one that holds the lock waits for events, the others write or wait for the lock.
    pub(super) queue: Arc<Mutex<mpsc::Receiver<Ticket>>>,
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

    /// Everything that is queued, at least one event; none when the queue is closed and empty.
    async fn next_batch(&self) -> Vec<Ticket> {
        let mut batch = Vec::new();
        let mut queue = self.queue.lock().await;
        tokio::select! {
            biased;
            _ = queue.recv_many(&mut batch, self.rows_max) => {}
            () = self.stop.cancelled() => {
                queue.close();
                queue.recv_many(&mut batch, self.rows_max).await;
            }
        }
        batch
    }
}
