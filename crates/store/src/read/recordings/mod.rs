//! Reads recordings: a page of them, those of a call or a room, one of them, and their files.

pub(crate) mod files;
pub(crate) mod list;
pub(crate) mod tasks;
