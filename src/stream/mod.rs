//! NATS `JetStream` as the durable log between servers that take callbacks and servers that store events (scale-out mode).

pub(crate) mod connection;
pub(crate) mod layout;
pub(crate) mod message;
pub(crate) mod publisher;
pub(crate) mod reader;
pub(crate) mod state;
