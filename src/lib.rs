//! Receives the server-side callbacks of Tencent RTC, types them and keeps every one.
//!
//! As a program it is a server with a database behind it. Its lower layers are crates of their own, shown here as modules:
//!
//! - [`protocol`] (`trtc-callbacks-protocol`): requests verified, events typed and identified. Pure.
//! - [`receiver`] (`trtc-callbacks-receiver`): the router that receives events, to mount in an axum app of your own too
//!   (`crates/receiver/examples/own_app.rs`).
//! - [`projections`]: what each event changes in the tables of calls, room sessions and live sessions. Pure.
//! - [`store`]: where events are kept: PostgreSQL or SQLite behind one trait. The only place that knows SQL.
//! - [`tencent_api`] (`trtc-rest-api`): the vendor's REST API: where callbacks go, registered and compared; which rooms the RTC Engine
//!   had.
//!
//! The modules, in reading order:
//!
//! - [`ingest`]: the only door to the store: a bounded queue and group commit.
//! - `export`: lists as CSV and NDJSON.
//! - [`access`]: the tokens of the operations listener, and what each allows.
//! - `stream`: NATS `JetStream` as the log between receivers and writers (scale-out mode).
//! - [`http`]: the two listeners. The only module that knows axum.
//! - `forwarding`: sends stored events to destinations.
//! - `retention`: deletes what is older than it is to be kept.
//! - `rebuild`: makes the tables of calls, room sessions and live sessions anew from the events.
//! - `sessions`: computes sessions of rooms from what is known of them, and finds gaps.
//! - `registration`: what is registered at the vendor, compared with what is wanted while the server runs.
//! - `failure_report`: what went wrong with a call to the vendor, as people are told of it.
//! - `ip_list`: the list of the vendor's addresses, kept fresh and in force.
//! - [`sockets`]: the listening sockets: made, passed by a service manager, or handed from one process to the next.
//! - [`server`]: wires all of it, runs it, stops it in order.
//! - [`cli`]: the command line, one file per subcommand.
//! - [`settings`], [`telemetry`], [`clock`]: what all of them use.

pub mod access;
pub mod cli;
pub mod clock;
mod export;
pub(crate) mod failure_report;
pub(crate) mod forwarding;
pub mod http;
pub mod ingest;
pub(crate) mod ip_list;
mod rebuild;
pub(crate) mod registration;
mod retention;
pub mod server;
pub(crate) mod sessions;
pub mod settings;
pub mod sockets;
#[cfg(feature = "nats")]
pub(crate) mod stream;
pub mod telemetry;

pub use projections;
pub use protocol;
pub use receiver;
pub use store;
pub use tencent_api;
