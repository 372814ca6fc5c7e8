//! The signal that ends a listener.

use tokio_util::sync::CancellationToken;

/// When and how a listener stops.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Cancelled when the server stops.
    pub asked: CancellationToken,
    /// Cancelled when another process accepts from the same socket: then this one stops accepting at once, and
    /// connected clients have time for requests they are about to send.
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
