//! The pages of the dashboard, one file each.

pub(crate) mod anomalies;
pub(crate) mod calls;
pub(crate) mod events;
pub(crate) mod forward;
pub(crate) mod overview;
pub(crate) mod rooms;
pub(crate) mod rtc_rooms;
pub(crate) mod search;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod tail;
pub(crate) mod tasks;
