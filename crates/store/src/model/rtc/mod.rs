//! Rows about rooms and tasks of the RTC Engine.

pub(crate) mod comparison;
pub(crate) mod room;
pub(crate) mod task;
pub(crate) mod words;
