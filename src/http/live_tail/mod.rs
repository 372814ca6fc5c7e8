//! Events as they are stored, for any number of subscribers.

pub(crate) mod arrival;
pub(crate) mod bounds;
pub(crate) mod buffer;
pub(crate) mod subscription;
pub(crate) mod tail;
