//! Recordings and cloud tasks: lists, and one of each with its events.

pub(crate) mod recordings;
pub(crate) mod rtc;
