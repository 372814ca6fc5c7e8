//! Computes room sessions and live sessions from the stored facts soon after new ones arrive, and looks for gaps in what the vendor sent
//! every few seconds.
//!
//! One server at a time does so for each database, with a few connections of its own and short transactions, which lock no
//! row that an event writes but those of overdue calls. Five tasks run beside each other, so that none delays another: the
//! small rooms are settled together and the large ones one after the other, those of the kits and those of the RTC Engine
//! each, and gaps are looked for.

pub(crate) mod compute;
pub(crate) mod gaps;
mod leader;
pub(crate) mod memory;
pub(crate) mod outages;
pub(crate) mod overdue_calls;
pub(crate) mod plan;
mod rooms;
pub(crate) mod rtc;
mod settler;
mod tasks;
pub(crate) mod verify;

pub(crate) use gaps::MINUTES_KEPT;
pub(crate) use settler::Settler;
pub(crate) use verify::SessionVerifier;
