//! The disk-backed overflow buffer: events go there while the store does not accept them, and are replayed
//! afterwards.

pub(crate) mod handle;
pub(crate) mod replay;
pub(crate) mod salvage;
pub(crate) mod writer;
