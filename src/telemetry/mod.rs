//! Logs and metrics.

mod figures;
mod forward_metrics;
mod logs;
mod metrics;
mod on_change;
mod outcome;
mod panics;
mod recorder;
mod settle_metrics;
mod stderr;
mod stream_metrics;

pub use figures::Figures;
pub use forward_metrics::{DerivedMetrics, DestinationMetrics, FeedMetrics};
pub use logs::{LogFormat, check_filter, init_logs};
pub use metrics::Metrics;
pub(crate) use on_change::OnChange;
pub use outcome::{CheckResult, Closed, RefusedHead, outcome_labels};
pub use panics::log_panics;
pub use settle_metrics::SettleMetrics;
pub(crate) use stderr::stderr;
pub use stderr::{FlushLogs, log_lines_dropped, print_error};
pub use stream_metrics::{StreamMetrics, WriteMetrics};
