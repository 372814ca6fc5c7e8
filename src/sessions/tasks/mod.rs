//! Recordings and cloud tasks whose end or files did not come.

pub(crate) mod endless;
pub(crate) mod files_left;
pub(crate) mod progress;
pub(crate) mod sweep;
