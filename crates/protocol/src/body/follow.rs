//! The bodies of the `Follow.*` commands, which live rooms share with Chat. Every field is optional; see [`crate::body::call`].

use serde::{Deserialize, Serialize};

use crate::json::forms::Many;
use crate::json::scalar::{AccountId, Millis};

/// A decoded `Follow.*` body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum FollowBody {
    /// `Follow.CallbackAfterFollowAdd`
    FollowAdd(FollowAdd),
    /// `Follow.CallbackAfterFollowDelete`
    FollowDelete(FollowDelete),
}

/// Somebody follows others. Source: trtc.io/document/70355.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct FollowAdd {
    /// Who follows.
    #[serde(rename = "From_Account")]
    pub from_account: Option<AccountId>,
    /// Whom: here a list of objects.
    pub follow_list: Option<Vec<Followed>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// One who is followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Followed {
    /// The user.
    #[serde(rename = "To_Account")]
    pub to_account: Option<AccountId>,
}

/// Somebody follows others no more. Source: trtc.io/document/70356.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct FollowDelete {
    /// Who followed.
    #[serde(rename = "From_Account")]
    pub from_account: Option<AccountId>,
    /// Whom: here a list of plain ids.
    #[serde(rename = "To_Account")]
    pub to_account: Option<Many<AccountId>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}
