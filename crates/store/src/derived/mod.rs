//! Derived events: facts that follow from several events, and how far the job is that derives them.

pub(crate) mod connection;
pub(crate) mod model;
pub(crate) mod progress;
pub(crate) mod read;
pub(crate) mod settle;
