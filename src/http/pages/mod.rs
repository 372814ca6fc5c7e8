//! The pages of the dashboard, one file each.

pub(crate) mod anomalies;
pub(crate) mod calls;
pub(crate) mod events;
pub(crate) mod lives;
pub(crate) mod overview;
pub(crate) mod recordings;
pub(crate) mod room;
pub(crate) mod rooms;
pub(crate) mod search;
pub(crate) mod settings;
pub(crate) mod tail;
