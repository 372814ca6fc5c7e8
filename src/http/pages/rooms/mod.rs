//! Sessions of rooms: the list of all, that of live rooms, and one of them.

pub(crate) mod list;
pub(crate) mod live;
pub(crate) mod one;
