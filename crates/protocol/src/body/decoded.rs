//! A decoded body, of whichever family.

use serde::Serialize;

use crate::body::call::CallBody;
use crate::body::follow::FollowBody;
use crate::body::group::GroupBody;
use crate::body::live::LiveBody;
use crate::body::mic::MicBody;
use crate::body::room::RoomBody;
use crate::body::rtc::event::RtcBody;

/// What a body says, by family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Body {
    /// `Call.*`
    Call(CallBody),
    /// `Room.*`
    Room(RoomBody),
    /// `Mic.*`
    Mic(MicBody),
    /// `Live.*`
    Live(LiveBody),
    /// `Group.*`, live rooms' messages
    Group(GroupBody),
    /// `Follow.*`
    Follow(FollowBody),
    /// The RTC Engine's events, which are large
    Rtc(Box<RtcBody>),
    /// A command without a type here: of Chat, or not known at all.
    Untyped,
    /// A body that is no JSON object; [`Event::decode_error`](crate::Event::decode_error) says why.
    Undecoded,
}
