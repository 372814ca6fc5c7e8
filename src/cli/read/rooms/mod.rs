//! Sessions of rooms and of live rooms.

pub(crate) mod list;
pub(crate) mod lives;
pub(crate) mod one;
