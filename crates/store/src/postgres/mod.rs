//! The store in PostgreSQL.

pub(crate) mod arrays;
pub(crate) mod connection;
pub(crate) mod erase;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod events_store;
pub(crate) mod feed;
pub(crate) mod inspect;
pub(crate) mod partitions;
pub(crate) mod projections;
pub(crate) mod retention;
