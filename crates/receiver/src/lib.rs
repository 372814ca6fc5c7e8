//! The vendor's callbacks in an axum app: a [`Receiver`] verifies, reads and decodes each request, hands its event to a [`Sink`] of
//! yours, and answers as the vendor expects. [`callback_router`] is to be merged into a router of yours.
//!
//! A request comes to a handler of `endpoint`, passes the steps of `intake` and is answered by `answer`. Settings of the server that
//! log lines name in brackets are those of the program `trtc-callbacks`.
//!
//! Unless a clock is set, the time is the machine's. Nothing is read or written but requests, answers and log lines
//! ([`tracing`]). Counting is up to an [`Observer`].

mod answer;
mod app_path;
mod body;
mod detach;
mod endpoint;
mod intake;
mod log;
mod observer;
mod receiver;
mod request_outcome;
mod router;
mod signature_reuse;
mod sink;

pub use async_trait::async_trait;
pub use protocol;

pub use crate::log::throttle::LogThrottle;
pub use crate::observer::Observer;
pub use crate::receiver::{Receiver, Submissions};
pub use crate::request_outcome::RequestOutcome;
pub use crate::router::{callback_router, standalone_router};
pub use crate::sink::{Outcome, Sink};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
