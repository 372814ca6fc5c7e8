//! Commands about destinations of forwarding. They work on the store, with or without a server; one that forwards notices
//! within a second.

pub(crate) mod command;
mod control;
mod place;
mod replay;
mod sample;
mod status;
