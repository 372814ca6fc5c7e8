//! Anomalies that are of no session: what does not come, and what does not work.

pub(crate) mod drift;
pub(crate) mod forwarding;
pub(crate) mod silence;
