//! Restarts tasks that panic.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::error;

/// How long to wait before a task that panicked is begun again.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs what `begin` makes until it returns; begun again where it panicked. Whoever waited for it learns that it is gone,
/// and puts the event elsewhere.
pub(crate) async fn keep_running<F>(tasks: TaskTracker, what: &'static str, begin: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(error) = tasks.spawn(begin()).await {
        error!(%error, what, "a task ended; another takes its place");
        sleep(PAUSE).await;
    }
}
