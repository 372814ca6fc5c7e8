//! What the RTC Engine tells of the same calls, conferences and shows: [`room`] is a room as the media server has it, [`stay`] one
//! user's time in it, [`plan`] what users do there by themselves, [`event`] what is told of all that, and [`body`] how it is written.

pub(crate) mod body;
pub(crate) mod event;
pub(crate) mod plan;
pub(crate) mod room;
pub(crate) mod stay;
