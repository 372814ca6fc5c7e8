//! Forwarding: what is sent of a stored event, to whom, when, and what the answer means.

pub mod answer;
pub mod breaker;
pub mod destination;
pub mod envelope;
pub mod event_columns;
pub mod filter;
pub mod http;
pub mod order;
pub mod schedule;
pub mod signature;
pub mod window;
