//! The typed bodies of the RTC Engine's events: [`event`] is what all have, [`info`] what groups of them say, [`payload`] the details
//! of tasks.

pub mod event;
pub mod info;
pub mod payload;
