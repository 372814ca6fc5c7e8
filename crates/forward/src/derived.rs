//! Derived events: facts that follow from several events of the vendor. They have types of their own, which a destination must name.

use sha2::{Digest, Sha256};

/// What the types of derived events begin with. No event of the vendor is sent under such a type, whatever its command.
pub const PREFIX: &str = "trtc.";

/// The type of a derived event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DerivedType {
    /// A call ended before anybody accepted it.
    CallMissed,
    /// A call ended.
    CallEnded,
    /// A session of a conference's room ended.
    RoomClosed,
    /// A session of a live room ended.
    LiveEnded,
    /// A recording is finished, and its files are there.
    RecordingReady,
}

impl DerivedType {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::CallMissed,
        Self::CallEnded,
        Self::RoomClosed,
        Self::LiveEnded,
        Self::RecordingReady,
    ];

    /// Its name: the `type` of the envelope.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CallMissed => "trtc.call.missed",
            Self::CallEnded => "trtc.call.ended",
            Self::RoomClosed => "trtc.room.closed",
            Self::LiveEnded => "trtc.live.ended",
            Self::RecordingReady => "trtc.recording.ready",
        }
    }

    /// The type of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The member of `data` that holds the row.
    #[must_use]
    pub fn member(self) -> &'static str {
        match self {
            Self::CallMissed | Self::CallEnded => "call",
            Self::RoomClosed => "room",
            Self::LiveEnded => "live",
            Self::RecordingReady => "recording",
        }
    }
}

/// What a derived event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// Its type.
    pub r#type: DerivedType,
    /// Of a room: which session.
    pub session: Option<i64>,
    /// 1, and one more whenever a late event changed the fact.
    pub revision: i64,
    /// Whether the fact holds no longer.
    pub withdrawn: bool,
    /// The row of the API, as JSON: it is read when it is sent. `None` before, and where there is no such row any more.
    pub row: Option<String>,
}

/// A hash of a row, by which it is known whether it changed.
#[must_use]
pub fn row_hash(row: &str) -> i64 {
    let digest: [u8; 32] = Sha256::digest(row).into();
    digest.first_chunk::<8>().map_or(0, |first| i64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_name_of_its_own() {
        for one in DerivedType::ALL {
            assert!(one.name().starts_with(PREFIX));
            assert_eq!(DerivedType::of_name(one.name()), Some(one));
        }
        assert_eq!(DerivedType::of_name("trtc.call"), None);
    }
}
