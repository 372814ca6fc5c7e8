//! The HTTP client against receivers that behave badly. Every connection stays within 127.0.0.0/8, and names are resolved by a
//! stub.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod broken;
mod destination;
mod egress;
mod names;
mod proxy;
mod receiver;
mod reload;
mod tls;
