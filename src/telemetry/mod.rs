//! Logs and metrics.

mod logs;
mod metrics;
mod outcome;
mod panics;

pub use logs::{LogFormat, check_filter, init_logs};
pub use metrics::Metrics;
pub use outcome::{Closed, Outcome};
pub use panics::log_panics;
