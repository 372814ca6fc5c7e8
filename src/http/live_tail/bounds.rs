//! How far back the live tail reads, and how much it keeps.

use std::time::Duration;

use protocol::UnixMillis;

/// The longest time after its `received_at` that a row may become visible.
pub(crate) const BACK_FAR: Duration = Duration::from_secs(15);
/// The longest pause after which a subscriber can resume.
pub(crate) const PAUSE_MAX: Duration = Duration::from_mins(10);
/// Rows of a query, and queries of a poll.
pub(crate) const PAGE: u32 = 500;
pub(crate) const PAGES_MAX: u32 = 40;
/// How many bytes of bodies are kept for slow or reconnecting subscribers.
pub(crate) const RECENT_BYTES_MAX: usize = 16 << 20;
/// Concurrent subscribers.
pub(crate) const LISTENERS_MAX: usize = 32;

pub(crate) fn earlier(time: UnixMillis, by: Duration) -> UnixMillis {
    UnixMillis(time.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}
