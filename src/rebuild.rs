//! Makes the read models anew from the events: step by step, beside servers that go on, and from where it was broken off.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::clock::Clock;
use crate::sessions::{MINUTES_KEPT, SessionVerifier};
use crate::settings::Settings;
use crate::store::{Progress, Rebuilding, RoomQueue, Scope, Stage, StoreError, StoreOptions};

/// The shortest pause behind a step. It is as long as the step took, where that is longer: events go first.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// How often to look whether the server has settled what it was given.
const POLL: Duration = Duration::from_millis(500);
/// How long to wait for that.
const SETTLE_MAX: Duration = Duration::from_mins(5);

/// A rebuild that goes on.
pub(crate) struct Rebuild {
    store: Rebuilding,
    progress: Progress,
    /// How far it was when it was begun.
    resumed: bool,
    options: StoreOptions,
    again: Option<SessionVerifier>,
    clock: Clock,
}

/// What there is to compare, and with which settings.
pub(crate) struct Work<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) dry_run: bool,
}

impl Rebuild {
    /// Begins, or goes on where one was broken off; `None` where another is under way.
    pub(crate) async fn open(work: &Work<'_>, clock: &Clock) -> Result<Option<Self>, StoreError> {
        let options = work.settings.store_options().to_read();
        let Some(mut store) = Rebuilding::open(&options).await? else { return Ok(None) };
        let progress = store.begin(work.dry_run, clock.now()).await?;
        let resumed = progress.events > 0;
        let clock = clock.clone();
        Ok(Some(Self { store, progress, resumed, options, again: None, clock }))
    }

    /// Whether it goes on where one was broken off.
    pub(crate) fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// What it found so far.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// How many events there are, about.
    pub(crate) async fn events(&mut self) -> Result<u64, StoreError> {
        self.store.events().await
    }

    /// Takes one step, and the pause behind it.
    pub(crate) async fn step(&mut self, work: &Work<'_>) -> Result<(), StoreError> {
        let begun = Instant::now();
        match self.progress.stage {
            Stage::Read => {
                self.store.read(&mut self.progress).await?;
            }
            Stage::Compare => {
                let scope = self.scope(work).await?;
                self.store.compare(&mut self.progress, scope).await?;
            }
            Stage::Counts => {
                let scope = self.scope(work).await?;
                self.store.compare_counts(&mut self.progress, scope).await?;
            }
            Stage::Settle => self.settle(RoomQueue::Kit, work).await?,
            Stage::SettleRtc => self.settle(RoomQueue::Rtc, work).await?,
            Stage::Done => {}
        }
        sleep(begun.elapsed().max(PAUSE_MIN)).await;
        Ok(())
    }

    async fn scope(&mut self, work: &Work<'_>) -> Result<Scope, StoreError> {
        let keep = work.settings.retention.keep();
        self.store.scope(keep, MINUTES_KEPT, self.clock.now()).await
    }

    /// Compares the next rooms and days.
    async fn settle(&mut self, queue: RoomQueue, work: &Work<'_>) -> Result<(), StoreError> {
        let mut again = if let Some(again) = self.again.take() {
            again
        } else {
            let bounds = (&work.settings.gaps, &work.settings.settle);
            SessionVerifier::open(&self.options, bounds, self.clock.clone()).await?
        };
        let page = self.store.rooms(queue, &self.progress).await?;
        if page.is_empty() {
            self.wait_for_server(queue, &mut again).await?;
            again.close().await;
            return self.store.all_passed(queue, &mut self.progress).await;
        }
        let leads = again.leads().await?;
        for queued in &page {
            let compared = again.compare(queue, queued, !work.dry_run).await?;
            // Where a server is about to settle a room there is nothing to mend.
            let is_moving =
                !leads && !compared.is_right() && self.store.is_queued(queue, &queued.room).await?;
            if !is_moving {
                if !leads && !work.dry_run && !compared.is_right() {
                    self.store.queue(queue, queued).await?;
                }
                for (table, found) in compared.tables {
                    self.count(table, found);
                }
            }
            self.store.passed(queue, &mut self.progress, queued).await?;
        }
        self.again = Some(again);
        Ok(())
    }

    fn count(&mut self, table: &str, found: crate::store::Tally) {
        self.progress.tally(table).add(found);
    }

    /// Waits until the server has settled what it was given; settles it itself when there is none any more.
    async fn wait_for_server(
        &mut self,
        queue: RoomQueue,
        again: &mut SessionVerifier,
    ) -> Result<(), StoreError> {
        let begun = Instant::now();
        while begun.elapsed() < SETTLE_MAX {
            let waiting = self.store.waiting(queue).await?;
            if waiting.is_empty() || self.progress.dry_run {
                return Ok(());
            }
            if again.leads().await? {
                for queued in &waiting {
                    again.compare(queue, queued, true).await?;
                }
            } else {
                sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// Ends it, and returns what it found.
    pub(crate) async fn finish(self) -> Result<Progress, StoreError> {
        self.store.finish().await?;
        Ok(self.progress)
    }
}

/// Forgets a rebuild that was broken off, with all that it read; `false` where one is under way.
pub(crate) async fn forget(options: &StoreOptions) -> Result<bool, StoreError> {
    let Some(store) = Rebuilding::open(options).await? else { return Ok(false) };
    store.finish().await?;
    Ok(true)
}
