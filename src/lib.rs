//! Receives the server-side callbacks of Tencent RTC, types them and keeps every one.
//!
//! As a program it is a server with a database behind it. The typed events are the crate `trtc-callbacks-protocol`, here [`protocol`];
//! the router that receives them, to mount in an axum app of your own too (`examples/own_app.rs`), is the crate
//! `trtc-callbacks-receiver`, here [`receiver`]. The modules, in reading order:
//!
//! - [`projections`]: what each event means, pure: what it changes in the tables of calls, room sessions and live sessions.
//! - [`store`]: where events are kept: PostgreSQL or SQLite behind one trait. The only place that knows SQL.
//! - [`ingest`]: the only door to the store: a bounded queue and group commit.
//! - `export`: lists as CSV and NDJSON.
//! - [`http`]: the two listeners. The only module that knows axum.
//! - `retention`: deletes what is older than it is to be kept.
//! - `rebuild`: makes the tables of calls, room sessions and live sessions anew from the events.
//! - `sessions`: computes sessions of rooms from what is known of them, and finds gaps.
//! - [`tencent_api`]: the vendor's REST API, the crate `trtc-rest-api`: where callbacks go, registered and compared.
//! - `registration`: what is registered at the vendor, compared with what is wanted while the server runs.
//! - `failure_report`: what went wrong with a call to the vendor, as people are told of it.
//! - `ip_list`: the list of the vendor's addresses, kept fresh and in force.
//! - [`sockets`]: the listening sockets: made, passed by a service manager, or handed from one process to the next.
//! - [`server`]: wires all of it, runs it, stops it in order.
//! - [`cli`]: the command line, one file per subcommand.
//! - [`settings`], [`telemetry`], [`clock`]: what all of them use.

pub mod cli;
pub mod clock;
mod export;
pub(crate) mod failure_report;
pub mod http;
pub mod ingest;
pub(crate) mod ip_list;
pub mod projections;
mod rebuild;
pub(crate) mod registration;
mod retention;
pub mod server;
pub(crate) mod sessions;
pub mod settings;
pub mod sockets;
pub mod store;
pub mod telemetry;

pub use protocol;
pub use receiver;
pub use tencent_api;
