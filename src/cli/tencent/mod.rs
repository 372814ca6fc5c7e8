//! Commands that call the vendor's API, and UserSig.

pub(crate) mod app;
pub(crate) mod apply;
pub(crate) mod callback_config;
pub(crate) mod rtc_repair;
pub(crate) mod token;
pub(crate) mod usersig;
pub(crate) mod verify;
pub(crate) mod wanted;
