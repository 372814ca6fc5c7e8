//! What asks the store for readers: so many at once, so that they never use up the machine that answers the vendor.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::api_problem::Problem;
use super::ops::Keeping;
use crate::store::{Store, StoreError};

/// How long one waits for its turn, and one of an export, which is in no hurry.
const TURN: Duration = Duration::from_secs(2);
const TURN_PATIENT: Duration = Duration::from_secs(30);
/// How long a page waits for its turn: people wait longer than programs.
const TURN_PAGE: Duration = Duration::from_secs(4);
/// How long one may take beyond the time after which the store gives up itself: for one that does not answer at all.
const ANSWER_LATE: Duration = Duration::from_secs(5);
/// How many exports are under way at once.
const EXPORTS_MAX: usize = 8;

/// What a page holds while it reads: it counts as one question.
pub(super) struct PageTurn<'a> {
    _question: SemaphorePermit<'a>,
    _page: SemaphorePermit<'a>,
}

/// The way to the store for readers.
pub(crate) struct Reading {
    /// Empty until the server takes callbacks.
    keeping: Arc<OnceLock<Keeping>>,
    questions: Semaphore,
    /// Pages that read at once: half the readers, so that the API has the others.
    pages: Semaphore,
    answer: Duration,
    exports: Arc<Semaphore>,
}

impl Reading {
    /// For a store with so many readers, each of which may take so long.
    pub(crate) fn new(
        keeping: Arc<OnceLock<Keeping>>,
        readers: u32,
        read_timeout: Duration,
    ) -> Self {
        let readers = usize::try_from(readers).unwrap_or(1).max(1);
        let (questions, pages) = (Semaphore::new(readers), Semaphore::new((readers / 2).max(1)));
        let exports = Arc::new(Semaphore::new(EXPORTS_MAX));
        Self { keeping, questions, pages, exports, answer: read_timeout + ANSWER_LATE }
    }

    /// The store, once there is one.
    pub(super) fn store(&self) -> Result<Arc<dyn Store>, Problem> {
        let keeping = self.keeping.get().ok_or_else(Problem::starting)?;
        Ok(keeping.store.clone())
    }

    /// Asks the store, or says that too many do.
    pub(super) async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Problem> {
        self.ask_within(TURN, question).await
    }

    /// Waits longer for its turn, for what nobody looks at.
    pub(super) async fn ask_patiently<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Problem> {
        self.ask_within(TURN_PATIENT, question).await
    }

    async fn ask_within<T>(
        &self,
        turn: Duration,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Problem> {
        let turn = timeout(turn, self.questions.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Problem::busy("too many ask at once"));
        };
        Ok(timeout(self.answer, question).await.map_err(|_| Problem::too_slow())??)
    }

    /// A turn for a page, which asks one thing after the other; `None` where none came free in time.
    pub(super) async fn page(&self) -> Option<PageTurn<'_>> {
        let turn = async {
            let page = self.pages.acquire().await.ok()?;
            Some(PageTurn { _question: self.questions.acquire().await.ok()?, _page: page })
        };
        timeout(TURN_PAGE, turn).await.ok()?
    }

    /// A place for one more export.
    pub(super) fn export(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let seat = self.exports.clone().try_acquire_owned();
        seat.map_err(|_| Problem::busy("as many exports as may be are under way"))
    }
}
