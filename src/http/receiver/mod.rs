//! The callback endpoint: from a request on the public listener to an event in the sink.

pub(crate) mod body_budget;
pub(crate) mod content_encoding;
pub(crate) mod detach;
pub(crate) mod endpoint;
pub(crate) mod paths;
pub(crate) mod rejection_log;
pub(crate) mod signature_reuse;
