//! Reads the read models, in both databases.

pub(crate) mod apps;
pub(crate) mod calls;
pub(crate) mod events;
pub(crate) mod feed;
pub(crate) mod next_marks;
pub(crate) mod readers;
pub(crate) mod recordings;
pub(crate) mod room_details;
pub(crate) mod rooms;
pub(crate) mod rtc;
pub(crate) mod statistics;
pub(crate) mod user_visits;
