//! The vendor's cloud API (`trtc.tencentcloudapi.com`, version 2019-07-22): signed with TC3-HMAC-SHA256 and the keys of a cloud
//! account, which are neither an app's secret key nor its callback key. Asked for what the vendor's monitoring knows of rooms.

pub(crate) mod client;
pub(crate) mod error;
pub(crate) mod key;
pub(crate) mod monitor;
mod tc3;
