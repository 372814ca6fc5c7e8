//! The endpoints of the API.

pub(crate) mod calls;
pub(crate) mod destinations;
pub(crate) mod events;
pub(crate) mod recordings;
pub(crate) mod rooms;
pub(crate) mod rtc;
pub(crate) mod statistics;
