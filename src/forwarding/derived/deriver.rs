//! The job that derives events.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::forwarding::derived::look::{Settled, settlement};
use crate::forwarding::derived::subjects::{Subjects, recording_steps};
use crate::store::deadline::within;
use crate::store::{
    DUE_MAX, DerivedConnection, DerivedKind, DerivedLease, DerivedSubject, DerivedWaits,
    DueSubject, FeedLimit, FeedPage, FeedRead, Position, Store, StoreOptions,
};
use crate::telemetry::OnChange;
use protocol::diagnostic::Diagnostic;
use protocol::event_id;

/// How long after the first new event of a subject its row is looked at. What belongs together, such as the last hang-up of a call and its
/// end, comes within a moment and in any order: looked at once, it makes one revision.
const QUIET: Duration = Duration::from_secs(1);
/// How long to wait for a room that is not settled yet, and before rows are read again that could not be in time.
const WAITS: DerivedWaits =
    DerivedWaits { postponed: Duration::from_millis(500), slow: Duration::from_mins(1) };
/// How often new events are noted, and it is looked for what is due: not with each event, as each note is a write beside ingest's.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// For how long the right to derive lasts: longer than looking at one subject may take. And how often it is renewed where nothing is
/// written.
const LEASE: Duration = Duration::from_secs(8);
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How long one step may take.
const STEP_MAX: Duration = Duration::from_secs(10);
/// How long to wait after a failure, or for another server.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long a stop waits for the step under way.
const STOP_MAX: Duration = Duration::from_secs(2);
/// How much of the feed is read at once.
const PAGE: FeedLimit = FeedLimit { events: 1000, bytes: 8 << 20 };
/// How often in a row, before what is due has its turn.
const PAGES_MAX: u32 = 20;

/// Derives events while it has the right to.
#[derive(Clone)]
pub(crate) struct Deriver {
    pub(crate) options: StoreOptions,
    pub(crate) store: Arc<dyn Store>,
    /// The end of the feed.
    pub(crate) end: watch::Receiver<i64>,
    pub(crate) clock: Clock,
    /// This server's name among those that could derive.
    pub(crate) holder: Arc<str>,
    pub(crate) stop: CancellationToken,
}

impl Deriver {
    /// Makes sure that what is stored from now on is noted; waits for the store as long as it is away.
    pub(crate) async fn begin(&self) {
        let mut logged = OnChange::default();
        while let Err(found) = self.try_begin().await {
            tell(&mut logged, found);
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn try_begin(&self) -> Result<(), Diagnostic> {
        let mut connection = within(STEP_MAX, DerivedConnection::open(&self.options)).await?;
        within(STEP_MAX, connection.begin()).await?;
        connection.close().await;
        Ok(())
    }

    /// Derives until it is stopped. It may be cancelled at any point: each step is a transaction.
    pub(crate) async fn run(self) {
        let stop = self.stop.clone();
        let stopped = async {
            stop.cancelled().await;
            sleep(STOP_MAX).await;
        };
        tokio::select! {
            () = self.keep_deriving() => {}
            () = stopped => {}
        }
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn keep_deriving(&self) {
        let mut logged = OnChange::default();
        while !self.stop.is_cancelled() {
            if let Err(found) = self.derive(&mut logged).await {
                tell(&mut logged, found);
                self.pause(RETRY_PAUSE).await;
            }
        }
    }

    /// Derives over one connection, until it fails or is to stop.
    async fn derive(&self, logged: &mut OnChange<Diagnostic>) -> Result<(), Diagnostic> {
        let mut connection = within(STEP_MAX, DerivedConnection::open(&self.options)).await?;
        within(STEP_MAX, connection.begin()).await?;
        let holder = self.holder.clone();
        let lease = DerivedLease { holder: &holder, length: LEASE };
        while !self.stop.is_cancelled() {
            let Some(position) = within(STEP_MAX, connection.take(lease)).await? else {
                self.pause(RETRY_PAUSE).await;
                continue;
            };
            if logged.clear() {
                info!("events are derived again");
            }
            self.lead(&mut connection, lease, position).await?;
        }
        within(STEP_MAX, connection.release(&holder)).await?;
        connection.close().await;
        Ok(())
    }

    /// Derives while it has the right to.
    async fn lead(
        &self,
        connection: &mut DerivedConnection,
        lease: DerivedLease<'_>,
        mut position: Position,
    ) -> Result<(), Diagnostic> {
        let mut renewed_at = Instant::now();
        while !self.stop.is_cancelled() {
            for _ in 0..PAGES_MAX {
                if *self.end.borrow() <= position.number() {
                    break;
                }
                let Some(next) = self.note_page(connection, lease, position).await? else {
                    return Ok(());
                };
                renewed_at = Instant::now();
                if next == position || self.stop.is_cancelled() {
                    break;
                }
                position = next;
            }
            let due = within(STEP_MAX, connection.due()).await?;
            if !due.is_empty() {
                let Some(is_rest) = self.settle(connection, lease, &due).await? else {
                    return Ok(());
                };
                renewed_at = Instant::now();
                // There may be more.
                if is_rest || u32::try_from(due.len()).is_ok_and(|due| due >= DUE_MAX) {
                    continue;
                }
            }
            if renewed_at.elapsed() >= RENEW_EVERY {
                if within(STEP_MAX, connection.take(lease)).await?.is_none() {
                    return Ok(());
                }
                renewed_at = Instant::now();
            }
            self.pause(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Writes what follows from what is due, and says whether some of it is left; `None` where another server derives.
    async fn settle(
        &self,
        connection: &mut DerivedConnection,
        lease: DerivedLease<'_>,
        due: &[DueSubject],
    ) -> Result<Option<bool>, Diagnostic> {
        let (mut looked_at, mut after) = (due, None);
        loop {
            let now = self.clock.now();
            let looked = settlement(&*self.store, connection, (looked_at, after), now).await?;
            let Settled { settlement, rest } = looked;
            let is_slow = !settlement.slow.is_empty();
            if is_slow {
                *connection = within(STEP_MAX, DerivedConnection::open(&self.options)).await?;
            }
            let written = connection.settle(lease, &settlement, WAITS);
            if !within(STEP_MAX, written).await? {
                return Ok(None);
            }
            if is_slow {
                // The store reads over one connection. A statement that nobody waits for any more holds it until its own timeout.
                within(STEP_MAX, self.store.feed_span()).await?;
            }
            match rest {
                Some((place, session)) if !self.stop.is_cancelled() => {
                    (looked_at, after) = (&looked_at[place..=place], Some(session));
                }
                _ => {
                    let settled = settlement.done.len() + settlement.postponed.len();
                    return Ok(Some(settled + settlement.slow.len() < due.len()));
                }
            }
        }
    }

    /// Notes what the next events are about, and says up to where; `None` where another server derives.
    async fn note_page(
        &self,
        connection: &mut DerivedConnection,
        lease: DerivedLease<'_>,
        position: Position,
    ) -> Result<Option<Position>, Diagnostic> {
        let page = match within(STEP_MAX, self.store.events_after(position, PAGE)).await? {
            FeedRead::Page(page) => page,
            FeedRead::Outside(span) => {
                warn!(
                    hint = "events that are in between make no derived events",
                    "the feed does not hold the place up to which events were derived; going on with what it holds"
                );
                // After the end: the feed is an older copy.
                let next = if position < span.start { span.start } else { span.end };
                let noted = connection.note(lease, next, &[], QUIET);
                return Ok(within(STEP_MAX, noted).await?.then_some(next));
            }
        };
        let FeedPage { events, next, unreadable, .. } = page;
        for (_, event) in unreadable {
            error!(%event, "an event cannot be read: nothing is derived from it");
        }
        let mut subjects = Subjects::of(&events);
        let steps = recording_steps(&events);
        let tasks = within(STEP_MAX, connection.tasks_of(&steps)).await?;
        for (step, task) in steps.iter().zip(tasks) {
            if let Some((app, id)) = task {
                let subject = DerivedSubject { kind: DerivedKind::Recording, app, id, day: 0 };
                subjects.add(subject, event_id::time_of(*step));
            }
        }
        let touched = subjects.into_touched();
        let noted = connection.note(lease, next, &touched, QUIET);
        Ok(within(STEP_MAX, noted).await?.then_some(next))
    }
}

/// Says once that the store fails.
fn tell(logged: &mut OnChange<Diagnostic>, found: Diagnostic) {
    if logged.is_new(&found) {
        let Diagnostic { problem: reason, hint } = found;
        warn!(reason, hint, "no events are derived; trying again");
    }
}
