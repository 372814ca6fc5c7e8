//! Commands that read what is stored.

pub(crate) mod calls;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod filter_args;
pub(crate) mod lists;
pub(crate) mod recordings;
pub(crate) mod rooms;
pub(crate) mod rtc;
