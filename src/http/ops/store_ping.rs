//! Pings the store, once for all concurrent callers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::store::StoreError;
use protocol::diagnostic::Hint;

/// Timeout of a ping.
const WITHIN: Duration = Duration::from_secs(1);
/// Maximum age of a result for callers that cannot wait.
const RECENT: Duration = Duration::from_secs(10);

/// Why the store is unavailable; `None` while it answers.
pub(crate) type PingError = Option<&'static str>;

const SILENT: PingError = Some("no answer within a second");

/// Serializes pings.
#[derive(Default)]
pub(crate) struct Ping {
    asking: tokio::sync::Mutex<()>,
    latest: Mutex<Option<(Instant, PingError)>>,
}

impl Ping {
    /// Pings the store, or shares the result of a concurrent ping.
    pub(crate) async fn ask(
        &self,
        ping: impl Future<Output = Result<(), StoreError>>,
    ) -> PingError {
        let came = Instant::now();
        // The caller may be cancelled, and the next one starts a new ping: so this wait is bounded itself.
        let Ok(_asking) = timeout(2 * WITHIN, self.asking.lock()).await else { return SILENT };
        let latest = *self.latest();
        if let Some((_, trouble)) = latest.filter(|(answered, _)| *answered > came) {
            return trouble;
        }
        let trouble = match timeout(WITHIN, ping).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                tracing::debug!(%error, hint = error.hint(), "the store is not available");
                Some("not available")
            }
            Err(_) => SILENT,
        };
        *self.latest() = Some((Instant::now(), trouble));
        trouble
    }

    /// The last result, where it is recent.
    pub(crate) fn known(&self) -> Option<PingError> {
        let (answered, trouble) = (*self.latest())?;
        (answered.elapsed() < RECENT).then_some(trouble)
    }

    /// A poisoned lock only means that another request panicked; a result is stored whole.
    fn latest(&self) -> MutexGuard<'_, Option<(Instant, PingError)>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use crate::http::ops::store_ping::*;

    #[tokio::test(start_paused = true)]
    async fn concurrent_pings_share_one_query() {
        let (ping, asked) = (Ping::default(), AtomicUsize::new(0));
        let frozen = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        };
        assert_eq!(ping.known(), None);
        let begun = Instant::now();
        let all = (0..50).map(|_| ping.ask(frozen()));
        let answers = futures_util::future::join_all(all).await;
        assert!(answers.iter().all(|trouble| *trouble == SILENT));
        assert_eq!((asked.load(Ordering::Relaxed), begun.elapsed()), (1, WITHIN));
        assert_eq!(ping.known(), Some(SILENT));
        // A later caller pings again.
        assert_eq!(ping.ask(async { Ok(()) }).await, None);
        assert_eq!(ping.known(), Some(None));
        tokio::time::advance(RECENT).await;
        assert_eq!(ping.known(), None);
    }
}
