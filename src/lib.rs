//! Receives the server-side callbacks of Tencent RTC, types them and keeps every one.
//!
//! As a program it is a server with a database behind it; as a library it gives the typed events and a router to mount
//! in an axum app of your own (`examples/own_app.rs`). The modules, in reading order:
//!
//! - [`callback`]: the protocol, pure. A query is verified, a body becomes a typed [`callback::Event`] with an id.
//! - [`handlers`]: what each event means, pure: what it changes in the tables of calls, rooms and lives.
//! - [`store`]: where events are kept: PostgreSQL or SQLite behind one trait. The only place that knows SQL.
//! - [`ingest`]: the only door to the store: a bounded queue and group commit.
//! - `letters`: which letters steer what shows a text, and how they are shown instead.
//! - `export`: lists as CSV and NDJSON.
//! - [`http`]: the two listeners. The only place that knows axum.
//! - `retention`: deletes what is older than it is to be kept.
//! - `rebuild`: makes the tables of calls, rooms and lives anew from the events.
//! - `settler`: computes rooms and lives from what is known of them, and finds gaps.
//! - [`vendor`]: the vendor's REST API: where callbacks go, registered and compared.
//! - `guard`: what is looked after at the vendor while the server runs: drift, and the list of its addresses.
//! - `registration`: from an app's settings to a client of that API.
//! - [`sockets`]: the listening sockets: made, passed by a service manager, or handed from one process to the next.
//! - [`simulate`]: believable traffic for demos and tests, pure.
//! - [`server`]: wires all of it, runs it, stops it in order.
//! - [`cli`]: the command line, one file per subcommand.
//! - [`settings`], [`telemetry`], [`clock`]: what all of them use.

pub mod callback;
pub mod cli;
pub mod clock;
mod export;
mod guard;
pub mod handlers;
pub mod http;
pub mod ingest;
mod letters;
mod rebuild;
mod registration;
mod retention;
pub mod server;
pub mod settings;
mod settler;
pub mod simulate;
pub mod sockets;
pub mod store;
pub mod telemetry;
pub mod vendor;
