//! The SQL of the session worker for the rooms of the RTC Engine.

pub(crate) mod marks;
pub(crate) mod robots;
pub(crate) mod rows;
pub(crate) mod write;
