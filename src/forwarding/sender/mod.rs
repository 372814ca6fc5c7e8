//! The kinds of destinations that there are, a file for each: [`Sender`](forward::sender::Sender).

pub(super) mod http;
#[cfg(feature = "nats")]
pub(super) mod nats;
