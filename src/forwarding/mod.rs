//! Forwards stored events to destinations: a loop for each around the [window](forward::window), which decides what is sent when.
//!
//! Each destination has a task, a client and bounds of its own. They share two connections to the store: one reads the feed, the
//! other writes how far each destination is. Where one of them names [derived] events, a job of its own makes these. One server at a time forwards to a destination; the others try to take over.

mod attempt;
mod backlog_age;
mod database;
mod derived;
mod forwarder;
mod leader;
pub(crate) mod rows;
mod runner;
pub(crate) mod sample;
mod sender;
mod service;

pub(crate) use service::Forwarding;
