//! The bodies of the three `Live.*` commands about battles between live rooms. Every field is optional; see [`crate::body::call`].
//!
//! Units mix within one body: lengths and the event's time are in ms, the battle's own moments in s.

use serde::{Deserialize, Serialize};

use crate::json::forms::{Many, Nested};
use crate::json::scalar::{
    AccountId, BattleId, Count, Flag, Known, Millis, RoomId, Seconds, vocabulary,
};

/// A battle was proposed. Source: 647/68259.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CreateBattle {
    /// Who proposed it.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The battle's id.
    pub battle_id: Option<BattleId>,
    /// The room it comes from.
    pub from_room_id: Option<RoomId>,
    /// The rooms it is proposed to.
    pub to_room_id_list: Option<Many<RoomId>>,
    /// How long they have to answer, in ms.
    pub timeout: Option<Millis>,
    /// How long it lasts, in ms.
    pub duration: Option<Millis>,
    /// Whether they must agree.
    pub need_response: Option<Flag>,
    /// The app's own text.
    pub extension_info: Option<String>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// A battle began. Source: 647/68260.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct StartBattle {
    /// The battle's id.
    pub battle_id: Option<BattleId>,
    /// How long it lasts, in ms.
    pub duration: Option<Millis>,
    /// When it was proposed, in **s** since 1970.
    pub create_time: Option<Seconds>,
    /// When it began, in **s** since 1970.
    pub start_time: Option<Seconds>,
    /// The room that proposed it. The table types it as a string.
    pub from_room_info: Option<Nested<BattleRoom>>,
    /// The others.
    pub to_room_list: Option<Vec<BattleRoom>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// A battle is over, or never began. Source: 647/68261.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EndBattle {
    /// The battle's id.
    pub battle_id: Option<BattleId>,
    /// How long it was to last, in ms.
    pub duration: Option<Millis>,
    /// When it was proposed, in **s** since 1970.
    pub create_time: Option<Seconds>,
    /// When it began, in **s** since 1970; 0 or absent when nobody joined.
    pub start_time: Option<Seconds>,
    /// When it ended, in **s** since 1970.
    pub end_time: Option<Seconds>,
    /// Why: a number here, unlike the administrators' `opType`.
    pub op_type: Option<Known<BattleEnd>>,
    /// The room that proposed it, with its score. The table types it as a string.
    pub from_room_info: Option<Nested<BattleRoom>>,
    /// The others, with their scores.
    pub to_room_list: Option<Vec<BattleRoom>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// A room that takes part in a battle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct BattleRoom {
    /// The room's id.
    pub room_id: Option<RoomId>,
    /// Whose it is. A sample shows an integer beyond 2^53.
    #[serde(rename = "Owner_Account")]
    pub owner_account: Option<AccountId>,
    /// Its points, once the battle is over.
    pub score: Option<Count>,
}

vocabulary! {
    /// Why a battle ended.
    BattleEnd {
        /// Its time was up.
        TimeUp = "0",
        /// All owners left.
        OwnersLeft = "1",
        /// Nobody joined it.
        NobodyJoined = "2",
    }
}
