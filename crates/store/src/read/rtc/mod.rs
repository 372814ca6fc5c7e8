//! Reads what is known from events of the RTC Engine.

pub(crate) mod tasks;
