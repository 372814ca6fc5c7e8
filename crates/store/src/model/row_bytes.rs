//! Approximate memory of rows in bytes, by which pages are bounded.

use crate::model::read_models::{
    Anomaly, Call, GiftRow, Live, LiveRoom, Member, Room, RoomChangeRow, Stay, UserCall, UserVisit,
    Visit,
};
use crate::model::rtc::room::{RtcPublishInterval, RtcRoomSession, RtcStay};
use crate::model::rtc::task::RtcTask;

fn texts<const N: usize>(texts: [&Option<String>; N]) -> usize {
    texts.into_iter().flatten().map(String::len).sum()
}

macro_rules! bytes {
    ($($row:ty: [$($text:ident),*], [$($optional:ident),*];)*) => {
        $(impl $row {
            /// The memory it takes, approximately, in bytes.
            #[must_use]
            pub fn bytes(&self) -> usize {
                size_of::<Self>() $(+ self.$text.len())* + texts([$(&self.$optional),*])
            }
        })*
    };
}

bytes! {
    Anomaly: [kind, subject, detail], [];
    Call: [call_id, state], [caller, chat_group_id, room_id, result];
    GiftRow: [], [sender, receivers, gift_id];
    Live: [room_id, top_senders, top_receivers, admins, metadata], [cut];
    Member: [account, state], [ending];
    Room: [room_id, family, state, occupancy],
        [name, owner, room_type, created_by, destroyed_by, destroy_cause, properties, cut];
    RoomChangeRow: [kind], [by_account, account, name, owner, cause, properties];
    RtcPublishInterval: [room_id, room_id_kind, account, track], [ended_by];
    RtcRoomSession: [room_id, room_id_kind, state], [comm_id, creator];
    RtcStay: [room_id, room_id_kind, account, roles, flags],
        [enter_reason_word, exit_reason_word, terminal_type_word, user_type_word];
    RtcTask: [task_id, kind, state],
        [room_id, room_id_kind, robot, url, end_reason, error_code, error_message];
    Stay: [account], [];
    UserVisit: [room_id, family], [name, left_cause];
    Visit: [account], [entered_cause, left_cause, left_by];
}

impl LiveRoom {
    /// The memory it takes, approximately, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.room.bytes() + self.live.as_ref().map_or(0, Live::bytes)
    }
}

impl UserCall {
    /// The memory it takes, approximately, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.call.bytes() + self.peers.iter().map(String::len).sum::<usize>()
    }
}
