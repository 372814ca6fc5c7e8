//! Reads what is known from events of the RTC Engine.

pub(crate) mod rooms;
pub(crate) mod tasks;
