//! What both databases share: a connection to either, statements for both, and how rows are written.

pub(crate) mod builder;
pub(crate) mod bulk_write;
pub(crate) mod connection;
pub(crate) mod dialect;
pub(crate) mod template;
pub(crate) mod upsert;
