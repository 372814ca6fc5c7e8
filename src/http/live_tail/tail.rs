//! The live tail: one poller reads new events of the feed for all subscribers, and only while there is one. The latest
//! events are buffered; a subscriber that resumes further back reads the store itself until it is there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::live_tail::bounds::{LISTENERS_MAX, POLL};
use crate::http::live_tail::buffer::Buffer;
use crate::http::ops::read_limiter::ReadLimiter;
use crate::http::problem::Problem;
use crate::store::{FeedLimit, FeedRead, FeedSpan, Position, StoredEvent};

/// Time between two polls.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Polls the store for new events.
pub(crate) struct Tail {
    reading: Arc<ReadLimiter>,
    stop: CancellationToken,
    tasks: TaskTracker,
    kept: Mutex<Kept>,
    /// Held while polling.
    looking: tokio::sync::Mutex<()>,
    /// Which buffer, and its end.
    news: watch::Sender<(u64, Position)>,
}

#[derive(Default)]
struct Kept {
    listeners: usize,
    /// Whether the poller runs.
    at_it: bool,
    /// Counts the buffers: another one does not go on where the last one ended.
    number: u64,
    buffer: Buffer,
}

/// What a subscriber finds after its position.
pub(super) enum Next {
    /// An event.
    Event(Position, Arc<StoredEvent>),
    /// No event up to this position, and none later yet.
    End(Position),
    /// The buffer does not know: the store does.
    Behind,
}

impl Tail {
    pub(crate) fn new(reading: Arc<ReadLimiter>, stop: CancellationToken) -> Self {
        let (news, _) = watch::channel((0, Position::default()));
        Self {
            reading,
            stop,
            tasks: TaskTracker::new(),
            kept: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            news,
        }
    }

    /// A poisoned lock only means that another subscriber panicked between two complete changes.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat: while it is held, new events are looked for.
    pub(crate) async fn join(self: &Arc<Self>) -> Result<Seat, Problem> {
        let seat = Seat::take(self)?;
        self.begin().await?;
        Ok(seat)
    }

    /// Starts the poller unless it runs. It stops when the last subscriber is gone.
    async fn begin(self: &Arc<Self>) -> Result<(), Problem> {
        let looking = self.looking.lock().await;
        if self.kept().at_it {
            return Ok(());
        }
        let span = self.span().await?;
        self.restart(span.end);
        self.kept().at_it = true;
        drop(looking);
        let (tail, stop) = (self.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let work = tail.keep_looking();
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(())
    }

    async fn keep_looking(&self) {
        // Also after a panic the next subscriber restarts the poller.
        let _end = scopeguard(|| self.kept().at_it = false);
        loop {
            sleep(POLL_INTERVAL).await;
            let _looking = self.looking.lock().await;
            {
                let mut kept = self.kept();
                if kept.listeners == 0 {
                    kept.at_it = false;
                    return;
                }
            }
            if let Err(problem) = self.look().await {
                tracing::debug!(?problem, "new events were not looked for");
            }
        }
    }

    /// Reads all that is new.
    async fn look(&self) -> Result<(), Problem> {
        loop {
            let (_, end) = self.end();
            match self.read(end, POLL).await? {
                FeedRead::Page(page) => {
                    let is_end = page.is_end;
                    self.change(|kept| kept.buffer.add(page));
                    if is_end {
                        return Ok(());
                    }
                }
                // The store is another one, such as an older backup.
                FeedRead::Outside(span) => {
                    self.restart(span.end);
                    return Ok(());
                }
            }
        }
    }

    /// Begins a new buffer: every subscriber then asks the store what became of its position.
    fn restart(&self, end: Position) {
        self.change(|kept| {
            kept.number += 1;
            kept.buffer = Buffer::after(end);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        let mut kept = self.kept();
        change(&mut kept);
        let news = (kept.number, kept.buffer.end());
        drop(kept);
        self.news.send_replace(news);
    }

    async fn span(&self) -> Result<FeedSpan, Problem> {
        let store = self.reading.store()?;
        self.reading.ask(store.feed_span()).await
    }

    pub(super) async fn read(
        &self,
        after: Position,
        limit: FeedLimit,
    ) -> Result<FeedRead, Problem> {
        let store = self.reading.store()?;
        let read = self.reading.ask(store.events_after(after, limit)).await?;
        if let FeedRead::Page(page) = &read {
            page.log_unreadable();
        }
        Ok(read)
    }

    /// The number of the buffer, and its end.
    pub(crate) fn end(&self) -> (u64, Position) {
        let kept = self.kept();
        (kept.number, kept.buffer.end())
    }

    /// What is after a position of that buffer.
    pub(super) fn next(&self, buffer: Option<u64>, after: Position) -> Next {
        let kept = self.kept();
        if buffer != Some(kept.number) || after < kept.buffer.start() {
            return Next::Behind;
        }
        match kept.buffer.next(after) {
            Some((position, event)) => Next::Event(*position, event.clone()),
            None => Next::End(kept.buffer.end().max(after)),
        }
    }

    /// Waits until the buffer has more, or is another one.
    pub(crate) async fn more(&self, buffer: Option<u64>, after: Position) {
        let mut news = self.news.subscribe();
        // The sender lives as long as the tail, which the subscription holds.
        let _ = news.wait_for(|(number, end)| buffer != Some(*number) || *end > after).await;
    }
}

/// The place of a subscriber, of which there are [`LISTENERS_MAX`].
pub(crate) struct Seat(Arc<Tail>);

impl Seat {
    fn take(tail: &Arc<Tail>) -> Result<Self, Problem> {
        let mut kept = tail.kept();
        if kept.listeners >= LISTENERS_MAX {
            return Err(Problem::busy("too many subscribers"));
        }
        kept.listeners += 1;
        Ok(Self(tail.clone()))
    }
}

impl std::ops::Deref for Seat {
    type Target = Tail;

    fn deref(&self) -> &Tail {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.kept().listeners -= 1;
    }
}

/// Runs a closure when dropped.
fn scopeguard<F: FnMut()>(end: F) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(end)
}
