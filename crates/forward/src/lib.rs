//! Forwarding: what is sent of a stored event, to whom, when, and what the answer means.
//!
//! In reading order: [`destination`] is what is configured, checked whole; [`filter`] says which events it gets, [`envelope`] what is
//! sent of an [event](event_columns), of the vendor's or a [`derived`] one, [`signature`] how that is signed. [`answer`] says what an answer means; [`breaker`], [`schedule`]
//! and [`order`] what follows from it for the destination, for the event and for those behind it. [`window`] puts all of it together:
//! the pure core of a forwarder, around which a thin loop reads, sends, writes and sleeps. A kind of destination is a [`sender`]; [`http`] and `nats` are the
//! only parts with I/O: the egress guard and the clients.

pub mod answer;
pub mod breaker;
pub mod derived;
pub mod derived_envelope;
pub mod destination;
pub mod envelope;
pub mod event_columns;
pub mod filter;
pub mod http;
#[cfg(feature = "nats")]
pub mod nats;
pub mod order;
pub mod schedule;
pub mod sender;
pub mod signature;
pub mod window;
