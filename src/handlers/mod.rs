//! The typed handlers, pure: what each event changes in the read models.
//!
//! One function for each command, in its family's file. What they return goes into the store with the event itself.

pub mod change;

pub use change::Change;
