//! The bodies of the `Live.*` commands (`TUILiveKit`), battles aside: those are in [`crate::body::battle`].
//! Every field is optional; see [`crate::body::call`].

use serde::{Deserialize, Serialize};

use crate::body::battle::{CreateBattle, EndBattle, StartBattle};
use crate::body::recording::RecordingEvent;
use crate::body::room::{RoomType, TakeSeatMode};
use crate::json::forms::Many;
use crate::json::scalar::{
    AccountId, Count, Flag, GiftId, Known, Millis, RoomId, Seconds, vocabulary,
};

/// A decoded `Live.*` body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum LiveBody {
    /// `Live.CallbackAfterCreateRoom`
    CreateRoom(Box<CreateRoom>),
    /// `Live.CallbackAfterDestroyRoom`
    DestroyRoom(Box<DestroyRoom>),
    /// `Live.CallbackAfterUpdateRoomInfo`
    UpdateRoomInfo(Box<UpdateRoomInfo>),
    /// `Live.CallbackAfterSetMetadata`
    SetMetadata(SetMetadata),
    /// `Live.CallbackAfterDelMetadata`
    DelMetadata(DelMetadata),
    /// `Live.CallbackAfterCreateRoomReachingThreshold`
    CreateRoomReachingThreshold(CreateRoomReachingThreshold),
    /// `Live.CallbackAfterMemberStateChanged`
    MemberStateChanged(MemberStateChanged),
    /// `Live.CallbackAfterChangeOwner`
    ChangeOwner(ChangeOwner),
    /// `Live.CallbackAfterModifyAdmin`
    ModifyAdmin(ModifyAdmin),
    /// `Live.CallbackAfterCreateBattle`
    CreateBattle(CreateBattle),
    /// `Live.CallbackAfterStartBattle`
    StartBattle(StartBattle),
    /// `Live.CallbackAfterEndBattle`
    EndBattle(EndBattle),
    /// `Live.CallbackBeforeSendGift`
    BeforeSendGift(BeforeSendGift),
    /// `Live.CallbackAfterCloudRecordingChanged`
    CloudRecordingChanged(Box<RecordingEvent>),
}

/// A live room was created. Source: 647/64422.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CreateRoom {
    /// Who created it.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The room.
    pub room_info: Option<LiveRoomInfo>,
    /// When, in ms since 1970. The English sample lacks it, a Chinese one has it inside `RoomInfo`.
    pub event_time: Option<Millis>,
}

/// A live room was dissolved. Source: 647/64423, and captured traffic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DestroyRoom {
    /// Who dissolved it; `@TIM#SYSTEM` in captured traffic.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The room's id.
    pub room_id: Option<RoomId>,
    /// By whom in kind: a text here, unlike the recorder's `EventType`.
    pub event_type: Option<Known<DestroyCause>>,
    /// The room as it was. Absent in older traffic.
    pub room_info: Option<LiveRoomInfo>,
    /// What happened in it. Absent in captured traffic of 2025.
    pub statistic: Option<Statistic>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// A live room's properties changed. Source: 647/67938.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UpdateRoomInfo {
    /// Who changed it.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The room; probably only what changed.
    pub room_info: Option<LiveRoomInfo>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// A live room's properties.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct LiveRoomInfo {
    /// The room's id. In a destroyed room's info no page lists it, but captured traffic has it.
    pub room_id: Option<RoomId>,
    /// Its name.
    pub room_name: Option<String>,
    /// Its kind. Samples say `Live`, old tables `Meeting`.
    pub room_type: Option<Known<RoomType>>,
    /// Whose it is. A doc sample shows an integer beyond 2^53, captured traffic a string.
    #[serde(rename = "Owner_Account")]
    pub owner_account: Option<AccountId>,
    /// How many may be inside.
    pub max_member_count: Option<Count>,
    /// How many may speak.
    pub max_seat_count: Option<Count>,
    /// Only the host may write.
    pub is_message_disabled: Option<Flag>,
    /// Whether one needs a seat to speak.
    pub is_seat_enabled: Option<Flag>,
    /// How one gets a seat.
    pub take_seat_mode: Option<Known<TakeSeatMode>>,
    /// Whether it is listed.
    pub is_public_visible: Option<Flag>,
    /// Whether it takes any number of viewers.
    pub is_unlimited_room_enabled: Option<Flag>,
    /// The app's own text.
    pub custom_info: Option<String>,
    /// Its cover picture.
    #[serde(rename = "CoverURL")]
    pub cover_url: Option<String>,
    /// Its background picture.
    #[serde(rename = "BackgroundURL")]
    pub background_url: Option<String>,
    /// Up to three of the app's categories.
    pub category: Option<Many<Count>>,
    /// The app's own state.
    pub activity_status: Option<Count>,
    /// How often it was viewed.
    pub view_count: Option<Count>,
    /// When it was created, in **s** since 1970.
    pub create_time: Option<Seconds>,
    /// The event's time, in ms since 1970, in one Chinese sample.
    pub event_time: Option<Millis>,
}

/// What happened in a live room until it was dissolved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Statistic {
    /// How many came; who came twice counts twice.
    pub total_viewers: Option<Count>,
    /// How many gifts were sent.
    pub total_gifts_sent: Option<Count>,
    /// What they were worth, in coins.
    pub total_gift_coins: Option<Count>,
    /// How many sent them.
    pub total_unique_gift_senders: Option<Count>,
    /// How many likes there were.
    pub total_likes_received: Option<Count>,
}

/// A room's metadata were set. Source: 647/68222.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SetMetadata {
    /// Who set them.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The room's id.
    pub room_id: Option<RoomId>,
    /// What was set.
    pub metadata: Option<Vec<Metadata>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// One entry of a room's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Metadata {
    /// Its name.
    pub key: Option<String>,
    /// Its value.
    pub value: Option<String>,
}

/// A room's metadata were removed. Source: 647/68223.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DelMetadata {
    /// Who removed them.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The room's id.
    pub room_id: Option<RoomId>,
    /// The names of what was removed.
    pub keys: Option<Many<String>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// Creating a room used up 70 % of the app's quota of rooms. Source: 647/70485.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CreateRoomReachingThreshold {
    /// Who created the room.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// How many rooms there are. The table types it as a string.
    pub cur_room_count: Option<Count>,
    /// How many there may be. The table types it as an array.
    pub max_room_count: Option<Many<Count>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// Viewers came or went. Not sent once the room is dissolved. Source: 647/64424.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MemberStateChanged {
    /// The room's id.
    pub room_id: Option<RoomId>,
    /// Whether they are there now: a text here, unlike the recorder's `EventType`.
    pub event_type: Option<Known<Presence>>,
    /// Why.
    pub event_cause: Option<Known<PresenceCause>>,
    /// Who: a list of objects, unlike the conference family's.
    pub member_list: Option<Vec<Member>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// One viewer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Member {
    /// The user.
    #[serde(rename = "Member_Account")]
    pub member_account: Option<AccountId>,
}

/// A room has another owner. Source: 647/72553.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ChangeOwner {
    /// The room's id.
    pub room_id: Option<RoomId>,
    /// Who changed it.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// Whose it is now.
    #[serde(rename = "CurrentOwner_Account")]
    pub current_owner_account: Option<AccountId>,
    /// Whose it was.
    #[serde(rename = "OriginalOwner_Account")]
    pub original_owner_account: Option<AccountId>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// Administrators were named or dismissed. Source: 647/72554.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ModifyAdmin {
    /// The room's id.
    pub room_id: Option<RoomId>,
    /// Who did it.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// Whom: a list, in spite of its name.
    #[serde(rename = "Admin_Account")]
    pub admin_account: Option<Many<AccountId>>,
    /// Which of the two. Spelled `opType` on the wire, and a text, unlike the battle's `OpType`.
    #[serde(rename = "opType")]
    pub op_type: Option<Known<AdminChange>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// A viewer wants to send a gift, and the vendor asks before it does. **Without an answer in 2 s the gift is
/// blocked.** The body has no event time and no id of its own. Source: 647/72210.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct BeforeSendGift {
    /// Who sends it.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The room's id.
    pub room_id: Option<RoomId>,
    /// The gift.
    pub gift_water: Option<GiftWater>,
}

/// A gift on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct GiftWater {
    /// Who gives.
    #[serde(rename = "From_Account")]
    pub from_account: Option<AccountId>,
    /// To whom.
    #[serde(rename = "To_Account")]
    pub to_account: Option<Many<AccountId>>,
    /// When, in **s** since 1970.
    pub time: Option<Seconds>,
    /// What.
    pub gift_id: Option<GiftId>,
    /// How many.
    pub count: Option<Count>,
    /// What one of them is worth, in coins: all together it is so often as `count` says. Source: 647/121916.
    pub coins: Option<Count>,
}

vocabulary! {
    /// Who dissolved a live room.
    DestroyCause {
        /// Its owner, or the REST API.
        ByUser = "DestroyByUser",
        /// The vendor: it was empty.
        BySystem = "DestroyBySystem",
    }
}

vocabulary! {
    /// Whether a viewer is there.
    Presence {
        /// There.
        Online = "Online",
        /// Gone.
        Offline = "Offline",
    }
}

vocabulary! {
    /// Why a viewer came or went.
    PresenceCause {
        /// Came in.
        Enter = "Enter",
        /// Left.
        Leave = "Leave",
        /// The server heard no heartbeat any more.
        HeartbeatInterrupt = "HeartbeatInterrupt",
        /// The heartbeat is back.
        HeartbeatRecover = "HeartbeatRecover",
        /// Was removed.
        Kicked = "Kicked",
    }
}

vocabulary! {
    /// What became of an administrator.
    AdminChange {
        /// Named.
        Add = "add",
        /// Dismissed.
        Delete = "delete",
    }
}
