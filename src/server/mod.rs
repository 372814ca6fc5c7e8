//! The whole server: wires the parts, runs them, and stops them in order.

mod background;
mod error;
mod feed;
mod job;
mod listeners;
mod notices;
mod opened;
mod opening;
mod run;
#[cfg(feature = "nats")]
mod scale_out;
mod wiring;

pub use error::StartError;
pub use listeners::Listeners;
pub use run::{run, run_in_turn};
pub(crate) use wiring::descriptors_needed;
