//! Forwarding: what is sent of a stored event, to whom, when, and what the answer means.

pub mod http;
