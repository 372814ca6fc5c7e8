//! The bodies of the `Call.*` commands (`TUICallKit`).
//!
//! Every field is optional: the vendor's tables and samples disagree, and pages grew fields over time. What a body
//! holds beyond these fields stays in the event's payload.

use serde::{Deserialize, Serialize};

use crate::body::recording::RecordingEvent;
use crate::json::scalar::{AccountId, CallId, Known, Millis, RoomId, Seconds, vocabulary};

/// A decoded `Call.*` body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum CallBody {
    /// `Call.CallbackAfterStartCall`
    StartCall(StartCall),
    /// `Call.CallbackAfterEndCall`
    EndCall(EndCall),
    /// `Call.CallbackAfterMemberChanged`
    MemberChanged(MemberChanged),
    /// `Call.CallbackAfterRecordChanged`
    RecordChanged(RecordChanged),
}

/// A user has started a call. Source: 647/68941.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct StartCall {
    /// The call.
    pub call_info: Option<CallInfo>,
    /// Who takes part, the caller included.
    pub user_list: Option<Vec<CallUser>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

impl StartCall {
    /// The caller. The body has no field for it: it is the one who is already calling while the others wait.
    #[must_use]
    pub fn caller(&self) -> Option<&AccountId> {
        let calling = |user: &&CallUser| {
            let status = user.status.as_ref().and_then(Known::value);
            status == Some(UserStatus::Calling)
        };
        self.user_list.iter().flatten().find(calling)?.user_account.as_ref()
    }
}

/// What is known of a call when it starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CallInfo {
    /// The call's id.
    pub call_id: Option<CallId>,
    /// Audio or video, by the name the sample gives it. See [`CallInfo::medium`].
    pub call_media_type: Option<Known<MediaType>>,
    /// The same, by the name the table gives it.
    pub media_type: Option<Known<MediaType>>,
    /// The chat group the call was started from; empty when there is none.
    pub chat_group_id: Option<String>,
    /// The RTC room the call runs in.
    pub room_id: Option<RoomId>,
    /// Whether that room's id is a number or a text at the vendor.
    pub room_id_type: Option<Known<RoomIdType>>,
}

impl CallInfo {
    /// Audio or video, under either name.
    #[must_use]
    pub fn medium(&self) -> Option<&Known<MediaType>> {
        self.call_media_type.as_ref().or(self.media_type.as_ref())
    }
}

/// One who takes part in a call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CallUser {
    /// The user. The English sample shows integers beyond 2^53, the table strings.
    #[serde(rename = "User_Account")]
    pub user_account: Option<AccountId>,
    /// What the user is doing, after the change where there was one.
    pub status: Option<Known<UserStatus>>,
}

/// A call is over: one participant or none is left. Source: 647/68940.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EndCall {
    /// The whole call in short.
    pub call_record: Option<CallRecord>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// What became of a call. Its times are in **seconds**, unlike the event's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CallRecord {
    /// The call's id.
    pub call_id: Option<CallId>,
    /// Who called.
    #[serde(rename = "Caller_Account")]
    pub caller_account: Option<AccountId>,
    /// Audio or video. See [`CallRecord::medium`].
    pub media_type: Option<Known<MediaType>>,
    /// The same, by the name it has when a call starts.
    pub call_media_type: Option<Known<MediaType>>,
    /// Between two or among several.
    pub call_type: Option<Known<CallType>>,
    /// When it was started, in s since 1970.
    pub start_time: Option<Seconds>,
    /// When it ended, in s since 1970.
    pub end_time: Option<Seconds>,
    /// When it was first accepted, in s since 1970; 0 when it never connected.
    pub accept_time: Option<Seconds>,
    /// How it ended. The Chinese table types it as an integer.
    pub call_result: Option<Known<CallResult>>,
    /// The members. The sample's list includes the caller.
    #[serde(rename = "CalleeList_Account")]
    pub callee_list_account: Option<Vec<AccountId>>,
    /// The RTC room the call ran in.
    pub room_id: Option<RoomId>,
    /// Whether that room's id is a number or a text at the vendor.
    pub room_id_type: Option<Known<RoomIdType>>,
}

impl CallRecord {
    /// Audio or video, under either name.
    #[must_use]
    pub fn medium(&self) -> Option<&Known<MediaType>> {
        self.media_type.as_ref().or(self.call_media_type.as_ref())
    }
}

/// Somebody's part in a call changed. Source: 647/69215.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MemberChanged {
    /// The call's id, at the top level in this body.
    pub call_id: Option<CallId>,
    /// Everybody in the call, after the change.
    pub user_list: Option<Vec<CallUser>>,
    /// Those who changed, and what they did.
    pub changed_user_list: Option<Vec<ChangedUser>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// One change of one member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ChangedUser {
    /// The user.
    #[serde(rename = "User_Account")]
    pub user_account: Option<AccountId>,
    /// What the user did, or what was done to them.
    pub action_type: Option<Known<ActionType>>,
}

/// The recording of a call changed its state. Source: trtc.io/document/80345.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RecordChanged {
    /// The call's id.
    pub call_id: Option<CallId>,
    /// The recorder's own event.
    pub callback: Option<Box<RecordingEvent>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

vocabulary! {
    /// A call's medium.
    MediaType {
        /// Voice only.
        Audio = "Audio",
        /// Voice and picture.
        Video = "Video",
    }
}

vocabulary! {
    /// How many a call is meant for.
    CallType {
        /// Two.
        Single = "SingleCall" | "Single",
        /// Several.
        Multi = "MultiCall" | "Multi" | "Group",
    }
}

vocabulary! {
    /// What a member of a call is doing.
    UserStatus {
        /// In the call.
        Calling = "Calling",
        /// Being rung.
        Waiting = "Waiting",
    }
}

vocabulary! {
    /// How a call ended.
    CallResult {
        /// The caller gave up before anyone answered.
        Cancel = "Cancel",
        /// The callee declined.
        Reject = "Reject",
        /// Nobody answered in time.
        NotAnswer = "NotAnswer",
        /// It took place and ended in the usual way.
        NormalEnd = "NormalEnd",
        /// The callee was in another call.
        CallBusy = "CallBusy",
        /// The network or the like broke it off.
        Interrupt = "Interrupt",
        /// The server heard no heartbeat any more.
        Offline = "Offline",
    }
}

vocabulary! {
    /// What happened to a member of a call. The pages disagree on most spellings.
    ActionType {
        /// Took the call.
        Accept = "Accept" | "Answer",
        /// Declined it.
        Reject = "Reject",
        /// Let it ring out.
        NotAnswer = "NotAnswer",
        /// Left it.
        HangUp = "Hangup",
        /// Came in.
        Join = "Join",
        /// Lost the connection.
        Offline = "Offline",
        /// Was asked to come in.
        Invite = "Invite" | "Invited",
        /// Is no longer asked to come in.
        CancelInvite = "Cancel_Invite" | "Canncel_Invite",
    }
}

vocabulary! {
    /// What kind of id an RTC room has, as the call family numbers it. (Other services use 0 and 1.)
    RoomIdType {
        /// A number.
        Numeric = "1",
        /// A text.
        Text = "2",
    }
}
