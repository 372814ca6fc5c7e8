//! Warnings that strangers cannot fill the log with.

pub(crate) mod rejections;
pub(crate) mod throttle;
