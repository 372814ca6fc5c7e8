//! Limits concurrent reads of the store by API and pages, so that they never starve the callback endpoint.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::http::ops::store_handle::StoreHandle;
use crate::http::problem::Problem;
use crate::store::{Store, StoreError};

/// How long a query waits for a permit, and how long one of an export.
const TURN: Duration = Duration::from_secs(2);
const TURN_PATIENT: Duration = Duration::from_secs(30);
/// How long a page waits for a permit: people are more patient than programs.
const TURN_PAGE: Duration = Duration::from_secs(4);
/// Margin over the store's own read timeout, for a store that does not answer at all.
const ANSWER_LATE: Duration = Duration::from_secs(5);
/// Maximum number of concurrent exports. Each holds one page of up to [`crate::store::PAGE_BYTES_MAX`] and its
/// serialized form.
const EXPORTS_MAX: usize = 4;
/// Memory of all pending list responses, in KiB.
const WAITING_KIB_MAX: usize = 64 << 10;
/// Size of one slice of such a response, in bytes.
const SLICE: usize = 64 << 10;

/// The permits of a page, held while it reads.
pub(crate) struct PageTurn<'a> {
    _question: SemaphorePermit<'a>,
    _page: SemaphorePermit<'a>,
}

/// Access to the store for API and pages, limited by semaphores.
pub(crate) struct ReadLimiter {
    /// Empty until the store is open.
    store_handle: Arc<OnceLock<StoreHandle>>,
    questions: Semaphore,
    /// Permits of pages: half the readers, so that the API has the others.
    pages: Semaphore,
    answer: Duration,
    exports: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl ReadLimiter {
    /// For a store with this number of readers and this timeout per read.
    pub(crate) fn new(
        store_handle: Arc<OnceLock<StoreHandle>>,
        readers: u32,
        read_timeout: Duration,
    ) -> Self {
        let readers = usize::try_from(readers).unwrap_or(1).max(1);
        let (questions, pages) = (Semaphore::new(readers), Semaphore::new((readers / 2).max(1)));
        let exports = Arc::new(Semaphore::new(EXPORTS_MAX));
        let waiting = Arc::new(Semaphore::new(WAITING_KIB_MAX));
        Self {
            store_handle,
            questions,
            pages,
            exports,
            waiting,
            answer: read_timeout + ANSWER_LATE,
        }
    }

    /// The store, once there is one.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>, Problem> {
        let store_handle = self.store_handle.get().ok_or_else(Problem::starting)?;
        store_handle.store.clone().ok_or_else(Problem::no_store)
    }

    /// Runs a query, or fails with 503 when no permit is free in time.
    pub(crate) async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Problem> {
        self.ask_within(TURN, question).await
    }

    /// The same with a longer wait, for exports.
    pub(crate) async fn ask_patiently<T>(
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
            return Err(Problem::busy("too many concurrent requests"));
        };
        Ok(timeout(self.answer, question).await.map_err(|_| Problem::too_slow())??)
    }

    /// Permits for a page, which queries one thing after the other; `None` if none is free in time.
    pub(crate) async fn page(&self) -> Option<PageTurn<'_>> {
        let turn = async {
            let page = self.pages.acquire().await.ok()?;
            Some(PageTurn { _question: self.questions.acquire().await.ok()?, _page: page })
        };
        timeout(TURN_PAGE, turn).await.ok()?
    }

    /// A response body that counts against the memory of pending responses until its client has read it.
    pub(crate) fn body(&self, mut text: Bytes) -> Result<Body, Problem> {
        let kib = u32::try_from(text.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let waiting = self.waiting.clone().try_acquire_many_owned(kib);
        let waiting = waiting
            .map_err(|_| Problem::busy("too many responses are waiting for slow clients"))?;
        // In slices: a chunk counts as sent once the connection takes it.
        let slices = std::iter::from_fn(move || {
            let _held = &waiting;
            let slice = text.split_to(SLICE.min(text.len()));
            (!slice.is_empty()).then_some(Ok::<_, Infallible>(slice))
        });
        Ok(Body::from_stream(futures_util::stream::iter(slices)))
    }

    /// A permit for an export.
    pub(crate) fn export(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let seat = self.exports.clone().try_acquire_owned();
        seat.map_err(|_| Problem::busy("too many exports in progress"))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use crate::http::ops::read_limiter::*;

    #[tokio::test]
    async fn responses_not_yet_sent_are_bounded() {
        let reading = ReadLimiter::new(Arc::default(), 1, Duration::from_secs(1));
        let text = Bytes::from(vec![b'x'; WAITING_KIB_MAX * 1024 / 4]);
        let mut bodies: Vec<_> = (0..4).map(|_| reading.body(text.clone()).unwrap()).collect();
        assert!(reading.body(Bytes::from_static(b"x")).is_err());
        let taken = bodies.pop().unwrap().collect().await.unwrap();
        assert_eq!(taken.to_bytes(), text);
        assert!(reading.body(text.clone()).is_ok(), "a body that was taken still counts");
        bodies.clear();
        assert_eq!(reading.waiting.available_permits(), WAITING_KIB_MAX);
        assert!(reading.body(Bytes::new()).is_ok(), "an empty one needs nothing");
    }
}
