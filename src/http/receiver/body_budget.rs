//! Memory for bodies: taken as they come, and given back when their event is kept.

use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::body::{Bytes, HttpBody};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// What a request takes beside its body, in bytes, roughly.
const REQUEST_BYTES: usize = 1024;
/// At most this part of all room is asked for what a body becomes, so that there always may be enough.
const BESIDE_PART: usize = 4;
/// How long a request waits for room, in all. The store, the spool and the error log have their time after it, and the
/// vendor waits 2 s for everything.
pub(crate) const PATIENCE: Duration = Duration::from_millis(250);
/// How long a body may be coming before it gives up for others. Honest ones take far less.
const IN_PEACE: Duration = Duration::from_secs(1);

/// What there is, and who waits for some.
pub(crate) struct Room {
    free: Arc<Semaphore>,
    /// How many bytes there are in all.
    bytes: usize,
    waiting: watch::Sender<usize>,
}

impl Room {
    /// So many bytes: one body of that size fits.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes.saturating_add(REQUEST_BYTES).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(bytes)), bytes, waiting: watch::Sender::new(0) }
    }

    /// Reads a body, and takes room for it as it comes, waiting for it as long as there is `patience`. `None` when there is no room for all of it, or when others need it
    /// and the body has been coming for too long: otherwise whoever sends slowly keeps everybody out.
    ///
    /// # Errors
    /// What reading the body gives.
    pub(crate) async fn read<B>(
        &self,
        mut body: B,
        patience: &mut Duration,
    ) -> Result<Option<(Bytes, OwnedSemaphorePermit)>, BoxError>
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    {
        let in_peace = Instant::now() + IN_PEACE;
        let Some(mut room) = self.take(REQUEST_BYTES, in_peace, patience).await else {
            return Ok(None);
        };
        let (mut first, mut rest) = (Bytes::new(), Vec::new());
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = self.is_wanted(in_peace) => return Ok(None),
            };
            let Some(frame) = frame else { break };
            let Ok(data) = frame?.into_data() else { continue };
            match self.take(data.len(), in_peace, patience).await {
                Some(more) => room.merge(more),
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
            return Ok(Some((first, room)));
        }
        rest.splice(..0, first);
        Ok(Some((rest.into(), room)))
    }

    /// Room for what a body becomes, beside its own. `None` when there is none.
    pub(crate) async fn beside(
        &self,
        bytes: usize,
        patience: &mut Duration,
    ) -> Option<OwnedSemaphorePermit> {
        let bytes = bytes.min(self.bytes / BESIDE_PART);
        self.take(bytes, Instant::now() + IN_PEACE, patience).await
    }

    /// Gives back what a request with a body of so many bytes does not take.
    pub(crate) fn keep(room: &mut OwnedSemaphorePermit, body_bytes: usize) {
        let wanted = body_bytes.saturating_add(REQUEST_BYTES);
        drop(room.split(room.num_permits().saturating_sub(wanted)));
    }

    /// So much room, waited for as long as there is `patience`, which is used up by that. Whoever is no longer in peace does
    /// not wait.
    async fn take(
        &self,
        bytes: usize,
        in_peace: Instant,
        patience: &mut Duration,
    ) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        if let Ok(room) = self.free.clone().try_acquire_many_owned(bytes) {
            return Some(room);
        }
        let begun = Instant::now();
        if begun >= in_peace {
            return None;
        }
        let _waiting = Waiting::new(&self.waiting);
        let room = timeout(*patience, self.free.clone().acquire_many_owned(bytes)).await;
        *patience = patience.saturating_sub(begun.elapsed());
        room.ok()?.ok()
    }

    /// Ends when somebody waits for room and the time in peace is over.
    async fn is_wanted(&self, in_peace: Instant) {
        sleep_until(in_peace).await;
        // It cannot fail: the sender is ours.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }
}

/// One who waits, counted until this is dropped, however that comes about.
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

    use http_body_util::Full;
    use hyper::body::Frame;

    use crate::http::receiver::body_budget::*;

    /// A body whose first piece is there, and whose rest never comes.
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
    async fn a_slow_body_gives_up_when_others_need_its_room_and_not_before() {
        let room = Room::new(10_000);
        let [mut slow_patience, mut early_patience, mut late_patience] = [PATIENCE; 3];
        let mut slow = Box::pin(room.read(Endless(Some(bytes(9000))), &mut slow_patience));
        // It is left in peace for a second, and as long as nobody needs its room.
        assert!(timeout(Duration::from_millis(500), &mut slow).await.is_err());
        let (early, slow_in_peace) = tokio::join!(
            room.read(whole(5000), &mut early_patience),
            timeout(Duration::from_millis(300), &mut slow)
        );
        assert!(early.unwrap().is_none() && slow_in_peace.is_err());
        assert!(timeout(Duration::from_mins(5), &mut slow).await.is_err());
        let (late, gave_up) = tokio::join!(room.read(whole(5000), &mut late_patience), slow);
        assert_eq!(late.unwrap().unwrap().0.len(), 5000);
        assert!(gave_up.unwrap().is_none());
        assert_eq!(*room.waiting.borrow(), 0);
        assert_eq!(room.free.available_permits(), 10_000 + REQUEST_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_body_becomes_has_room_of_its_own() {
        let room = Room::new(10_000);
        let all = room.free.available_permits();
        let (_, mut held) = room.read(whole(1000), &mut PATIENCE.clone()).await.unwrap().unwrap();
        held.merge(room.beside(500, &mut PATIENCE.clone()).await.unwrap());
        assert_eq!(room.free.available_permits(), all - REQUEST_BYTES - 1500);
        Room::keep(&mut held, 1200);
        assert_eq!(room.free.available_permits(), all - REQUEST_BYTES - 1200);
        Room::keep(&mut held, 9000);
        assert_eq!(room.free.available_permits(), all - REQUEST_BYTES - 1200);
        let most = room.beside(usize::MAX, &mut PATIENCE.clone()).await.unwrap();
        assert_eq!(most.num_permits(), all / BESIDE_PART);
    }

    #[tokio::test(start_paused = true)]
    async fn all_waits_of_one_request_have_one_time() {
        let room = Room::new(10_000);
        let begun = Instant::now();
        let mut patience = PATIENCE;
        let held = room.take(10_000, begun + IN_PEACE, &mut patience).await.unwrap();
        let give_back = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            drop(held);
        };
        let (first, ()) =
            tokio::join!(room.take(10_000, begun + IN_PEACE, &mut patience), give_back);
        assert!(first.is_some());
        assert!(room.take(10_000, begun + IN_PEACE, &mut patience).await.is_none());
        assert_eq!(begun.elapsed(), PATIENCE);
    }
}
