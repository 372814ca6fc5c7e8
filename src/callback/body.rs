//! A decoded body, of whichever family.

use serde::Serialize;

use super::call::CallBody;
use super::follow::FollowBody;
use super::group::GroupBody;
use super::live::LiveBody;
use super::mic::MicBody;
use super::room::RoomBody;

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
    /// A body that is no JSON object; [`Event::decode_error`](super::Event::decode_error) says why.
    Undecoded,
}
