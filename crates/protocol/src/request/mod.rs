//! A request of the vendor: its query, whose it is, where it comes from, how it is kept in a file, and what it is answered.

pub mod query;
pub mod recorded_request;
pub mod response;
pub mod source_filter;
pub mod verify;
