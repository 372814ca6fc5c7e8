//! Events as they arrive, for any number of subscribers.

pub(crate) mod missed;
pub(crate) mod tail;
