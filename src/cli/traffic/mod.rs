//! Commands that send callbacks: recorded, simulated, or one by one.

pub(crate) mod confirmation;
pub(crate) mod json_path;
pub(crate) mod recordings;
pub(crate) mod replay;
pub(crate) mod send;
pub(crate) mod simulate;
pub(crate) mod target;
