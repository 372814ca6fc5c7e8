//! What stands before the routes of the operations listener: scopes, and the log of who exported what.

pub(crate) mod audit;
pub(crate) mod gate;
