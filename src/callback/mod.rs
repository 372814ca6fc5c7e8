//! The protocol, pure: bytes in, values out. No I/O, no clock, no framework.
//!
//! In reading order: [`query`] reads the query string, [`verify`] decides whose request it is and
//! [`source_filter`] whether it comes from where it may, [`command`] lists every
//! [`Command`] of the vendor, [`event`] turns a verified request into a typed [`Event`] with its [`event_id`], and
//! [`response`] is what the vendor gets back. [`body`] holds the typed bodies, built from the tolerant
//! scalars of [`json`]. [`recorded_request`] is one request as a text that can be kept in a file and sent again, [`redact`] takes an
//! account out of what is stored, [`explain`] says where in a body something stands.

pub mod body;
pub mod command;
pub mod dialect;
pub mod event;
pub mod event_id;
pub mod event_query;
pub mod explain;
pub mod json;
pub mod query;
pub mod recorded_request;
pub mod redact;
pub mod response;
pub mod source_filter;
pub mod verify;

pub use crate::callback::body::decoded::Body;
pub use crate::callback::command::description::{Command, Family, Kind};
pub use crate::callback::recorded_request::Delivery;
pub use crate::callback::source_filter::Admission;
pub use event::Event;
pub use query::Query;
pub use verify::{AppId, Apps, Rejection, Verified};
