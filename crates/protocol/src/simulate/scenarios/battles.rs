//! Battles between live rooms.

use std::time::Duration;

use serde_json::{Value, json};

use crate::simulate::people::Person;
use crate::simulate::rooms::Family;
use crate::simulate::rtc::stay::Exit;
use crate::simulate::scenarios::stage::Stage;
use crate::simulate::script::Script;

/// The stages of a battle, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The rivals go live.
    Rivals,
    /// It is proposed to them.
    Propose,
    Start,
    End,
    /// The rivals go.
    Part,
}

/// How it ends: the vendor's numbers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    TimeUp = 0,
    OwnersLeft = 1,
    NobodyJoined = 2,
}

/// A battle that a live room proposes to one or two others.
#[derive(Debug)]
pub(crate) struct Battle {
    id: String,
    outcome: Outcome,
    rivals: Vec<Stage>,
    /// As the vendor tells it, in ms of the deliveries.
    duration: i64,
    timeout: i64,
    created: i64,
    started: i64,
    /// What the room had got before, in coins.
    coins_before: u64,
}

/// How often a room at the RTC Engine is dismissed when the show is over; else all go by themselves.
pub(crate) const DISMISSED: f64 = 0.6;
/// How long the rivals have to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Battle {
    /// Plans one within a show of this length: what happens, and when.
    pub(crate) fn plan(script: &mut Script<'_>, show: Duration) -> (Self, Vec<(Duration, Turn)>) {
        let outcome = match script.dice().number(0, 9) {
            0..=6 => Outcome::TimeUp,
            7 => Outcome::OwnersLeft,
            _ => Outcome::NobodyJoined,
        };
        let proposed = script.dice().part(show, 0.3, 0.45);
        let length = show.mul_f64(0.25).min(Duration::from_mins(5));
        let timeout = TIMEOUT.min(show.mul_f64(0.1));
        let mut turns = vec![(show.mul_f64(0.2), Turn::Rivals), (proposed, Turn::Propose)];
        let ended = if outcome == Outcome::NobodyJoined {
            proposed + timeout
        } else {
            let started = proposed + script.dice().part(timeout, 0.1, 0.9);
            turns.push((started, Turn::Start));
            let share = if outcome == Outcome::OwnersLeft { 0.5 } else { 1.0 };
            started + length.mul_f64(share)
        };
        turns.push((ended, Turn::End));
        turns.push((ended + script.dice().part(show, 0.01, 0.1), Turn::Part));
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let battle = Self {
            id: id(script),
            outcome,
            rivals: Vec::new(),
            duration: millis(script.compressed(length)).max(1),
            timeout: millis(script.compressed(timeout)).max(1),
            created: 0,
            started: 0,
            coins_before: 0,
        };
        (battle, turns)
    }

    pub(crate) fn take(&mut self, script: &mut Script<'_>, turn: Turn, home: &mut Stage) {
        match turn {
            Turn::Rivals => self.open_rivals(script),
            Turn::Propose => self.propose(script, home),
            Turn::Start => self.start(script, home),
            Turn::End => self.end(script, home),
            Turn::Part => self.close_rivals(script),
        }
    }

    fn open_rivals(&mut self, script: &mut Script<'_>) {
        let count = if script.dice().chance(0.25) { 2 } else { 1 };
        for _ in 0..count {
            let room = script.world.rooms.take(Family::Show, script.now(), true);
            let owner = Person::host(room.number);
            let mut rival = Stage::open(script, room, owner);
            for viewer in script.cast(2) {
                rival.presence(script, &[&viewer], "Enter");
            }
            self.rivals.push(rival);
        }
    }

    fn close_rivals(&mut self, script: &mut Script<'_>) {
        for mut rival in self.rivals.drain(..) {
            let dismissed = script.media().chance(DISMISSED);
            let closed = rival.close(script, false, dismissed);
            let end = script.now().max(closed);
            script.world.rooms.give_back(&rival.room, end);
        }
    }

    fn propose(&mut self, script: &mut Script<'_>, home: &Stage) {
        self.created = script.now().as_secs();
        let rivals: Vec<&str> = self.rivals.iter().map(|rival| rival.room.id.as_str()).collect();
        let body = json!({
            "Operator_Account": home.owner.account,
            "BattleId": self.id,
            "FromRoomId": home.room.id,
            "ToRoomIdList": rivals,
            "Timeout": self.timeout,
            "Duration": self.duration,
            "NeedResponse": true,
            "ExtensionInfo": "",
        });
        script.send("Live.CallbackAfterCreateBattle", &home.owner, body);
    }

    /// The anchors are linked: each is in the others' rooms, too.
    fn start(&mut self, script: &mut Script<'_>, home: &mut Stage) {
        self.started = script.now().as_secs();
        self.coins_before = home.coins;
        let room = |stage: &Stage| json!({ "RoomId": stage.room.id, "Owner_Account": stage.owner.account });
        let rivals: Vec<Value> = self.rivals.iter().map(room).collect();
        let body = json!({
            "BattleId": self.id,
            "Duration": self.duration,
            "CreateTime": self.created,
            "StartTime": self.started,
            "FromRoomInfo": room(home),
            "ToRoomList": rivals,
        });
        script.send("Live.CallbackAfterStartBattle", &home.owner, body);
        for rival in &mut self.rivals {
            home.engine.link(script, &rival.host);
            rival.engine.link(script, &home.host);
        }
    }

    /// The home room's score is what it was given meanwhile; the rivals' is made up.
    fn end(&mut self, script: &mut Script<'_>, home: &mut Stage) {
        let fought = self.outcome != Outcome::NobodyJoined;
        let room = |stage: &Stage, score: u64| {
            json!({
                "RoomId": stage.room.id,
                "Score": if fought { score } else { 0 },
                "Owner_Account": stage.owner.account,
            })
        };
        let mut rivals = Vec::new();
        for rival in &self.rivals {
            rivals.push(room(rival, script.dice().number(0, 400)));
        }
        let body = json!({
            "BattleId": self.id,
            "Duration": self.duration,
            "CreateTime": self.created,
            "StartTime": self.started,
            "EndTime": script.now().as_secs(),
            "OpType": self.outcome as u8,
            "FromRoomInfo": room(home, home.coins - self.coins_before),
            "ToRoomList": rivals,
        });
        script.send("Live.CallbackAfterEndBattle", &home.owner, body);
        if fought {
            for rival in &mut self.rivals {
                home.engine.leave(script, &rival.host.account, Exit::Unlinked);
                rival.engine.leave(script, &home.host.account, Exit::Unlinked);
            }
        }
    }
}

/// 32 random bytes in base64, as the vendor's look.
fn id(script: &mut Script<'_>) -> String {
    use base64::Engine;
    let names = &mut script.world.names;
    let halves = [names.uuid(), names.uuid()].concat().replace('-', "");
    base64::engine::general_purpose::STANDARD.encode(&halves.as_bytes()[..32])
}
