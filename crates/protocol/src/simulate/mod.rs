//! Believable traffic, pure: a seed goes in, timed deliveries come out. The same seed gives the same traffic.
//!
//! A [`Generator`] writes [`Scenario`]s: a call from its first ring to its end, a conference, a live show with its
//! viewers. [`Dialects`] says who tells of it: the kits, the RTC Engine in whose rooms it happens, or both. [`Traffic`] merges them into one stream, as many events per second as its options say. [`disturbed`] does to
//! it what a network does: late, twice, never. `trtc-callbacks simulate` posts what comes out; tests feed on it.
//!
//! ```
//! use trtc_callbacks_protocol::AppId;
//! use trtc_callbacks_protocol::UnixMillis;
//! use trtc_callbacks_protocol::simulate::{Generator, Kind, Options};
//!
//! let app = AppId::parse("1400000001").unwrap();
//! let start = UnixMillis(1_740_464_128_000);
//! let mut generator = Generator::new(7, app, start, Options::tiny());
//! let missed = generator.scenario(Kind::MissedCall, start);
//! let commands: Vec<&str> = missed.deliveries.iter().map(|delivery| delivery.command).collect();
//! assert_eq!(commands[0], "Call.CallbackAfterStartCall");
//! assert_eq!(commands[2], "Call.CallbackAfterEndCall");
//! ```

mod dice;
mod disturbance;
mod generator;
mod options;
mod people;
mod rooms;
mod rtc;
mod scenario;
pub(crate) mod scenarios;
mod script;
mod timed_delivery;
mod traffic;

pub use disturbance::{Disturbance, disturbed};
pub use generator::Generator;
pub use options::{Dialects, Options};
pub use scenario::{Kind, Scenario};
pub use timed_delivery::TimedDelivery;
pub use traffic::{Due, Traffic};
