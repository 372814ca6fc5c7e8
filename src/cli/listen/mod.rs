//! The command `listen`: stored events go to a service on a developer's own machine, as long as it runs.
//!
//! [`command`] reads the options. A [`source`] gives events by their positions: [`store_source`] or [`api_source`]. A [`relay`] takes
//! them from there, in order and without a gap, and gives each to a [`receiver`], which sends it until it is settled.
//! [`suspension`] notices that the machine was asleep.

mod api_source;
pub(crate) mod command;
mod filter_options;
mod machine_secret;
mod receiver;
mod relay;
mod report;
mod source;
mod store_source;
mod suspension;
