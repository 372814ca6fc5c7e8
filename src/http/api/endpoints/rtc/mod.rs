//! Rooms and tasks of the RTC Engine.

pub(crate) mod rooms;
pub(crate) mod tasks;
