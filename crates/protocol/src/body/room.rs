//! The bodies of the `Room.*` commands (`TUIRoomKit`: conferences). Every field is optional; see [`crate::body::call`].

use serde::{Deserialize, Serialize};

use crate::json::scalar::{AccountId, Count, Flag, Known, Millis, RoomId, Seconds, vocabulary};

/// A decoded `Room.*` body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum RoomBody {
    /// `Room.CallbackAfterCreateRoom`
    CreateRoom(CreateRoom),
    /// `Room.CallbackAfterDestroyRoom`
    DestroyRoom(DestroyRoom),
    /// `Room.CallbackAfterUpdateRoomInfo`
    UpdateRoomInfo(UpdateRoomInfo),
    /// `Room.CallbackAfterMemberEnter`
    MemberEnter(MemberEnter),
    /// `Room.CallbackAfterMemberLeave`
    MemberLeave(MemberLeave),
}

/// A conference room was created, by a client or over REST. Source: 647/60733.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CreateRoom {
    /// Who created it.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The room.
    pub room_info: Option<RoomInfo>,
    /// Who was invited to a scheduled room; values may repeat. In the sample only.
    #[serde(rename = "ScheduleInviteeList_Account")]
    pub schedule_invitee_list_account: Option<Vec<AccountId>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// A room was dissolved, by a client or over REST. Source: 647/60732.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DestroyRoom {
    /// Who dissolved it.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The room's id.
    pub room_id: Option<RoomId>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// A room's properties changed. Source: 647/60731.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UpdateRoomInfo {
    /// Who changed it.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The room; probably only what changed.
    pub room_info: Option<RoomInfo>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// A conference room's properties. Its own times are in **seconds**.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RoomInfo {
    /// The room's id.
    pub room_id: Option<RoomId>,
    /// Its name.
    pub room_name: Option<String>,
    /// Its kind. The sample says `Meeting`, the table `conference`.
    pub room_type: Option<Known<RoomType>>,
    /// Whose it is.
    #[serde(rename = "Owner_Account")]
    pub owner_account: Option<AccountId>,
    /// How many may be inside.
    pub max_member_count: Option<Count>,
    /// How many may speak.
    pub max_seat_count: Option<Count>,
    /// Nobody but the owner may send video.
    pub is_video_disabled: Option<Flag>,
    /// Nobody but the owner may send audio.
    pub is_audio_disabled: Option<Flag>,
    /// Nobody but the owner may write.
    pub is_message_disabled: Option<Flag>,
    /// Nobody but the owner may share a screen.
    pub is_screen_sharing_disabled: Option<Flag>,
    /// No cloud recording. The update sample sends it as text.
    pub is_cloud_recording_disabled: Option<Flag>,
    /// The app's own text.
    pub custom_info: Option<String>,
    /// When a scheduled room begins, in s since 1970.
    pub schedule_start_time: Option<Seconds>,
    /// When a scheduled room ends, in s since 1970.
    pub schedule_end_time: Option<Seconds>,
    /// Whether it runs.
    pub room_status: Option<Known<RoomStatus>>,
    /// Whether one needs a seat to speak.
    pub is_seat_enabled: Option<Flag>,
    /// How one gets a seat.
    pub take_seat_mode: Option<Known<TakeSeatMode>>,
    /// When it was created, in s since 1970.
    pub create_time: Option<Seconds>,
}

/// Members came in. Source: 647/60735.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MemberEnter {
    /// Who acted.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The room's id.
    pub room_id: Option<RoomId>,
    /// How many are inside, probably after the event.
    pub member_count: Option<Count>,
    /// Always `Enter`.
    pub r#type: Option<Known<MemberChange>>,
    /// Those who came.
    #[serde(rename = "MemberList_Account")]
    pub member_list_account: Option<Vec<AccountId>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// Members left, were removed or timed out. Source: 647/60734.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MemberLeave {
    /// Who acted.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The room's id.
    pub room_id: Option<RoomId>,
    /// How many are inside, probably after the event.
    pub member_count: Option<Count>,
    /// In which way they left.
    pub r#type: Option<Known<MemberChange>>,
    /// Free text, given when somebody is removed.
    pub reason: Option<String>,
    /// Those who left.
    #[serde(rename = "MemberList_Account")]
    pub member_list_account: Option<Vec<AccountId>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

vocabulary! {
    /// A room's kind.
    RoomType {
        /// A conference.
        Meeting = "Meeting" | "conference",
        /// A live show. Old tables of the live family say `Meeting` here too.
        Live = "Live",
    }
}

vocabulary! {
    /// Whether a scheduled room runs.
    RoomStatus {
        /// It was not scheduled.
        None = "None",
        /// Its time has not come.
        NotStarted = "NotStarted",
        /// It runs.
        Running = "Running",
    }
}

vocabulary! {
    /// How one gets a seat.
    TakeSeatMode {
        /// There are none.
        None = "None",
        /// By taking it.
        FreeToTake = "FreeToTake",
        /// By asking the host.
        ApplyToTake = "ApplyToTake",
    }
}

vocabulary! {
    /// In which way a member came or went.
    MemberChange {
        /// Came in.
        Enter = "Enter",
        /// Left.
        Leave = "Leave",
        /// Was removed.
        Kicked = "Kicked",
        /// The server heard no more of them.
        Expired = "Expired",
    }
}
