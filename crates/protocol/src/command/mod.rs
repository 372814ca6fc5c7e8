//! The commands: what is known of each, and the registry that lists them all.

pub(crate) mod chat;
pub mod description;
mod reading;
pub(crate) mod registry;
pub(crate) mod rtc;
