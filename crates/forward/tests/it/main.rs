//! The parts that decide, seen from outside: a breaker, envelopes and signatures of all fixtures, and whole runs of a forwarder.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod breaker;
mod envelopes;
mod exceptions;
mod libraries;
mod replays;
mod runs;
mod signatures;
mod world;
