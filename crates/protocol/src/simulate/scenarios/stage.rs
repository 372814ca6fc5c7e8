//! One live room: created, visited, given gifts, dissolved.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::simulate::people::Person;
use crate::simulate::rooms::Room;
use crate::simulate::rtc::plan::Publishing;
use crate::simulate::rtc::room::EngineRoom;
use crate::simulate::rtc::stay::{Exit, Role};
use crate::simulate::script::Script;
use crate::time::UnixMillis;

const GIFTS: [(&str, u64); 5] =
    [("rose", 1), ("heart", 5), ("star", 20), ("rocket", 500), ("castle", 2000)];
const LINES: [&str; 10] = [
    "Good evening!",
    "hello from Lisbon",
    "louder please",
    "😂😂😂",
    "first time here, great show",
    "what song is this?",
    "晚上好",
    "gg",
    "can you show that again?",
    "❤️",
];

/// A live room, and what its last event tells of it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) room: Room,
    pub(crate) owner: Person,
    /// Who is on air: the first owner.
    pub(crate) host: Person,
    /// How often somebody came in.
    entries: u64,
    gifts: u64,
    /// What the gifts were worth in all.
    pub(crate) coins: u64,
    senders: BTreeSet<String>,
    messages: u64,
    /// Its room at the RTC Engine.
    pub(crate) engine: EngineRoom,
}

impl Stage {
    /// Creates the room, and the owner goes on air.
    pub(crate) fn open(script: &mut Script<'_>, room: Room, owner: Person) -> Self {
        let body = json!({
            "Operator_Account": owner.account,
            "RoomInfo": {
                "RoomId": room.id,
                "RoomName": room.name,
                "Owner_Account": owner.account,
                "CustomInfo": "",
                "CoverURL": format!("https://img.example.com/cover/{}.png", room.id),
                "RoomType": "Live",
                "MaxMemberCount": 100_000,
                "MaxSeatCount": 8,
                "IsMessageDisabled": false,
                "IsSeatEnabled": true,
                "IsPublicVisible": true,
                "TakeSeatMode": "ApplyToTake",
                "CreateTime": script.now().as_secs(),
                "Category": [room.number % 5 + 1],
            },
        });
        script.send("Live.CallbackAfterCreateRoom", &owner, body);
        let mut engine = EngineRoom::of_show(&room.id);
        engine.enter(script, &owner, Role::Anchor, Publishing::Video);
        let senders = BTreeSet::new();
        let host = owner.clone();
        Self { room, owner, host, entries: 0, gifts: 0, coins: 0, senders, messages: 0, engine }
    }

    /// Viewers come or go, for one `cause`.
    pub(crate) fn presence(
        &mut self,
        script: &mut Script<'_>,
        viewers: &[&Person],
        cause: &'static str,
    ) {
        let Some(first) = viewers.first() else { return };
        if cause == "Enter" {
            self.entries += viewers.iter().map(|_| 1).sum::<u64>();
        }
        for viewer in viewers {
            let engine = &mut self.engine;
            match cause {
                "Enter" => engine.enter(script, viewer, Role::Audience, Publishing::Nothing),
                "HeartbeatRecover" => engine.recover(script, viewer),
                "HeartbeatInterrupt" => engine.leave(script, &viewer.account, Exit::Lost),
                "Kicked" => engine.leave(script, &viewer.account, Exit::Removed),
                _ => engine.leave(script, &viewer.account, Exit::Left),
            }
        }
        let online = matches!(cause, "Enter" | "HeartbeatRecover");
        let mut members = Vec::new();
        for viewer in viewers {
            members.push(json!({ "Member_Account": viewer.sent(script.dice()) }));
        }
        // The parameter table's name now and then.
        let command = if script.dice().chance(0.03) {
            "Live.CallbackMemberStateChanged"
        } else {
            "Live.CallbackAfterMemberStateChanged"
        };
        let body = json!({
            "RoomId": self.room.id,
            "EventType": if online { "Online" } else { "Offline" },
            "EventCause": cause,
            "MemberList": members,
        });
        script.send(command, first, body);
    }

    /// Asks whether a viewer may send a gift. Coins are what one of it is worth.
    pub(crate) fn gift(&mut self, script: &mut Script<'_>, from: &Person) {
        let dear = script.dice().chance(0.1);
        let (gift, price) = GIFTS[if dear { 3 } else { 0 } + script.dice().place(2)];
        let count = if dear { 1 } else { script.dice().number(1, 9) };
        self.gifts += count;
        self.coins += count * price;
        self.senders.insert(from.account.clone());
        let body = json!({
            "Operator_Account": from.account,
            "RoomId": self.room.id,
            "GiftWater": {
                "From_Account": from.account,
                "To_Account": [self.owner.account],
                "Time": script.now().as_secs(),
                "GiftId": gift,
                "Count": count,
                "Coins": price,
            },
        });
        script.send_untimed("Live.CallbackBeforeSendGift", from, body);
    }

    /// A viewer writes: the vendor asks first, and then tells.
    pub(crate) fn message(&mut self, script: &mut Script<'_>, from: &Person) {
        let text = script.dice().word(&LINES);
        let random = script.dice().number(0, u64::from(u32::MAX));
        self.messages += 1;
        let message = |now: i64| {
            json!({
                "GroupId": self.room.id,
                "Type": "Live",
                "From_Account": from.account,
                "Operator_Account": from.account,
                "Random": random,
                "OnlineOnlyFlag": 0,
                "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }],
                "CloudCustomData": "",
                // A text, in both samples.
                "EventTime": now.to_string(),
            })
        };
        let mut before = message(script.now().0);
        let seconds = script.now().as_secs();
        before["MsgId"] = format!("{}-{seconds}-{random}", self.room.id).into();
        script.send("Group.CallbackBeforeSendMsg", from, before);
        let mut after = message(script.now().0);
        after["MsgSeq"] = self.messages.into();
        after["MsgTime"] = script.now().as_secs().into();
        script.send("Group.CallbackAfterSendMsg", from, after);
    }

    /// Dissolves the room, without an event of the kit for those still in it. At the RTC Engine they are put out, or go by
    /// themselves where that room is not `dismissed`; tells when that one is gone.
    pub(crate) fn close(
        &mut self,
        script: &mut Script<'_>,
        by_system: bool,
        dismissed: bool,
    ) -> UnixMillis {
        let (by, kind) = if by_system {
            (Person::vendor(), "DestroyBySystem")
        } else {
            (self.owner.clone(), "DestroyByUser")
        };
        let likes = script.dice().number(0, 20 * self.entries);
        let body = json!({
            "Operator_Account": by.account,
            "RoomId": self.room.id,
            "EventType": kind,
            "RoomInfo": {
                "RoomName": self.room.name,
                "RoomType": "Live",
                "CustomInfo": "",
                "CoverURL": format!("https://img.example.com/cover/{}.png", self.room.id),
                "BackgroundURL": "",
                "Owner_Account": self.owner.sent(script.dice()),
                "IsSeatEnabled": true,
                "IsMessageDisabled": false,
                "IsPublicVisible": true,
                "IsUnlimitedRoomEnabled": false,
                "TakeSeatMode": "ApplyToTake",
                "MaxMemberCount": 100_000,
                "MaxSeatCount": 8,
                "ActivityStatus": 0,
                "ViewCount": self.entries,
                "Category": [self.room.number % 5 + 1],
            },
            "Statistic": {
                "TotalViewers": self.entries,
                "TotalGiftsSent": self.gifts,
                "TotalGiftCoins": self.coins,
                "TotalUniqueGiftSenders": self.senders.len(),
                "TotalLikesReceived": likes,
            },
        });
        script.send("Live.CallbackAfterDestroyRoom", &by, body);
        if dismissed { self.engine.dismiss(script) } else { self.engine.close(script) }
    }

    /// Somebody acts on the room: `Operator_Account` and `RoomId`, and what `more` says.
    pub(crate) fn act(
        &self,
        script: &mut Script<'_>,
        command: &'static str,
        by: &Person,
        more: Value,
    ) {
        let mut body = json!({ "Operator_Account": by.account, "RoomId": self.room.id });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        script.send(command, by, body);
    }
}
