//! Calls.

pub(crate) mod list;
pub(crate) mod one;
