//! The body of `Mic.CallbackAfterSeatInfoChanged`: one name for conferences and for live rooms, with two bodies that
//! one type holds. The command alone does not tell which of the two it is. Every field is optional; see [`crate::body::call`].

use serde::{Deserialize, Serialize};

use crate::json::scalar::{AccountId, Count, Flag, Millis, RoomId};

/// A decoded `Mic.*` body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum MicBody {
    /// `Mic.CallbackAfterSeatInfoChanged`
    SeatInfoChanged(SeatInfoChanged),
}

/// Somebody took, left or lost a seat, or a seat was locked or muted. Source: 647/60736 (conference), 647/64425 (live).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SeatInfoChanged {
    /// Who acted. Absent in live rooms.
    #[serde(rename = "Operator_Account")]
    pub operator_account: Option<AccountId>,
    /// The room's id.
    pub room_id: Option<RoomId>,
    /// The seats.
    pub seat_list: Option<Vec<Seat>>,
    /// When, in ms since 1970.
    pub event_time: Option<Millis>,
}

/// One seat, after the change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Seat {
    /// Its number.
    pub index: Option<Count>,
    /// As sent: an empty text (conference) or absent (live) where nobody sits. See [`Seat::member`].
    #[serde(rename = "Member_Account")]
    pub member_account: Option<AccountId>,
    /// Locked: nobody can take it.
    pub is_taken_disabled: Option<Flag>,
    /// No video from here.
    pub is_video_disabled: Option<Flag>,
    /// No audio from here.
    pub is_audio_disabled: Option<Flag>,
}

impl Seat {
    /// Who sits there; `None` for an empty seat in either family's way of saying so.
    #[must_use]
    pub fn member(&self) -> Option<&AccountId> {
        self.member_account.as_ref().filter(|account| !account.as_str().is_empty())
    }
}
