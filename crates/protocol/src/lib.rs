//! The protocol, pure: bytes in, values out. No I/O, no clock, no framework.
//!
//! In reading order: [`query`] reads the query string, [`verify`] decides whose request it is and
//! [`source_filter`] whether it comes from where it may, [`command`] lists every
//! [`Command`] of the vendor, [`event`] turns a verified request into a typed [`Event`] with its [`event_id`], and
//! [`response`] is what the vendor gets back. [`rtc`] has what is particular to the second [`Dialect`], the RTC Engine's. [`body`] holds the typed bodies, built from the tolerant
//! scalars of [`json`]. [`recorded_request`] is one request as a text that can be kept in a file and sent again, [`redact`] takes an
//! account out of what is stored, [`explain`] says where in a body something stands. [`diagnostic`] is the pair of problem and hint
//! that every error of the server has, [`letters`] are those that must not reach a terminal or a page as they are. With the feature `simulate`, the module of
//! that name makes believable traffic.

pub mod body;
pub mod command;
pub mod diagnostic;
pub mod dialect;
pub mod event;
mod event_fields;
pub mod event_id;
mod event_name;
pub mod event_query;
pub mod explain;
pub mod json;
pub mod letters;
pub mod redact;
mod request;
pub mod rtc;
#[cfg(feature = "simulate")]
pub mod simulate;
pub mod time;

pub use crate::body::decoded::Body;
pub use crate::command::description::{Command, Family, Kind};
pub use crate::request::recorded_request::Delivery;
pub use crate::request::source_filter::Admission;
pub use crate::request::{query, recorded_request, response, source_filter, verify};
pub use dialect::Dialect;
pub use event::Event;
pub use query::Query;
pub use time::UnixMillis;
pub use verify::{AppId, Apps, Rejection, Verified};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
