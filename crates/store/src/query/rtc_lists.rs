//! Lists of the RTC Engine's rooms that are read in pages.

use async_trait::async_trait;
use uuid::Uuid;

use crate::error::StoreError;
use crate::model::rtc::room::{RtcPublishInterval, RtcRoomSession, RtcStay};
use crate::query::list::{Behind, List, Part, cut, list};
use crate::query::rtc_rooms::{RtcPublishIntervals, RtcRoomFilter, RtcSessionPlace, RtcStays};
use crate::traits::Store;
use protocol::UnixMillis;

list!(RtcRoomFilter, rtc_room_sessions, RtcRoomSession, RtcSessionPlace);
list!(RtcStays, rtc_stays, RtcStay, (UnixMillis, Uuid));
list!(RtcPublishIntervals, rtc_publish_intervals, RtcPublishInterval, (UnixMillis, Uuid));

impl RtcRoomSession {
    /// Where it stands in the list.
    #[must_use]
    pub fn place(&self) -> RtcSessionPlace {
        let (room_id, kind) = (self.room_id.clone(), self.room_id_kind.clone());
        (self.started_at, self.sdk_app_id, room_id, kind, self.session)
    }
}

impl RtcStay {
    /// Where it stands in the list.
    #[must_use]
    pub fn place(&self) -> (UnixMillis, Uuid) {
        (self.started_at, self.stay_id)
    }
}

impl RtcPublishInterval {
    /// Where it stands in the list.
    #[must_use]
    pub fn place(&self) -> (UnixMillis, Uuid) {
        (self.started_at, self.interval_id)
    }
}
