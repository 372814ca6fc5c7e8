//! The signal that ends a listener.

use tokio_util::sync::CancellationToken;

/// When a listener is to stop, and how.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Cancelled when the server is to stop.
    pub asked: CancellationToken,
    /// Cancelled when another process accepts from the same socket: then no more are accepted here at once, and those that
    /// are connected have time to send what they are about to.
    pub handed_over: CancellationToken,
}

impl Stop {
    pub(crate) fn is_under_way(&self) -> bool {
        self.asked.is_cancelled() || self.handed_over.is_cancelled()
    }
}

impl From<CancellationToken> for Stop {
    fn from(asked: CancellationToken) -> Self {
        Self { asked, handed_over: CancellationToken::new() }
    }
}
