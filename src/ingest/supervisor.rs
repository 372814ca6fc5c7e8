//! Restarts tasks that panic.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::error;

/// The pause before a task on the path of events is restarted.
pub(crate) const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// Runs the future of `begin` as a task until it returns, and restarts it after this `pause` when it panics. The task
/// ends with this future.
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
