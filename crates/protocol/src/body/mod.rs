//! The typed bodies, one file for each family of commands.

pub mod battle;
pub mod call;
pub mod decoded;
pub mod follow;
pub mod group;
pub mod live;
pub mod mic;
pub mod recording;
pub mod room;
pub mod rtc;
