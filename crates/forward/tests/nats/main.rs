//! The NATS client against real servers: `TEST_NATS_SERVER` names the program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod checks;
mod cluster;
mod server;
mod stream;
