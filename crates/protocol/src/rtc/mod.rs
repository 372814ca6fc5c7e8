//! What is particular to the RTC Engine's events: what makes two of them the same, and how they are signed.

pub(crate) mod identity;
pub mod sign;
