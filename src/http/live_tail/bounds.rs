//! How much the live tail reads at once, and how much it keeps.

use crate::store::{FeedLimit, PAGE_BYTES_MAX};

/// What one poll reads at once.
pub(crate) const POLL: FeedLimit = FeedLimit { events: 500, bytes: PAGE_BYTES_MAX };
/// What a subscriber that is behind the buffer reads at once: all of them together hold no more than the buffer.
pub(crate) const CATCH_UP: FeedLimit =
    FeedLimit { events: 500, bytes: RECENT_BYTES_MAX / LISTENERS_MAX };
/// Maximum number of buffered events, and of the bytes of their bodies.
pub(crate) const RECENT_MAX: usize = 5000;
pub(crate) const RECENT_BYTES_MAX: usize = 16 << 20;
/// Concurrent subscribers.
pub(crate) const LISTENERS_MAX: usize = 32;
