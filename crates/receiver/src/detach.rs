//! Futures that outlive the request that started them.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A future that is polled in place and, when dropped unfinished, continues in a task of its own. So only cancelled
/// requests cost a task.
pub(crate) struct Outliving<T: Send + 'static> {
    /// Taken once it is done.
    work: Option<Pin<Box<dyn Future<Output = thread::Result<T>> + Send>>>,
}

impl<T: Send + 'static> Outliving<T> {
    /// Tracked by `tasks` until `work` is done, whoever polls it.
    pub(crate) fn new(tasks: &TaskTracker, work: impl Future<Output = T> + Send + 'static) -> Self {
        // Unwind safe: after a panic the future is dropped, and its state is not observed.
        Self { work: Some(Box::pin(tasks.track_future(AssertUnwindSafe(work).catch_unwind()))) }
    }
}

impl<T: Send + 'static> Future for Outliving<T> {
    /// The error is the panic's payload.
    type Output = thread::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Outliving<T> {
    fn drop(&mut self) {
        // Without a runtime the program is exiting and has waited for tracked work.
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use crate::detach::*;

    #[tokio::test]
    async fn a_dropped_future_continues_and_is_awaited_at_the_stop() {
        let tasks = TaskTracker::new();
        let ((go, gone), (tell, told)) = (oneshot::channel::<()>(), oneshot::channel());
        let mut work = Outliving::new(&tasks, async move {
            gone.await.unwrap();
            tell.send(()).unwrap();
        });
        assert!(timeout(Duration::ZERO, &mut work).await.is_err());
        drop(work);
        tasks.close();
        assert_eq!(tasks.len(), 1);
        go.send(()).unwrap();
        tasks.wait().await;
        told.await.unwrap();
    }

    #[tokio::test]
    async fn an_awaited_future_gives_its_value_or_its_panic() {
        let tasks = TaskTracker::new();
        assert_eq!(Outliving::new(&tasks, async { 7 }).await.unwrap(), 7);
        assert!(Outliving::new(&tasks, async { panic!("no") }).await.is_err());
        assert!(tasks.is_empty());
    }
}
