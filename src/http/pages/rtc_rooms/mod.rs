//! Rooms of the RTC Engine: the list of their sessions, one of them, and what other pages show of them.

pub(crate) mod call_part;
pub(crate) mod lanes;
pub(crate) mod list;
pub(crate) mod one;
pub(crate) mod stays;
