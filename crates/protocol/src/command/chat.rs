//! The Chat commands that share the protocol: known by name and kind, stored untyped. Source: 1047/34355.

use crate::command::description::{Command, Family, Kind};

/// The rows of the registry for commands without a typed body.
pub(crate) static COMMANDS: &[Command] = &[
    after("Alert.RequestOverLimit", Family::Alert),
    Command {
        operator: &["Info.To_Account"],
        sample: Some(include_str!("../../fixtures/chat/state_change.json")),
        page: "1047/34357",
        ..after("State.StateChange", Family::State)
    },
    after("Profile.CallbackPortraitSet", Family::Profile),
    before("Sns.CallbackPrevFriendAdd", Family::Sns),
    before("Sns.CallbackPrevFriendResponse", Family::Sns),
    after("Sns.CallbackFriendAdd", Family::Sns),
    after("Sns.CallbackFriendDelete", Family::Sns),
    after("Sns.CallbackBlackListAdd", Family::Sns),
    after("Sns.CallbackBlackListDelete", Family::Sns),
    before("C2C.CallbackBeforeSendMsg", Family::C2c),
    after("C2C.CallbackAfterSendMsg", Family::C2c),
    after("C2C.CallbackAfterMsgReport", Family::C2c),
    after("C2C.CallbackAfterMsgWithDraw", Family::C2c),
    after("C2C.CallbackAfterC2CMsgExtension", Family::C2c),
    after("C2C.CallbackAfterMsgReadAll", Family::C2c),
    Command { page: "269/128224", ..after("C2C.CallbackAfterModifyMsg", Family::C2c) },
    Command { page: "269/128223", ..after("C2C.CallbackAfterMsgReadReceipt", Family::C2c) },
    group(before("Group.CallbackBeforeCreateGroup", Family::Group)),
    group(after("Group.CallbackAfterCreateGroup", Family::Group)),
    group(before("Group.CallbackBeforeApplyJoinGroup", Family::Group)),
    group(before("Group.CallbackBeforeInviteJoinGroup", Family::Group)),
    group(after("Group.CallbackAfterNewMemberJoin", Family::Group)),
    group(after("Group.CallbackAfterMemberExit", Family::Group)),
    group(after("Group.CallbackAfterGroupFull", Family::Group)),
    group(after("Group.CallbackAfterGroupDestroyed", Family::Group)),
    group(after("Group.CallbackAfterGroupInfoChanged", Family::Group)),
    group(after("Group.CallbackOnMemberStateChange", Family::Group)),
    group(after("Group.CallbackSendMsgException", Family::Group)),
    group(after("Group.CallbackAfterRecallMsg", Family::Group)),
    group(Command { page: "269/129193", ..after("Group.CallbackAfterModifyMsg", Family::Group) }),
    group(before("Group.CallbackBeforeCreateTopic", Family::Group)),
    group(after("Group.CallbackAfterCreateTopic", Family::Group)),
    group(after("Group.CallbackAfterTopicDestroyed", Family::Group)),
    group(after("Group.CallbackAfterTopicInfoChanged", Family::Group)),
    group(after("Group.CallbackAfterMemberFieldChanged", Family::Group)),
    group(after("Group.CallbackAfterGroupAttrChanged", Family::Group)),
    group(after("Group.CallbackAfterReadReceipt", Family::Group)),
    group(after("Group.CallbackAfterChangeGroupOwner", Family::Group)),
    group(after("Group.CallbackOnDailyGroupQuotaAlarm", Family::Group)),
    group(after("Group.CallbackAfterGroupMsgExtension", Family::Group)),
    after("Bot.OnC2CMessage", Family::Bot),
    group(after("Bot.OnGroupMessage", Family::Bot)),
    after("Chatbot.OnC2CSignalMessage", Family::Chatbot),
    // Its body has no `CallbackCommand`: the query's counts.
    after("ContentCallback.ResultNotify", Family::Content),
    before("OfficialAccount.CallbackBeforeCreateOfficialAccount", Family::OfficialAccount),
    after("OfficialAccount.CallbackAfterCreateOfficialAccount", Family::OfficialAccount),
    after("OfficialAccount.CallbackAfterOfficialAccountInfoChanged", Family::OfficialAccount),
    after("OfficialAccount.CallbackAfterOfficialAccountDestroyed", Family::OfficialAccount),
    before("OfficialAccount.CallbackBeforeAddSubscriber", Family::OfficialAccount),
    after("OfficialAccount.CallbackAfterAddSubscriber", Family::OfficialAccount),
    after("OfficialAccount.CallbackAfterOfficialAccountFull", Family::OfficialAccount),
    after("OfficialAccount.CallbackAfterDeleteSubscriber", Family::OfficialAccount),
    before("OfficialAccount.CallbackBeforeSendMsg", Family::OfficialAccount),
    after("OfficialAccount.CallbackAfterSendMsg", Family::OfficialAccount),
    after("OfficialAccount.CallbackAfterMsgWithDraw", Family::OfficialAccount),
    batch(after("Push.OfflinePush", Family::Push)),
    batch(after("Push.AllMemberPush", Family::Push)),
];

const fn after(name: &'static str, family: Family) -> Command {
    Command { page: "1047/34355", ..Command::untyped(name, family, Kind::After) }
}

const fn before(name: &'static str, family: Family) -> Command {
    Command { page: "1047/34355", ..Command::untyped(name, family, Kind::Before) }
}

/// A live room is a group at the vendor, so the group's id is where to look a room up.
const fn group(command: Command) -> Command {
    Command { room_id: &["GroupId"], ..command }
}

/// Its body is a batch of up to 100 events; it is kept whole, at its first event's time.
const fn batch(command: Command) -> Command {
    Command { time: &["EventTime", "Events[0].EventTime"], ..command }
}
