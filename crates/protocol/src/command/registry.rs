//! The registry: every command the vendor sends, one row each. `docs/development/adding.md` has the steps for a new one.
//!
//! Not listed is `Live.CallbackBeforeCallBackNotBlock`: a switch in the vendor's configuration, never delivered.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::body::call::{CallBody, EndCall, StartCall};
use crate::body::decoded::Body;
use crate::body::follow::FollowBody;
use crate::body::group::GroupBody;
use crate::body::live::LiveBody;
use crate::body::mic::MicBody;
use crate::body::room::RoomBody;
use crate::command::chat;
use crate::command::description::{Command, Family, Kind};
use crate::command::reading::{read, read_flat};
use crate::command::rtc;
use crate::dialect::Dialect;

impl Command {
    /// The command with this canonical name or alias.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        static BY_NAME: LazyLock<HashMap<&'static str, &'static Command>> = LazyLock::new(|| {
            let names = |command: &'static Command| {
                let aliases = command.aliases.iter().copied();
                aliases.chain([command.name]).map(move |name| (name, command))
            };
            Command::all().flat_map(names).collect()
        });
        BY_NAME.get(name).copied()
    }

    /// How a stored event of this family and command is read: also one that no row names.
    #[must_use]
    pub fn of_stored(family: &str, command: &str) -> Self {
        let of_rtc = || {
            let family = Family::ALL.iter().find(|known| known.as_str() == family)?;
            (family.dialect() == Dialect::RtcEngine).then(|| Self::of_family(*family))
        };
        let known = Self::find(command).copied();
        known.or_else(of_rtc).unwrap_or_else(|| Self::unknown(command))
    }

    /// Every command, in the order of the families' pages; last the event types of the RTC Engine.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        TYPED.iter().chain(chat::COMMANDS).chain(rtc::EVENT_TYPES)
    }
}

const fn after(name: &'static str, family: Family) -> Command {
    Command::untyped(name, family, Kind::After)
}

const fn before(name: &'static str, family: Family) -> Command {
    Command::untyped(name, family, Kind::Before)
}

macro_rules! sample {
    ($file:literal) => {
        Some(include_str!(concat!("../../fixtures/", $file, ".json")))
    };
}

static TYPED: &[Command] = &[
    Command {
        call_id: &["CallInfo.CallId", "CallId"],
        room_id: &["CallInfo.RoomId", "RoomId"],
        operator: &["UserList[Status=Calling].User_Account"],
        decode: Some(|json| {
            read_flat::<StartCall, _>(
                json,
                |body| &mut body.call_info,
                |body| Body::Call(CallBody::StartCall(body)),
            )
        }),
        sample: sample!("call/start_call"),
        page: "647/68941",
        ..after("Call.CallbackAfterStartCall", Family::Call)
    },
    Command {
        call_id: &["CallRecord.CallId", "CallId"],
        room_id: &["CallRecord.RoomId", "RoomId"],
        operator: &["CallRecord.Caller_Account", "Caller_Account"],
        decode: Some(|json| {
            read_flat::<EndCall, _>(
                json,
                |body| &mut body.call_record,
                |body| Body::Call(CallBody::EndCall(body)),
            )
        }),
        sample: sample!("call/end_call"),
        page: "647/68940",
        ..after("Call.CallbackAfterEndCall", Family::Call)
    },
    Command {
        decode: Some(|json| read(json, |body| Body::Call(CallBody::MemberChanged(body)))),
        sample: sample!("call/member_changed"),
        page: "647/69215",
        ..after("Call.CallbackAfterMemberChanged", Family::Call)
    },
    Command {
        room_id: &["Callback.EventInfo.RoomId"],
        time: &[
            "EventTime",
            "Callback.EventInfo.EventMsTs",
            "Callback.EventInfo.EventTsMs",
            "Callback.CallbackTs",
            "Callback.CallbackMsTs",
            "Callback.EventInfo.EventTs",
        ],
        decode: Some(|json| read(json, |body| Body::Call(CallBody::RecordChanged(body)))),
        sample: sample!("call/record_changed"),
        page: "80345",
        ..after("Call.CallbackAfterRecordChanged", Family::Call)
    },
    Command {
        time: &["EventTime", "RoomInfo.CreateTime"],
        decode: Some(|json| read(json, |body| Body::Room(RoomBody::CreateRoom(body)))),
        sample: sample!("room/create_room"),
        page: "647/60733",
        ..after("Room.CallbackAfterCreateRoom", Family::Room)
    },
    Command {
        decode: Some(|json| read(json, |body| Body::Room(RoomBody::DestroyRoom(body)))),
        sample: sample!("room/destroy_room"),
        page: "647/60732",
        ..after("Room.CallbackAfterDestroyRoom", Family::Room)
    },
    Command {
        aliases: &["Room.CallbackUpdateRoomInfo"],
        decode: Some(|json| read(json, |body| Body::Room(RoomBody::UpdateRoomInfo(body)))),
        sample: sample!("room/update_room_info"),
        page: "647/60731",
        ..after("Room.CallbackAfterUpdateRoomInfo", Family::Room)
    },
    Command {
        decode: Some(|json| read(json, |body| Body::Room(RoomBody::MemberEnter(body)))),
        sample: sample!("room/member_enter"),
        page: "647/60735",
        ..after("Room.CallbackAfterMemberEnter", Family::Room)
    },
    Command {
        decode: Some(|json| read(json, |body| Body::Room(RoomBody::MemberLeave(body)))),
        sample: sample!("room/member_leave"),
        page: "647/60734",
        ..after("Room.CallbackAfterMemberLeave", Family::Room)
    },
    Command {
        decode: Some(|json| read(json, |body| Body::Mic(MicBody::SeatInfoChanged(body)))),
        sample: sample!("mic/seat_info_changed_room"),
        page: "647/60736",
        ..after("Mic.CallbackAfterSeatInfoChanged", Family::Mic)
    },
    Command {
        time: &["EventTime", "RoomInfo.EventTime", "RoomInfo.CreateTime"],
        decode: Some(|json| read(json, |body| Body::Live(LiveBody::CreateRoom(body)))),
        sample: sample!("live/create_room"),
        page: "647/64422",
        ..after("Live.CallbackAfterCreateRoom", Family::Live)
    },
    Command {
        decode: Some(|json| read(json, |body| Body::Live(LiveBody::DestroyRoom(body)))),
        sample: sample!("live/destroy_room"),
        page: "647/64423",
        ..after("Live.CallbackAfterDestroyRoom", Family::Live)
    },
    Command {
        decode: Some(|json| read(json, |body| Body::Live(LiveBody::UpdateRoomInfo(body)))),
        sample: sample!("live/update_room_info"),
        page: "647/67938",
        ..after("Live.CallbackAfterUpdateRoomInfo", Family::Live)
    },
    Command {
        decode: Some(|json| read(json, |body| Body::Live(LiveBody::SetMetadata(body)))),
        sample: sample!("live/set_metadata"),
        page: "647/68222",
        ..after("Live.CallbackAfterSetMetadata", Family::Live)
    },
    Command {
        decode: Some(|json| read(json, |body| Body::Live(LiveBody::DelMetadata(body)))),
        sample: sample!("live/del_metadata"),
        page: "647/68223",
        ..after("Live.CallbackAfterDelMetadata", Family::Live)
    },
    Command {
        decode: Some(|json| {
            read(json, |body| Body::Live(LiveBody::CreateRoomReachingThreshold(body)))
        }),
        sample: sample!("live/create_room_reaching_threshold"),
        page: "647/70485",
        ..after("Live.CallbackAfterCreateRoomReachingThreshold", Family::Live)
    },
    Command {
        aliases: &["Live.CallbackMemberStateChanged"],
        decode: Some(|json| read(json, |body| Body::Live(LiveBody::MemberStateChanged(body)))),
        sample: sample!("live/member_state_changed"),
        page: "647/64424",
        ..after("Live.CallbackAfterMemberStateChanged", Family::Live)
    },
    Command {
        decode: Some(|json| read(json, |body| Body::Live(LiveBody::ChangeOwner(body)))),
        sample: sample!("live/change_owner"),
        page: "647/72553",
        ..after("Live.CallbackAfterChangeOwner", Family::Live)
    },
    Command {
        decode: Some(|json| read(json, |body| Body::Live(LiveBody::ModifyAdmin(body)))),
        sample: sample!("live/modify_admin"),
        page: "647/72554",
        ..after("Live.CallbackAfterModifyAdmin", Family::Live)
    },
    Command {
        room_id: &["FromRoomId"],
        decode: Some(|json| read(json, |body| Body::Live(LiveBody::CreateBattle(body)))),
        sample: sample!("live/create_battle"),
        page: "647/68259",
        ..after("Live.CallbackAfterCreateBattle", Family::Live)
    },
    Command {
        room_id: &["FromRoomInfo.RoomId"],
        decode: Some(|json| read(json, |body| Body::Live(LiveBody::StartBattle(body)))),
        sample: sample!("live/start_battle"),
        page: "647/68260",
        ..after("Live.CallbackAfterStartBattle", Family::Live)
    },
    Command {
        room_id: &["FromRoomInfo.RoomId"],
        decode: Some(|json| read(json, |body| Body::Live(LiveBody::EndBattle(body)))),
        sample: sample!("live/end_battle"),
        page: "647/68261",
        ..after("Live.CallbackAfterEndBattle", Family::Live)
    },
    Command {
        operator: &["Operator_Account", "GiftWater.From_Account"],
        time: &["EventTime", "GiftWater.Time"],
        decode: Some(|json| read(json, |body| Body::Live(LiveBody::BeforeSendGift(body)))),
        sample: sample!("live/before_send_gift"),
        page: "647/72210",
        ..before("Live.CallbackBeforeSendGift", Family::Live)
    },
    Command {
        aliases: &["Follow.CallbackAfterCloudRecordingChanged"],
        room_id: &["EventInfo.RoomId"],
        time: &[
            "EventTime",
            "EventInfo.EventMsTs",
            "EventInfo.EventTsMs",
            "CallbackTs",
            "CallbackMsTs",
            "EventInfo.EventTs",
        ],
        decode: Some(|json| read(json, |body| Body::Live(LiveBody::CloudRecordingChanged(body)))),
        sample: sample!("live/cloud_recording_changed"),
        page: "647/78428",
        ..after("Live.CallbackAfterCloudRecordingChanged", Family::Live)
    },
    Command {
        room_id: &["GroupId"],
        decode: Some(|json| read(json, |body| Body::Group(GroupBody::BeforeSendMsg(body)))),
        sample: sample!("group/before_send_msg"),
        page: "74347",
        ..before("Group.CallbackBeforeSendMsg", Family::Group)
    },
    Command {
        room_id: &["GroupId"],
        time: &["EventTime", "MsgTime"],
        decode: Some(|json| read(json, |body| Body::Group(GroupBody::AfterSendMsg(body)))),
        sample: sample!("group/after_send_msg"),
        page: "74348",
        ..after("Group.CallbackAfterSendMsg", Family::Group)
    },
    Command {
        decode: Some(|json| read(json, |body| Body::Follow(FollowBody::FollowAdd(body)))),
        sample: sample!("follow/follow_add"),
        page: "70355",
        ..after("Follow.CallbackAfterFollowAdd", Family::Follow)
    },
    Command {
        decode: Some(|json| read(json, |body| Body::Follow(FollowBody::FollowDelete(body)))),
        sample: sample!("follow/follow_delete"),
        page: "70356",
        ..after("Follow.CallbackAfterFollowDelete", Family::Follow)
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::command::registry::*;

    #[test]
    fn names_and_aliases_are_unique_and_say_their_family() {
        let mut seen = HashSet::new();
        for command in Command::all() {
            if command.event_type.is_none() {
                assert_eq!(Family::of(command.name), command.family, "{}", command.name);
            }
            for name in command.aliases.iter().chain([&command.name]) {
                assert!(seen.insert(*name), "{name} stands twice");
                assert_eq!(Command::find(name).unwrap().name, command.name);
            }
        }
    }

    #[test]
    fn an_unknown_commands_kind_is_guessed_from_its_name() {
        for command in Command::all().filter(|command| command.event_type.is_none()) {
            let guessed = Command::unknown(command.name).kind;
            assert_eq!(guessed, command.kind, "{}", command.name);
        }
    }

    #[test]
    fn an_unlisted_command_keeps_its_family() {
        assert!(Command::find("Live.CallbackAfterSomethingNew").is_none());
        assert_eq!(Family::of("Live.CallbackAfterSomethingNew"), Family::Live);
        assert_eq!(Family::of("Gift.Sent"), Family::Unknown);
        assert_eq!(Family::of("?.Sent"), Family::Unknown);
        assert_eq!(Family::of("call_end"), Family::Unknown);
    }
}
