//! The live tail: one poller reads new events from the store for all subscribers, and only while there is one. The latest
//! events are buffered, so that a subscriber that reconnects resumes where it was.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::clock::Clock;
use crate::http::live_tail::arrival::Arrival;
use crate::http::live_tail::bounds::{
    BACK_FAR, LISTENERS_MAX, PAGE, PAGES_MAX, PAUSE_MAX, RECENT_BYTES_MAX, earlier,
};
use crate::http::live_tail::missed::Missed;
use crate::http::ops::read_limiter::ReadLimiter;
use crate::http::problem::Problem;
use crate::store::{EventFilter, Order, StoredEvent};
use protocol::UnixMillis;
use protocol::event::Payload;

/// Time between two polls.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// A row becomes visible some time after its `received_at`, so each poll reads back beyond the previous one: usually
/// this far, and periodically further, for a delayed writer.
const BACK: Duration = Duration::from_secs(3);
const FAR_EVERY: u64 = 20;
/// Maximum number of buffered events, for slow or reconnecting subscribers.
const RECENT_MAX: usize = 5000;
/// Polls the store for new events.
pub(crate) struct Tail {
    reading: Arc<ReadLimiter>,
    clock: Clock,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Distinguishes the numbers of this server from those of another.
    name: String,
    kept: Mutex<Buffer>,
    /// Held while polling.
    looking: tokio::sync::Mutex<()>,
    /// The number of the next event.
    next: watch::Sender<u64>,
}

#[derive(Default)]
struct Buffer {
    listeners: usize,
    /// Whether the poller runs.
    at_it: bool,
    looks: u64,
    looked_at: Option<UnixMillis>,
    /// The last ones, each with its number; the numbers are without gaps.
    recent: VecDeque<(u64, Arc<StoredEvent>)>,
    bytes: usize,
    next: u64,
    /// The ids that the next poll can find again, with their arrival times.
    seen: HashMap<Uuid, UnixMillis>,
}

impl Buffer {
    fn add(&mut self, event: StoredEvent) {
        self.bytes += event.payload.as_bytes().len();
        self.recent.push_back((self.next, Arc::new(event)));
        self.next += 1;
        while self.recent.len() > RECENT_MAX || self.bytes > RECENT_BYTES_MAX {
            let Some((_, oldest)) = self.recent.pop_front() else { break };
            self.bytes -= oldest.payload.as_bytes().len();
        }
    }

    /// Makes every subscriber, also one that reconnects, report missed events: its next number no longer exists.
    fn skip(&mut self) {
        self.recent.clear();
        self.bytes = 0;
        self.next += 1;
    }

    /// The number of the oldest buffered event.
    fn first(&self) -> u64 {
        self.recent.front().map_or(self.next, |(number, _)| *number)
    }
}

impl Tail {
    pub(crate) fn new(reading: Arc<ReadLimiter>, clock: Clock, stop: CancellationToken) -> Self {
        let name = Uuid::new_v4().simple().to_string()[..8].to_owned();
        let (next, _) = watch::channel(0);
        Self {
            reading,
            clock,
            stop,
            tasks: TaskTracker::new(),
            name,
            kept: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            next,
        }
    }

    /// A poisoned lock only means that another subscriber panicked between two complete changes.
    fn kept(&self) -> MutexGuard<'_, Buffer> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes from now on, or resumes from a position: see [`Subscription::place`]. Events that are stored
    /// already count as old unless it resumes.
    pub(crate) async fn listen(
        self: &Arc<Self>,
        behind: Option<&str>,
        filter: EventFilter,
        with_payload: bool,
    ) -> Result<Subscription, Problem> {
        let place = behind.map(Position::parse).transpose()?;
        {
            let mut kept = self.kept();
            if kept.listeners >= LISTENERS_MAX {
                return Err(Problem::busy("too many subscribers"));
            }
            kept.listeners += 1;
        }
        let mut listener = Subscription {
            tail: self.clone(),
            filter,
            next: 0,
            told: self.clock.now(),
            missed: None,
            with_payload,
            sent: HashSet::new(),
            behind: String::new(),
        };
        self.begin().await?;
        listener.next = self.kept().next;
        let Some(place) = place else { return Ok(listener) };
        listener.told = place.received_at.min(listener.told);
        match place.next {
            Some(next) if place.name == self.name => listener.next = next,
            _ => {
                behind.unwrap_or_default().clone_into(&mut listener.behind);
                listener.missed = Some(Missed::since(listener.told, self.clock.now()));
                listener.read_on().await?;
            }
        }
        Ok(listener)
    }

    /// Starts the poller unless it runs. It stops when the last subscriber is gone.
    async fn begin(self: &Arc<Self>) -> Result<(), Problem> {
        let looking = self.looking.lock().await;
        if self.kept().at_it {
            return Ok(());
        }
        self.look().await?;
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
                tracing::debug!(?problem, "events that arrive were not looked for");
            }
        }
    }

    /// Reads new events. After a pause they only mark what is old.
    async fn look(&self) -> Result<(), Problem> {
        let now = self.clock.now();
        let (since, goes_on) = {
            let mut kept = self.kept();
            kept.looks += 1;
            let goes_on = kept.looked_at.filter(|looked| now.since(*looked) <= PAUSE_MAX);
            let far = goes_on.is_none() || !kept.at_it || kept.looks.is_multiple_of(FAR_EVERY);
            let back = if far { BACK_FAR } else { BACK };
            (earlier(goes_on.unwrap_or(now).min(now), back), goes_on.is_some())
        };
        let mut order = Order::Arrived { after: None };
        let mut whole = false;
        for _ in 0..PAGES_MAX {
            let filter = EventFilter {
                received_since: Some(since),
                order,
                limit: PAGE,
                ..EventFilter::default()
            };
            let store = self.reading.store()?;
            let page = self.reading.ask(store.event_page(&filter)).await?;
            self.take(page.events, goes_on);
            whole = page.next.is_none();
            if whole {
                break;
            }
            order = Order::Arrived { after: page.next };
        }
        let mut kept = self.kept();
        if !whole {
            kept.skip();
        }
        kept.looked_at = Some(now);
        let forget = earlier(now, BACK_FAR + BACK);
        kept.seen.retain(|_, received_at| *received_at >= forget);
        Ok(())
    }

    fn take(&self, page: Vec<StoredEvent>, is_news: bool) {
        let mut kept = self.kept();
        if !is_news {
            kept.skip();
        }
        for event in page {
            if kept.seen.insert(event.id, event.received_at).is_none() && is_news {
                kept.add(event);
            }
        }
        let next = kept.next;
        drop(kept);
        self.next.send_replace(next);
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

/// A position to resume from: the server, the number of the next event there, and when the last one arrived.
struct Position {
    name: String,
    /// `None` where the subscriber was disconnected while catching up: it resumes by time.
    next: Option<u64>,
    received_at: UnixMillis,
}

/// Replaces the number of the next event in such a position.
const BY_TIME: &str = "t";

impl Position {
    fn parse(text: &str) -> Result<Self, Problem> {
        let read = || {
            let mut parts = text.split('-');
            let (name, next, received_at) = (parts.next()?, parts.next()?, parts.next()?);
            // Repeated on a line of its own.
            let name =
                Some(name).filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
            let next = if next == BY_TIME { None } else { Some(next.parse().ok()?) };
            let received_at = UnixMillis(received_at.parse().ok()?);
            parts.next().is_none().then(|| Self { name: name.to_owned(), next, received_at })
        };
        read().ok_or_else(|| {
            let hint = "pass the `id` of the last event unchanged, or omit it";
            Problem::parameter(
                "Last-Event-ID",
                "invalid `Last-Event-ID`: it is not from this stream",
                hint,
            )
        })
    }
}

/// A subscription to the live tail.
pub(crate) struct Subscription {
    tail: Arc<Tail>,
    /// Its filter.
    filter: EventFilter,
    /// The number of the next event.
    next: u64,
    /// The arrival of the last delivered event.
    told: UnixMillis,
    /// Missed events that are not delivered yet. They are read directly from the store.
    missed: Option<Missed>,
    with_payload: bool,
    /// The ids of events read directly, so that the tail does not repeat them.
    sent: HashSet<Uuid>,
    /// The position to resume from, until a later event is delivered.
    behind: String,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.tail.kept().listeners -= 1;
    }
}

impl Subscription {
    /// Reads more missed events once all read ones are delivered.
    pub(crate) async fn read_on(&mut self) -> Result<(), Problem> {
        while let Some(missed) = &mut self.missed
            && missed.ready.iter().all(|arrival| matches!(arrival, Arrival::Missed))
        {
            if missed.is_whole {
                if missed.ready.is_empty() {
                    self.missed = None;
                }
                return Ok(());
            }
            let look = EventFilter {
                received_since: Some(missed.since),
                order: Order::Arrived { after: missed.after },
                limit: PAGE.min(missed.rows_left.max(1)),
                ..EventFilter::default()
            };
            let store = self.tail.reading.store()?;
            let page = self.tail.reading.ask(store.event_page(&look)).await?;
            let (filter, sent, with_payload) = (&self.filter, &mut self.sent, self.with_payload);
            missed.take(page, |mut event| {
                if !filter.matches(&event) {
                    return None;
                }
                if !with_payload {
                    event.payload = Payload::Raw(Vec::new());
                }
                sent.insert(event.id);
                Some(event)
            });
        }
        Ok(())
    }

    /// Skips the missed events that could not be read.
    pub(crate) fn skip_missed(&mut self) {
        if let Some(missed) = &mut self.missed {
            missed.ready = vec![Arrival::Missed];
            missed.is_whole = true;
        }
    }

    /// The position to resume from, after the last delivered item.
    pub(crate) fn place(&self) -> String {
        let name = &self.tail.name;
        if self.missed.is_some() {
            // The number of the next event would skip events still to be delivered.
            return match self.behind.as_str() {
                "" => format!("{name}-{BY_TIME}-{}", self.told.0),
                behind => behind.to_owned(),
            };
        }
        let kept = self.tail.kept();
        // A subscriber without backlog has seen everything up to the last poll.
        let looked_at = kept.looked_at.filter(|_| self.next >= kept.next);
        let told = looked_at.map_or(self.told, |looked_at| looked_at.max(self.told));
        format!("{name}-{}-{}", self.next, told.0)
    }

    /// The next item; `None` if there is none yet.
    pub(crate) fn ready(&mut self) -> Option<Arrival> {
        if let Some(missed) = &mut self.missed {
            let arrival = missed.ready.pop()?;
            if missed.ready.is_empty() && missed.is_whole {
                self.missed = None;
            }
            if let Arrival::Event(event) = &arrival
                && event.received_at > self.told
            {
                self.told = event.received_at;
                self.behind.clear();
            }
            return Some(arrival);
        }
        loop {
            let kept = self.tail.kept();
            if self.next >= kept.next {
                return None;
            }
            if self.next < kept.first() {
                self.next = kept.first();
                return Some(Arrival::Missed);
            }
            // Numbers have no gaps from the first buffered event on.
            let place = usize::try_from(self.next - kept.first()).ok()?;
            let (number, event) = kept.recent.get(place)?.clone();
            drop(kept);
            self.next = number + 1;
            self.told = event.received_at;
            if !self.sent.remove(&event.id) && self.filter.matches(&event) {
                return Some(Arrival::Event(event));
            }
        }
    }

    /// Waits until there may be new events.
    pub(crate) async fn more(&self) {
        let mut next = self.tail.next.subscribe();
        // The sender lives as long as the tail, which this subscription holds.
        let _ = next.wait_for(|next| *next > self.next).await;
    }
}

#[cfg(test)]
mod tests {
    use crate::http::live_tail::tail::*;
    use protocol::AppId;

    fn event(bytes: usize) -> StoredEvent {
        StoredEvent {
            id: Uuid::now_v7(),
            app: AppId::parse("1").unwrap(),
            family: "call".into(),
            command: "Call.X".into(),
            command_sent: None,
            event_time: UnixMillis(0),
            received_at: UnixMillis(0),
            call_id: None,
            room_id: None,
            operator: None,
            client_ip: None,
            platform: None,
            request_id: None,
            query: None,
            signature: None,
            payload: Payload::Raw(vec![0; bytes]),
            decode_error: None,
        }
    }

    #[test]
    fn the_tail_buffer_is_bounded_in_rows_and_bytes() {
        let mut kept = Buffer::default();
        (0..RECENT_MAX + 3).for_each(|_| kept.add(event(1)));
        assert_eq!((kept.recent.len(), kept.first()), (RECENT_MAX, 3));
        (0..5).for_each(|_| kept.add(event(RECENT_BYTES_MAX / 4)));
        assert_eq!((kept.recent.len(), kept.bytes), (4, RECENT_BYTES_MAX));
        // Also where a single event exceeds the bound.
        kept.add(event(RECENT_BYTES_MAX + 1));
        assert_eq!((kept.recent.len(), kept.bytes, kept.first()), (0, 0, kept.next));
    }

    #[test]
    fn a_stream_position_round_trips() {
        let place = Position::parse("0a1b2c3d-7-1793534400000").unwrap();
        assert_eq!((place.name.as_str(), place.next), ("0a1b2c3d", Some(7)));
        assert_eq!(place.received_at, UnixMillis(1_793_534_400_000));
        assert_eq!(Position::parse("0a1b2c3d-t-1").unwrap().next, None);
        for text in ["", "a", "a-1", "a-b-1", "a-1-b", "a-1-2-3", "a--1", "a\n-1-2"] {
            assert!(Position::parse(text).is_err(), "{text}");
        }
    }
}
