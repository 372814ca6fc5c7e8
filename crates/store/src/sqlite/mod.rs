//! The store in an embedded SQLite file.

pub(crate) mod batch;
pub(crate) mod checkpoints;
pub(crate) mod erase;
pub(crate) mod error;
pub(crate) mod event_writer;
pub(crate) mod events_store;
pub(crate) mod feed;
pub(crate) mod file;
pub(crate) mod inspect;
pub(crate) mod projections;
pub(crate) mod retention;
