//! Events as they arrive, for any number of subscribers.

pub(crate) mod arrival;
pub(crate) mod bounds;
pub(crate) mod missed;
pub(crate) mod tail;
