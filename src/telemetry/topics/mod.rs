//! The metrics of single parts of the server.

pub(crate) mod forward;
pub(crate) mod process;
pub(crate) mod settle;
pub(crate) mod spool;
pub(crate) mod stream;
