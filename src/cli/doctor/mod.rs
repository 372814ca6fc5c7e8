//! `doctor`: looks at configuration, store, files and machine, and says what is not as it should be.

pub(crate) mod checks;
pub(crate) mod files;
mod forwarding;
pub(crate) mod machine;
pub(crate) mod report;
pub(crate) mod storage;
pub(crate) mod tencent;
