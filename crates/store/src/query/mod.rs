//! What a reader asks for: conditions, order, and the page of a list.

pub(crate) mod conditions;
pub(crate) mod events;
pub(crate) mod filters;
pub(crate) mod limits;
pub(crate) mod list;
pub(crate) mod page;
pub(crate) mod rtc_joins;
pub(crate) mod rtc_lists;
pub(crate) mod rtc_rooms;
