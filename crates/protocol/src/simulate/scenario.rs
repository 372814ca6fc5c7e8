//! A scenario and its kinds.

use crate::simulate::timed_delivery::TimedDelivery;

/// Events that belong together, from the first to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// What it plays.
    pub kind: Kind,
    /// In the order of their times, no two of which are the same. Never empty, but where [`Kind::has_room`] is not so and only
    /// the RTC Engine's dialect is spoken.
    pub deliveries: Vec<TimedDelivery>,
}

/// What a scenario plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A call between two that was taken and ended in the usual way.
    AnsweredCall,
    /// One that the callee declined.
    RejectedCall,
    /// One that rang out.
    MissedCall,
    /// One that the caller gave up.
    CancelledCall,
    /// One to somebody in another call.
    BusyCall,
    /// One that was taken, and lost by the network.
    DroppedCall,
    /// A call among several: some late, some asked in, some coming back.
    GroupCall,
    /// A conference: one room, one or several sessions.
    Conference,
    /// A live show: one room, one or several sessions, often with a battle against rivals, whose rooms are in it too.
    Show,
    /// The app's rooms come near to their quota.
    Quota,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::AnsweredCall,
        Self::RejectedCall,
        Self::MissedCall,
        Self::CancelledCall,
        Self::BusyCall,
        Self::DroppedCall,
        Self::GroupCall,
        Self::Conference,
        Self::Show,
        Self::Quota,
    ];

    /// Whether the RTC Engine has a room for it, and something to tell.
    #[must_use]
    pub fn has_room(self) -> bool {
        // Somebody who is busy says so before the caller is in the room.
        !matches!(self, Self::BusyCall | Self::Quota)
    }

    /// What it is called.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AnsweredCall => "answered call",
            Self::RejectedCall => "rejected call",
            Self::MissedCall => "missed call",
            Self::CancelledCall => "cancelled call",
            Self::BusyCall => "busy call",
            Self::DroppedCall => "dropped call",
            Self::GroupCall => "group call",
            Self::Conference => "conference",
            Self::Show => "live show",
            Self::Quota => "room quota",
        }
    }
}
