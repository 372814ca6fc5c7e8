//! The dialect of the RTC Engine, read through the crate's own door: what its pages and samples show, and what strangers may send.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fixtures;
mod hostile;
mod identity;
mod quirks_envelope;
mod quirks_payload;
mod quirks_transport;
mod support;
