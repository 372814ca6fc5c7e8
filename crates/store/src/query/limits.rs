//! How much a reader is given at most.

/// How many rows a list without pages has at most.
pub const DETAILS_MAX: u32 = 1000;

/// A list without pages ends behind the row with which its rows come to so much. In bytes.
pub const DETAIL_BYTES_MAX: usize = 2 << 20;

/// A page of a list of rows of read models ends behind the one with which they come to so much. In bytes.
pub const LIST_BYTES_MAX: usize = 2 << 20;

/// How many things one id names at most.
pub const FOUND_MAX: u32 = 20;

/// How many open anomalies are counted at most. Where there are so many, there may be more.
pub const OPEN_COUNTED_MAX: i64 = 10_000;

/// How many counts are given at most, the earliest first.
pub const COUNTS_MAX: u32 = 100_000;

/// How many events a page of events looks through at most.
pub const EVENTS_SCANNED_MAX: u32 = 20_000;

/// A page of events ends behind the one with which their bodies come to so much. In bytes.
pub const PAGE_BYTES_MAX: usize = 8 << 20;

/// How many leaves a page of visits looks through at most for those without an enter.
pub const MARKS_SCANNED_MAX: u32 = 5000;

/// How many events of cloud tasks a page of tasks looks through at most for the first ones of tasks.
pub const TASK_MARKS_SCANNED_MAX: u32 = 10_000;

/// How long before its create a session of a room may begin. In ms.
pub const SESSION_EARLY_MS: i64 = projections::session::boundaries::EARLY_MS;

/// How many events are read from the feed at once, at most.
pub const FEED_EVENTS_MAX: u32 = 2000;

/// A page of the feed ends behind the event with which their bodies come to so much. In bytes.
pub const FEED_BYTES_MAX: usize = 16 << 20;

/// How many of the latest events keep their positions, however old they are.
pub const FEED_EVENTS_KEPT: i64 = 1_000_000;
