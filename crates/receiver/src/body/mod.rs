//! Bodies: the memory they may take, and their compression.

pub(crate) mod budget;
pub(crate) mod content_encoding;
