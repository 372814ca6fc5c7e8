//! Computes the sessions, stays and publish intervals of rooms of the RTC Engine from their marks.

pub(crate) mod changes;
pub(crate) mod portion;
mod settle;

pub(crate) use settle::{compare, settle};
