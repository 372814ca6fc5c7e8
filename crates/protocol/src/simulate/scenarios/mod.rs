//! What is simulated: calls, conferences and live shows, from their first event to their last.

pub(crate) mod battles;
pub(crate) mod calls;
pub(crate) mod conferences;
pub(crate) mod group_calls;
pub(crate) mod one_to_one;
pub(crate) mod recordings;
pub(crate) mod rooms;
pub(crate) mod seats;
pub(crate) mod shows;
pub(crate) mod stage;
pub(crate) mod tasks;
