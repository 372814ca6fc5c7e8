//! The endpoints of the API.

pub(crate) mod calls;
pub(crate) mod destinations;
pub(crate) mod event;
pub(crate) mod event_feed;
pub(crate) mod event_stream;
pub(crate) mod events;
pub(crate) mod recordings;
pub(crate) mod rooms;
pub(crate) mod rtc_rooms;
pub(crate) mod statistics;
pub(crate) mod tasks;
