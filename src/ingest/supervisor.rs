//! Restarts tasks that panic.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::error;

/// How long to wait before a task on the way of an event is begun again.
pub(crate) const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// Runs what `begin` makes as a task of its own until it returns, and begins it again after this `pause` where it panicked.
/// The task ends with this future.
pub(crate) async fn keep_running<F>(what: &'static str, pause: Duration, begin: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let tasks = TaskTracker::new();
    while let Err(error) = AbortOnDropHandle::new(tasks.spawn(begin())).await {
        error!(%error, what, "a task panicked; starting it again");
        sleep(pause).await;
    }
}
