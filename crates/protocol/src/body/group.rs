//! The bodies of the two `Group.*` commands that carry a live room's messages. The other `Group.*` commands belong
//! to Chat and are kept untyped. Every field is optional; see [`crate::body::call`].

use serde::{Deserialize, Serialize};

use crate::json::scalar::{AccountId, Count, Flag, Millis, RawJson, RoomId, Seconds};

/// A decoded `Group.*` body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum GroupBody {
    /// `Group.CallbackBeforeSendMsg`
    BeforeSendMsg(GroupMsg),
    /// `Group.CallbackAfterSendMsg`
    AfterSendMsg(GroupMsg),
}

/// A message to a group, which may be a live room. Source: trtc.io/document/74347 (before), 74348 (after).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct GroupMsg {
    /// The group: the room's id where `type` is `Live`.
    pub group_id: Option<RoomId>,
    /// The group's kind: `Live`, or one of Chat's.
    pub r#type: Option<String>,
    /// Who wrote.
    #[serde(rename = "From_Account")]
    pub from_account: Option<AccountId>,
    /// Who sent the request: the same, or an administrator.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The sender's random number, 32 bits.
    pub random: Option<Count>,
    /// The message's id; on the page of the before command.
    pub msg_id: Option<String>,
    /// The message's place in the group; after only.
    pub msg_seq: Option<Count>,
    /// When it was sent, in **s** since 1970; after only.
    pub msg_time: Option<Seconds>,
    /// 1 when it goes only to those who are online.
    pub online_only_flag: Option<Flag>,
    /// What was written.
    pub msg_body: Option<Vec<MsgElement>>,
    /// The app's own text.
    pub cloud_custom_data: Option<String>,
    /// When, in ms since 1970; a string in the samples.
    pub event_time: Option<Millis>,
}

/// A part of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MsgElement {
    /// `TIMTextElem`, `TIMCustomElem`, …
    pub msg_type: Option<String>,
    /// What that kind of part consists of.
    pub msg_content: Option<RawJson>,
}
