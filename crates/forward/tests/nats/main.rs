//! The NATS client against real servers: `TEST_NATS_SERVER` names the program.

#![expect(clippy::disallowed_methods, reason = "tests spawn tasks that end with them")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod checks;
mod cluster;
mod server;
mod stream;
