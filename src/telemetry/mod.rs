//! Logs and metrics.

mod figures;
mod logs;
mod metrics;
mod on_change;
mod outcome;
mod panics;
mod recorder;
mod stderr;
mod topics;

pub use figures::Figures;
pub use logs::{LogFormat, check_filter, init_logs};
pub use metrics::Metrics;
pub(crate) use on_change::OnChange;
pub use outcome::{CheckResult, Closed, RefusedHead, outcome_labels};
pub use panics::log_panics;
pub(crate) use stderr::stderr;
pub use stderr::{FlushLogs, log_lines_dropped, print_error};
pub use topics::forward::{DerivedMetrics, DestinationMetrics, FeedMetrics};
pub use topics::process::process_figures;
pub use topics::settle::SettleMetrics;
pub use topics::spool::SpoolMetrics;
pub use topics::stream::{StreamMetrics, WriteMetrics};
