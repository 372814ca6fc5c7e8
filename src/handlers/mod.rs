//! The typed handlers, pure: what each event changes in the read models.
//!
//! One function for each command, in its family's file. What they return goes into the store with the event itself.
//! [`lives`] and [`sums`] are for what is computed from all that is known of a room.

pub mod change;
pub mod lives;
pub mod sums;

pub use change::Change;
