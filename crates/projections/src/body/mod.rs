//! One projection for each typed command, in files named as those of [`callback::body`](protocol::body).

pub(crate) mod battle;
pub(crate) mod call;
pub(crate) mod leave_code;
pub(crate) mod live;
pub(crate) mod recording;
pub(crate) mod room;
pub(crate) mod rtc_task;
pub(crate) mod seat;
