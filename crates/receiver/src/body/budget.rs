//! The memory budget of request bodies: backpressure first, load shedding after that. Bytes are acquired as a body arrives, and
//! released when its event is stored.

use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::body::{Bytes, HttpBody};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// Approximate memory of a request beside its body, in bytes.
const REQUEST_BYTES: usize = 1024;
/// Largest fraction of the budget that a decoded body may ask for, so that it can always be granted.
const BESIDE_PART: usize = 4;
/// How long one request may wait for the budget, in all. The store, the spool and the error log need time after it, and the
/// vendor waits 2 s for everything.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(250);
/// How long a body may take before it is dropped in favour of others. Legitimate ones take far less.
const SLOW_BODY_GRACE: Duration = Duration::from_secs(1);

/// A semaphore of bytes.
pub(crate) struct BodyBudget {
    free: Arc<Semaphore>,
    /// How many bytes there are in all.
    bytes: usize,
    waiting: watch::Sender<usize>,
}

impl BodyBudget {
    /// A budget in which one body of this size fits.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes.saturating_add(REQUEST_BYTES).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(bytes)), bytes, waiting: watch::Sender::new(0) }
    }

    /// Reads a body and acquires its bytes as they arrive, within `patience`. `None` when the budget does not suffice, or when
    /// others wait for it and the body takes too long: otherwise slow senders would lock everybody out.
    ///
    /// The error of reading the body.
    pub(crate) async fn read<B>(
        &self,
        mut body: B,
        patience: &mut Duration,
    ) -> Result<Option<(Bytes, OwnedSemaphorePermit)>, BoxError>
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    {
        let grace_end = Instant::now() + SLOW_BODY_GRACE;
        let Some(mut permit) = self.take(REQUEST_BYTES, grace_end, patience).await else {
            return Ok(None);
        };
        let (mut first, mut rest) = (Bytes::new(), Vec::new());
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = self.has_waiters(grace_end) => return Ok(None),
            };
            let Some(frame) = frame else { break };
            let Ok(data) = frame?.into_data() else { continue };
            match self.take(data.len(), grace_end, patience).await {
                Some(more) => permit.merge(more),
                None => return Ok(None),
            }
            // Nearly all bodies come as one piece, which needs no copy.
            if first.is_empty() {
                first = data;
            } else {
                rest.extend_from_slice(&data);
            }
        }
        if rest.is_empty() {
            return Ok(Some((first, permit)));
        }
        rest.splice(..0, first);
        Ok(Some((rest.into(), permit)))
    }

    /// Acquires the bytes of a request with a body of this size, which is in memory already. `None` when there are none.
    pub(crate) async fn admit(
        &self,
        body_bytes: usize,
        patience: &mut Duration,
    ) -> Option<OwnedSemaphorePermit> {
        let bytes = body_bytes.saturating_add(REQUEST_BYTES);
        self.take(bytes, Instant::now() + SLOW_BODY_GRACE, patience).await
    }

    /// Acquires bytes for the decoded body. `None` when there are none.
    pub(crate) async fn beside(
        &self,
        bytes: usize,
        patience: &mut Duration,
    ) -> Option<OwnedSemaphorePermit> {
        let bytes = bytes.min(self.bytes / BESIDE_PART);
        self.take(bytes, Instant::now() + SLOW_BODY_GRACE, patience).await
    }

    /// Releases all but what a request with a body of this size needs.
    pub(crate) fn keep(permit: &mut OwnedSemaphorePermit, body_bytes: usize) {
        let wanted = body_bytes.saturating_add(REQUEST_BYTES);
        drop(permit.split(permit.num_permits().saturating_sub(wanted)));
    }

    /// Acquires bytes within `patience`, from which the wait is subtracted. Past its grace period a request does not wait.
    async fn take(
        &self,
        bytes: usize,
        grace_end: Instant,
        patience: &mut Duration,
    ) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        if let Ok(permit) = self.free.clone().try_acquire_many_owned(bytes) {
            return Some(permit);
        }
        let begun = Instant::now();
        if begun >= grace_end {
            return None;
        }
        let _waiting = Waiting::new(&self.waiting);
        let permit = timeout(*patience, self.free.clone().acquire_many_owned(bytes)).await;
        *patience = patience.saturating_sub(begun.elapsed());
        permit.ok()?.ok()
    }

    /// Resolves when the grace period is over and others wait for the budget.
    async fn has_waiters(&self, grace_end: Instant) {
        sleep_until(grace_end).await;
        // It cannot fail: the sender is ours.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }
}

/// A waiter, counted until it is dropped.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;
    use http_body_util::Full;

    use crate::body::budget::*;

    /// A body whose first frame arrives and whose rest never does.
    struct Endless(Option<Bytes>);

    impl HttpBody for Endless {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0.take().map_or(Poll::Pending, |data| Poll::Ready(Some(Ok(Frame::data(data)))))
        }
    }

    fn bytes(length: usize) -> Bytes {
        vec![b' '; length].into()
    }

    fn whole(length: usize) -> impl HttpBody<Data = Bytes, Error = BoxError> + Unpin {
        Full::new(bytes(length)).map_err(|never: Infallible| match never {})
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_gives_up_only_when_others_need_its_budget() {
        let budget = BodyBudget::new(10_000);
        let [mut slow_patience, mut early_patience, mut late_patience] = [ACQUIRE_TIMEOUT; 3];
        let mut slow = Box::pin(budget.read(Endless(Some(bytes(9000))), &mut slow_patience));
        // Within the grace period, and while nobody else needs the budget, it is not dropped.
        assert!(timeout(Duration::from_millis(500), &mut slow).await.is_err());
        let (early, slow_in_peace) = tokio::join!(
            budget.read(whole(5000), &mut early_patience),
            timeout(Duration::from_millis(300), &mut slow)
        );
        assert!(early.unwrap().is_none() && slow_in_peace.is_err());
        assert!(timeout(Duration::from_mins(5), &mut slow).await.is_err());
        let (late, gave_up) = tokio::join!(budget.read(whole(5000), &mut late_patience), slow);
        assert_eq!(late.unwrap().unwrap().0.len(), 5000);
        assert!(gave_up.unwrap().is_none());
        assert_eq!(*budget.waiting.borrow(), 0);
        assert_eq!(budget.free.available_permits(), 10_000 + REQUEST_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_decompressed_body_has_a_budget_of_its_own() {
        let budget = BodyBudget::new(10_000);
        let all = budget.free.available_permits();
        let (_, mut held) =
            budget.read(whole(1000), &mut ACQUIRE_TIMEOUT.clone()).await.unwrap().unwrap();
        held.merge(budget.beside(500, &mut ACQUIRE_TIMEOUT.clone()).await.unwrap());
        assert_eq!(budget.free.available_permits(), all - REQUEST_BYTES - 1500);
        BodyBudget::keep(&mut held, 1200);
        assert_eq!(budget.free.available_permits(), all - REQUEST_BYTES - 1200);
        BodyBudget::keep(&mut held, 9000);
        assert_eq!(budget.free.available_permits(), all - REQUEST_BYTES - 1200);
        let most = budget.beside(usize::MAX, &mut ACQUIRE_TIMEOUT.clone()).await.unwrap();
        assert_eq!(most.num_permits(), all / BESIDE_PART);
    }

    #[tokio::test(start_paused = true)]
    async fn all_waits_of_a_request_share_one_timeout() {
        let budget = BodyBudget::new(10_000);
        let begun = Instant::now();
        let mut patience = ACQUIRE_TIMEOUT;
        let held = budget.take(10_000, begun + SLOW_BODY_GRACE, &mut patience).await.unwrap();
        let give_back = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            drop(held);
        };
        let (first, ()) =
            tokio::join!(budget.take(10_000, begun + SLOW_BODY_GRACE, &mut patience), give_back);
        assert!(first.is_some());
        assert!(budget.take(10_000, begun + SLOW_BODY_GRACE, &mut patience).await.is_none());
        assert_eq!(begun.elapsed(), ACQUIRE_TIMEOUT);
    }
}
