//! Events: one, lists of them, and the feed.

pub(crate) mod feed;
pub(crate) mod list;
pub(crate) mod one;
pub(crate) mod stream;
