//! Where acks come back to: one subscription for a connection, with a token for each message.
//!
//! async-nats has such a thing for its requests, but keeps a request that is never answered for as long as the connection lives: a
//! stream with `no_ack` or a server that is away would let it grow. Here an entry goes with whoever waits for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

type Waiting = HashMap<u64, oneshot::Sender<Message>>;

/// Where acks come back to.
pub(crate) struct Inbox {
    prefix: String,
    next: AtomicU64,
    waiting: Arc<Mutex<Waiting>>,
    /// It ends with this: its subscription holds the connection open.
    _reader: AbortOnDropHandle<()>,
}

impl Inbox {
    /// The subject that has to be subscribed to.
    pub(crate) fn wildcard(prefix: &str) -> String {
        format!("{prefix}.*")
    }

    /// Reads what the subscription to [`Inbox::wildcard`] brings.
    pub(crate) fn new(prefix: String, mut acks: Subscriber) -> Self {
        let waiting: Arc<Mutex<Waiting>> = Arc::default();
        let (shared, cut) = (waiting.clone(), prefix.len() + 1);
        let reader = TaskTracker::new().spawn(async move {
            while let Some(message) = acks.next().await {
                let token = message.subject.as_str().get(cut..).and_then(|text| text.parse().ok());
                let waits = token.and_then(|token| lock(&shared).remove(&token));
                if let Some(sender) = waits {
                    // Whoever waited may have given up just now.
                    let _ = sender.send(message);
                }
            }
            // Nobody is left waiting for what cannot come.
            lock(&shared).clear();
        });
        let reader = AbortOnDropHandle::new(reader);
        Self { prefix, next: AtomicU64::new(0), waiting, _reader: reader }
    }

    /// A place for one ack. It is given up when it is dropped.
    pub(crate) fn expect(&self) -> Expected {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(token, sender);
        let subject = format!("{}.{token}", self.prefix);
        Expected { subject, token, receiver, waiting: self.waiting.clone() }
    }
}

/// A place for one ack.
pub(crate) struct Expected {
    /// The subject to reply to.
    pub(crate) subject: String,
    token: u64,
    receiver: oneshot::Receiver<Message>,
    waiting: Arc<Mutex<Waiting>>,
}

impl Expected {
    /// Waits for it; `None` where it cannot come any more.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        lock(&self.waiting).remove(&self.token);
    }
}

fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
