//! The protocol, pure: bytes in, values out. No I/O, no clock, no framework.
//!
//! In reading order: [`query`] reads the query string, [`verify`] decides whose request it is and
//! [`source`] whether it comes from where it may, `registry` lists every
//! [`Command`] of the vendor, [`event`] turns a verified request into a typed [`Event`] with its [`identity`], and
//! [`answer`] is what the vendor gets back. The family modules hold the typed bodies, built from the tolerant
//! [`scalar`]s. [`delivery`] is one request as a text that can be kept in a file and sent again, [`erase`] takes an
//! account out of what is stored, [`explain`] says where in a body something stands.

pub mod answer;
pub mod battle;
pub mod body;
pub mod call;
mod chat;
pub mod command;
pub mod delivery;
pub mod erase;
pub(crate) mod escapes;
pub mod event;
pub mod explain;
mod fieldwise;
pub mod follow;
mod forms;
pub mod group;
pub mod identity;
mod json;
pub mod live;
pub mod mic;
pub mod query;
pub mod recording;
mod registry;
pub mod room;
pub mod scalar;
pub mod source;
mod tokens;
mod typed;
pub mod verify;

pub use body::Body;
pub use command::{Command, Family, Kind};
pub use delivery::Delivery;
pub use event::Event;
pub use query::Query;
pub use source::Admission;
pub use verify::{AppId, Apps, Rejection, Verified};
