//! What calls between two and calls among several share.

use std::time::Duration;

use serde_json::{Value, json};

use crate::simulate::dice::Dice;
use crate::simulate::people::Person;
use crate::simulate::rtc::plan::Publishing;
use crate::simulate::rtc::room::EngineRoom;
use crate::simulate::rtc::stay::{Exit, Role};
use crate::simulate::script::Script;

/// How long a client rings before it gives up.
pub(crate) const RING_MAX: Duration = Duration::from_secs(30);

/// What somebody did in a call, or what was done to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Accept,
    Reject,
    NotAnswer,
    HangUp,
    Join,
    Offline,
    Invite,
    CancelInvite,
}

impl Action {
    /// The usual spelling; now and then another of those that the vendor's pages print.
    fn spelled(self, dice: &mut Dice) -> &'static str {
        let spellings: &[&str] = match self {
            Self::Accept => &["Accept", "Answer"],
            Self::Reject => &["Reject"],
            Self::NotAnswer => &["NotAnswer"],
            Self::HangUp => &["Hangup", "HangUp", "Hang Up"],
            Self::Join => &["Join"],
            Self::Offline => &["Offline"],
            Self::Invite => &["Invite", "Invited"],
            Self::CancelInvite => &["Cancel_Invite", "Canncel_Invite"],
        };
        if dice.chance(0.1) { dice.word(spellings) } else { spellings[0] }
    }
}

/// A call that is under way.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) room: String,
    pub(crate) caller: Person,
    /// In s since 1970.
    started: i64,
    /// In s since 1970; 0 until somebody took it.
    pub(crate) accepted: i64,
    medium: &'static str,
    multi: bool,
    /// Everybody who was in it, the caller first.
    pub(crate) everybody: Vec<String>,
    /// Its room at the RTC Engine.
    pub(crate) engine: EngineRoom,
}

impl Call {
    /// Starts it: `callees` are rung from now on.
    pub(crate) fn start(
        script: &mut Script<'_>,
        caller: &Person,
        callees: &[Person],
        multi: bool,
    ) -> Self {
        let names = &mut script.world.names;
        let (id, room) = (names.uuid(), names.number(1_000_000_000, 2_147_483_647).to_string());
        let medium = if script.dice().chance(0.55) { "Video" } else { "Audio" };
        let group = if multi && script.dice().chance(0.8) {
            format!("@TGS#_team-{}", script.dice().number(1, 9))
        } else {
            String::new()
        };
        // The page's table and its sample name it differently.
        let key = if script.dice().chance(0.1) { "MediaType" } else { "CallMediaType" };
        let mut info = json!({ "CallId": id });
        info[key] = medium.into();
        info["ChatGroupId"] = group.into();
        info["RoomId"] = room.as_str().into();
        info["RoomIdType"] = 1.into();
        let mut users =
            vec![json!({ "User_Account": caller.sent(script.dice()), "Status": "Calling" })];
        for callee in callees {
            users.push(json!({ "User_Account": callee.sent(script.dice()), "Status": "Waiting" }));
        }
        let started = script.now().as_secs();
        let body = json!({ "CallInfo": info, "UserList": users });
        script.send("Call.CallbackAfterStartCall", caller, body);
        let people = std::iter::once(caller).chain(callees);
        let everybody = people.map(|person| person.account.clone()).collect();
        let engine = EngineRoom::of_call(&room);
        let caller = caller.clone();
        Self { id, room, caller, started, accepted: 0, medium, multi, everybody, engine }
    }

    /// Somebody enters its room.
    pub(crate) fn enter(&mut self, script: &mut Script<'_>, person: &Person) {
        let publishing = if self.medium == "Video" { Publishing::Video } else { Publishing::Voice };
        self.engine.enter(script, person, Role::Anchor, publishing);
    }

    /// Tells of changes; `users` are those who are in it now.
    pub(crate) fn change(
        &mut self,
        script: &mut Script<'_>,
        users: &[(&Person, bool)],
        changed: &[(&Person, Action)],
    ) {
        let Some((by, action)) = changed.first() else { return };
        if self.accepted == 0 && matches!(action, Action::Accept | Action::Join) {
            self.accepted = script.now().as_secs();
        }
        for (person, action) in changed {
            match action {
                Action::Accept | Action::Join => self.enter(script, person),
                Action::HangUp => self.engine.leave(script, &person.account, Exit::Left),
                Action::Offline => self.engine.leave(script, &person.account, Exit::Lost),
                _ => {}
            }
        }
        let user = |(person, calling): &(&Person, bool)| {
            let status = if *calling { "Calling" } else { "Waiting" };
            json!({ "User_Account": person.account, "Status": status })
        };
        let users: Vec<Value> = users.iter().map(user).collect();
        let mut list = Vec::new();
        for (person, action) in changed {
            let action = action.spelled(script.dice());
            list.push(json!({ "User_Account": person.account, "ActionType": action }));
        }
        let body = json!({ "CallId": self.id, "UserList": users, "ChangedUserList": list });
        script.send("Call.CallbackAfterMemberChanged", by, body);
    }

    /// It is over, and all go who are still in its room.
    pub(crate) fn end(&mut self, script: &mut Script<'_>, by: &Person, result: &str) {
        let body = json!({ "CallRecord": {
            "CallId": self.id,
            "Caller_Account": self.caller.account,
            "MediaType": self.medium,
            "CallType": if self.multi { "MultiCall" } else { "SingleCall" },
            "StartTime": self.started,
            "EndTime": script.now().as_secs(),
            "AcceptTime": self.accepted,
            "CallResult": result,
            "CalleeList_Account": self.everybody,
            "RoomId": self.room,
            "RoomIdType": 1,
        }});
        script.send("Call.CallbackAfterEndCall", by, body);
        for account in self.everybody.clone() {
            self.engine.leave(script, &account, Exit::Left);
        }
    }
}

/// The moment between a cause and what it brings about.
pub(crate) fn soon(script: &mut Script<'_>) {
    let pause = script.dice().millis(20, 200);
    script.wait(pause);
}
