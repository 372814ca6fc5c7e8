//! Destinations of forwarding: their cursors in the feed, and the events that are exceptions to them.

pub(crate) mod backlog;
pub(crate) mod backlog_row;
pub(crate) mod connection;
pub(crate) mod control;
pub(crate) mod model;
pub(crate) mod place;
pub(crate) mod read;
pub(crate) mod replay;
pub(crate) mod view;
pub(crate) mod write;
