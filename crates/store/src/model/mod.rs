//! Types of the rows that readers get.

pub(crate) mod call_summary;
pub(crate) mod columns;
pub(crate) mod event;
pub(crate) mod position;
pub(crate) mod read_models;
pub(crate) mod recording;
pub(crate) mod recording_file;
pub(crate) mod row_bytes;
pub(crate) mod rtc;
pub(crate) mod timeline;
