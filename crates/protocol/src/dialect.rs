//! The dialects in which the vendor's products send callbacks.

use serde::{Deserialize, Serialize};

/// How a callback names its command, and where its signature stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// That of Chat, which `TUICallKit`, `TUIRoomKit` and `TUILiveKit` share: command and signature stand in the query.
    #[default]
    Im,
    /// That of the RTC Engine: the body names a group and a type, headers have app and signature, and the signature is over the body.
    RtcEngine,
}

impl Dialect {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
