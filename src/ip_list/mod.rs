//! The list of the vendor's addresses, for source filtering: refreshed, merged and kept on disk.

pub(crate) mod cache_file;
pub(crate) mod merge;
pub(crate) mod refresh;
