//! A decoded body, of whichever family.

use serde::Serialize;

use crate::callback::body::call::CallBody;
use crate::callback::body::follow::FollowBody;
use crate::callback::body::group::GroupBody;
use crate::callback::body::live::LiveBody;
use crate::callback::body::mic::MicBody;
use crate::callback::body::room::RoomBody;

/// What a body says, by family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
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
    /// A command without a type here: of Chat, or not known at all.
    Untyped,
    /// A body that is no JSON object; [`Event::decode_error`](crate::callback::Event::decode_error) says why.
    Undecoded,
}
