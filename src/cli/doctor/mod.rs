//! `doctor`: looks at configuration, store, files and machine, and says what is not as it should be.

pub(crate) mod checks;
#[cfg(feature = "nats")]
pub(crate) mod destination_streams;
pub(crate) mod files;
pub(crate) mod forwarding;
pub(crate) mod machine;
pub(crate) mod report;
pub(crate) mod storage;
#[cfg(feature = "nats")]
pub(crate) mod stream;
pub(crate) mod tencent;
