//! The spool: a disk-backed overflow buffer (a write-ahead log in an SQLite file) for events the store does not take now.

pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod handle;
pub(crate) mod inspect;
pub(crate) mod lock;
pub(crate) mod record;
pub(crate) mod salvage;
