//! Work that outlives the request that began it.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A future that is polled where it is awaited and, when whoever awaits it goes away, goes on in a task of its own. So only
/// those that are abandoned cost a task.
pub(crate) struct Outliving<T: Send + 'static> {
    /// Taken when it is done.
    work: Option<Pin<Box<dyn Future<Output = thread::Result<T>> + Send>>>,
}

impl<T: Send + 'static> Outliving<T> {
    /// Counted by `tasks` from now until `work` is done, whoever polls it.
    pub(crate) fn new(tasks: &TaskTracker, work: impl Future<Output = T> + Send + 'static) -> Self {
        // Nothing that it had half done is looked at after a panic: it is dropped.
        Self { work: Some(Box::pin(tasks.track_future(AssertUnwindSafe(work).catch_unwind()))) }
    }
}

impl<T: Send + 'static> Future for Outliving<T> {
    /// An error is what it panicked with.
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
        // Without a runtime the program is ending, and has waited for what it counted.
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

    use crate::http::receiver::detach::*;

    #[tokio::test]
    async fn what_is_abandoned_goes_on_and_is_waited_for() {
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
    async fn what_is_awaited_to_its_end_gives_its_value_and_a_panic_is_an_error() {
        let tasks = TaskTracker::new();
        assert_eq!(Outliving::new(&tasks, async { 7 }).await.unwrap(), 7);
        assert!(Outliving::new(&tasks, async { panic!("no") }).await.is_err());
        assert!(tasks.is_empty());
    }
}
