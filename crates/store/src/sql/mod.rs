//! Shared by both databases: connection, query builder and bulk writes.

pub(crate) mod builder;
pub(crate) mod bulk_write;
pub(crate) mod connection;
pub(crate) mod dialect;
pub(crate) mod embedded_error;
pub(crate) mod from_row;
pub(crate) mod template;
pub(crate) mod upsert;
