//! The disk-backed overflow buffer (write-ahead spool): events go there while the store does not take them, and are replayed
//! into it afterwards.

pub(crate) mod handle;
pub(crate) mod replay;
pub(crate) mod salvage;
pub(crate) mod writer;
