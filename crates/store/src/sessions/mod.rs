//! The SQL of the session worker: its queue, the facts it reads, and the sessions it writes.

pub(crate) mod counts;
pub(crate) mod destinations;
pub(crate) mod facts;
pub(crate) mod queue;
pub(crate) mod rtc;
pub(crate) mod sweep;
pub(crate) mod task_sweep;
pub(crate) mod windows;
pub(crate) mod write;
