//! Puts events into the spool, many with one commit, and looks after its file.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::callback::Event;
use crate::clock::Clock;
use crate::store::{Size, Spool, SpoolError};
use crate::telemetry::Metrics;

/// How many events one commit of the spool takes.
const BATCH_ROWS_MAX: usize = 500;

/// An event on its way to the spool, and who waits for it.
pub(super) struct SpoolTicket {
    pub(super) event: Arc<Event>,
    /// Gets why the spool did not take it, if so.
    pub(super) answer: oneshot::Sender<Result<(), Arc<str>>>,
}

/// The spool and what is known of it.
pub(super) struct Keeper {
    pub(super) spool: Spool,
    /// Woken when something was put into it.
    pub(super) filled: Notify,
    /// Why it took no event the last time one came; `None` while it does.
    trouble: Mutex<Option<Arc<str>>>,
    /// Where a damaged file was moved to, since the start.
    aside: Mutex<Option<PathBuf>>,
    size: Mutex<Size>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Keeper {
    pub(super) fn new(spool: Spool, clock: &Clock, metrics: &Arc<Metrics>) -> Self {
        Self {
            spool,
            filled: Notify::new(),
            trouble: Mutex::default(),
            aside: Mutex::default(),
            size: Mutex::default(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        }
    }

    pub(super) fn trouble(&self) -> Option<Arc<str>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that it can be written again.
    pub(super) fn recovered(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn aside(&self) -> Option<PathBuf> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What waits, as of the last change.
    pub(super) fn size(&self) -> Size {
        *self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the file again, for those who watch it.
    pub(super) async fn measure(&self) {
        let generation = self.spool.generation().await;
        match self.spool.size().await {
            Ok(size) => {
                #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
                {
                    self.metrics.spool_events.set(size.events as f64);
                    self.metrics.spool_bytes.set(size.bytes as f64);
                }
                *self.size.lock().unwrap_or_else(PoisonError::into_inner) = size;
            }
            Err(error) => self.failed(generation, &error).await,
        }
    }

    /// Notes a failure. A file that is damaged is moved aside, and a new one takes its place.
    pub(super) async fn failed(&self, generation: u64, error: &SpoolError) {
        self.metrics.spool_errors.increment(1);
        if !matches!(error, SpoolError::Damaged(_)) {
            warn!(%error, "the spool did not do what it should");
            return;
        }
        match self.spool.replace(generation, self.clock.now()).await {
            Ok(Some(aside)) => self.salvage(aside).await,
            Ok(None) => {}
            Err(error) => error!(%error, "the spool is damaged and cannot be replaced"),
        }
    }

    /// Says that a file was moved aside, and takes over what can be read of it.
    pub(super) async fn salvage(&self, aside: PathBuf) {
        self.metrics.spool_damaged.increment(1);
        let path = aside.display().to_string();
        error!(
            path,
            "the spool was damaged and is moved aside; a new one takes its place. What can be read of the old one is \
             taken over, what cannot is only there: keep it"
        );
        *self.aside.lock().unwrap_or_else(PoisonError::into_inner) = Some(aside.clone());
        let salvaged = self.spool.salvage(&aside).await;
        info!(path, salvaged, "took over what could be read of the damaged spool");
        self.filled.notify_one();
    }

    /// Runs until the last sender is gone.
    pub(super) async fn run(self: Arc<Self>, mut queue: mpsc::Receiver<SpoolTicket>) {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, BATCH_ROWS_MAX).await > 0 {
            batch.retain(|ticket| !ticket.answer.is_closed());
            self.put(std::mem::take(&mut batch)).await;
            self.measure().await;
            self.filled.notify_one();
        }
    }

    /// Puts a batch into the spool; of one that does not fit, what does.
    async fn put(&self, batch: Vec<SpoolTicket>) {
        let mut groups = vec![batch];
        while let Some(mut group) = groups.pop() {
            if group.is_empty() {
                continue;
            }
            let result = self.append(&group).await;
            if matches!(result, Err(SpoolError::Full)) && group.len() > 1 {
                let rest = group.split_off(group.len() / 2);
                groups.extend([rest, group]);
                continue;
            }
            let result = result.map_err(|error| Arc::from(error.to_string()));
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
                result.as_ref().err().cloned();
            for ticket in group {
                // Nobody may be waiting: then it is in the error log as well.
                let _ = ticket.answer.send(result.clone());
            }
        }
    }

    /// Appends, and does so again on a new file where the old one turned out to be damaged.
    async fn append(&self, group: &[SpoolTicket]) -> Result<(), SpoolError> {
        let events: Vec<&Event> = group.iter().map(|ticket| ticket.event.as_ref()).collect();
        let generation = self.spool.generation().await;
        let Err(error) = self.spool.append(&events).await else {
            return Ok(());
        };
        if matches!(error, SpoolError::Full) {
            return Err(error);
        }
        self.failed(generation, &error).await;
        if self.spool.generation().await == generation {
            return Err(error);
        }
        self.spool.append(&events).await
    }
}

/// Waits until something is put into the spool, or the server stops.
pub(super) async fn filled_or(keeper: &Keeper, stop: &CancellationToken) {
    tokio::select! {
        () = keeper.filled.notified() => {}
        () = stop.cancelled() => {}
    }
}
