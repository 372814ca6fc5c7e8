//! Commands about the stream of scale-out mode.

pub(crate) mod command;
mod place;
mod replay;
mod status;
