//! Commands about the stream of scale-out mode.

pub(crate) mod command;
mod replay;
mod status;
