//! Conferences: one room, one or several sessions.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::simulate::people::Person;
use crate::simulate::rooms::{Family, Room};
use crate::simulate::rtc::plan::Publishing;
use crate::simulate::rtc::room::EngineRoom;
use crate::simulate::rtc::stay::{Exit, Role};
use crate::simulate::scenarios::rooms::sessions;
use crate::simulate::scenarios::seats::Seats;
use crate::simulate::scenarios::tasks::CloudTask;
use crate::simulate::script::Script;
use crate::time::UnixMillis;

/// Something that is going to happen to the member at this place, if it still can by then.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Comes in, with so many of the next ones.
    Enter(usize, usize),
    Leave(usize),
    Kick(usize),
    Expire(usize),
    TakeSeat(usize),
    LeaveSeat(usize),
    Mute(usize),
    LockSeat,
    Update,
}

/// A conference that is under way.
struct Conference {
    room: Room,
    /// Everybody who ever comes, the owner first.
    people: Vec<Person>,
    inside: BTreeSet<usize>,
    seats: Option<Seats>,
    /// Its room at the RTC Engine.
    engine: EngineRoom,
}

/// The sessions of one room, one after the other.
pub(crate) fn conference(script: &mut Script<'_>) {
    sessions(script, Family::Conference, (5, 60), one_session);
}

fn one_session(script: &mut Script<'_>, room: &Room) -> UnixMillis {
    let max = script.world.options.conference_members_max.max(1);
    let size = script.dice().place(max) + 1;
    let people = script.cast(size);
    let with_seats = script.dice().chance(0.6);
    let seats = with_seats.then(|| Seats::new(&room.id, false, 6));
    let (room, engine) = (room.clone(), EngineRoom::of_conference(&room.id));
    let mut session = Conference { room, people, inside: BTreeSet::new(), seats, engine };
    session.create(script);
    let tasks = CloudTask::of_conference(script, &session.room.id);
    let median = script.world.options.conference_length;
    let length = script.dice().part(median, 0.5, 1.5);
    for (after, step) in plan(script, session.people.len(), length) {
        script.at(after);
        session.take(script, step);
    }
    script.at(length);
    let speakers: Vec<&str> = session.people.iter().map(|person| person.account.as_str()).collect();
    for task in tasks {
        task.stop(script, &speakers);
    }
    session.end(script)
}

/// What everybody is going to do within `length`.
fn plan(script: &mut Script<'_>, size: usize, length: Duration) -> Vec<(Duration, Step)> {
    let dice = script.dice();
    let mut steps = vec![(dice.millis(200, 900), Step::Enter(0, 1))];
    let mut place = 1;
    while place < size {
        // Some come together.
        let party = if dice.chance(0.25) { (size - place).min(3) } else { 1 };
        let come = Duration::from_secs(1) + dice.part(length, 0.0, 0.4);
        steps.push((come, Step::Enter(place, party)));
        for member in place..place + party {
            let rest = length.saturating_sub(come);
            let gone = come + dice.part(rest, 0.4, 1.1);
            let step = match dice.number(0, 19) {
                0 => Step::Kick(member),
                1 | 2 => Step::Expire(member),
                _ => Step::Leave(member),
            };
            steps.push((gone, step));
            if dice.chance(0.15) {
                steps.push((gone + dice.part(rest, 0.0, 0.2), Step::Enter(member, 1)));
            }
            if dice.chance(0.4) {
                let sits = come + dice.part(rest, 0.0, 0.3);
                steps.push((sits, Step::TakeSeat(member)));
                steps.push((sits + dice.part(rest, 0.0, 0.3), Step::Mute(member)));
                steps.push((sits + dice.part(rest, 0.1, 0.5), Step::LeaveSeat(member)));
            }
        }
        place += party;
    }
    if dice.chance(0.4) {
        steps.push((dice.part(length, 0.1, 0.8), Step::Update));
    }
    if dice.chance(0.3) {
        steps.push((dice.part(length, 0.1, 0.8), Step::LockSeat));
    }
    // What would happen after the end does not.
    steps.retain(|(after, _)| *after < length);
    steps.sort_by_key(|(after, _)| *after);
    steps
}

impl Conference {
    fn create(&self, script: &mut Script<'_>) {
        let owner = &self.people[0];
        let scheduled = script.dice().chance(0.3);
        let by = if scheduled { Person::server() } else { owner.clone() };
        let now = script.now().as_secs();
        // The page's table and its sample name it differently.
        let room_type = if script.dice().chance(0.1) { "conference" } else { "Meeting" };
        let (end, status) = if scheduled { (now + 3600, "Running") } else { (0, "None") };
        let mut body = json!({
            "Operator_Account": by.account,
            "RoomInfo": {
                "RoomId": self.room.id,
                "RoomName": self.room.name,
                "RoomType": room_type,
                "Owner_Account": owner.account,
                "MaxMemberCount": 300,
                "MaxSeatCount": if self.seats.is_some() { 6 } else { 16 },
                "IsVideoDisabled": false,
                "IsAudioDisabled": false,
                "IsMessageDisabled": false,
                "IsScreenSharingDisabled": false,
                "IsCloudRecordingDisabled": true,
                "CustomInfo": "",
                "ScheduleStartTime": if scheduled { now } else { 0 },
                "ScheduleEndTime": end,
                "RoomStatus": status,
                "IsSeatEnabled": self.seats.is_some(),
                "TakeSeatMode": if self.seats.is_some() { "FreeToTake" } else { "None" },
                "CreateTime": now,
            },
        });
        if scheduled {
            let invited: Vec<&str> =
                self.people[1..].iter().map(|person| person.account.as_str()).collect();
            body["ScheduleInviteeList_Account"] = json!(invited);
        }
        script.send("Room.CallbackAfterCreateRoom", &by, body);
    }

    fn take(&mut self, script: &mut Script<'_>, step: Step) {
        match step {
            Step::Enter(place, party) => self.enter(script, place, party),
            Step::Leave(place) => self.leave(script, place, "Leave"),
            Step::Kick(place) => self.leave(script, place, "Kicked"),
            Step::Expire(place) => self.leave(script, place, "Expired"),
            Step::TakeSeat(place) | Step::LeaveSeat(place) | Step::Mute(place) => {
                let person = self.people[place].clone();
                let here = self.inside.contains(&place);
                let Some(seats) = self.seats.as_mut().filter(|_| here) else { return };
                match step {
                    Step::TakeSeat(_) => _ = seats.take(script, &person),
                    Step::LeaveSeat(_) => _ = seats.leave(script, &person),
                    _ => seats.mute(script, &person),
                }
            }
            Step::LockSeat => {
                let owner = self.people[0].clone();
                if let Some(seats) = &mut self.seats {
                    seats.lock(script, &owner);
                }
            }
            Step::Update => self.update(script),
        }
    }

    fn enter(&mut self, script: &mut Script<'_>, place: usize, party: usize) {
        let new = (place..place + party).filter(|place| !self.inside.contains(place));
        let new: Vec<usize> = new.collect();
        if new.is_empty() {
            return;
        }
        self.inside.extend(&new);
        for place in &new {
            let with_video = script.media().chance(0.7);
            let publishing = if with_video { Publishing::Video } else { Publishing::Voice };
            self.engine.enter(script, &self.people[*place], Role::Anchor, publishing);
        }
        let by = self.people[new[0]].clone();
        let body = self.members(&by, "Enter", &new);
        script.send("Room.CallbackAfterMemberEnter", &by, body);
    }

    fn leave(&mut self, script: &mut Script<'_>, place: usize, how: &str) {
        if !self.inside.contains(&place) {
            return;
        }
        let person = self.people[place].clone();
        if let Some(seats) = &mut self.seats {
            seats.leave(script, &person);
        }
        self.inside.remove(&place);
        let exit = match how {
            "Kicked" => Exit::Removed,
            "Expired" => Exit::Lost,
            _ => Exit::Left,
        };
        self.engine.leave(script, &person.account, exit);
        let by = if how == "Kicked" { self.people[0].clone() } else { person };
        let mut body = self.members(&by, how, &[place]);
        body["Reason"] = if how == "Kicked" { "not on the list" } else { "" }.into();
        script.send("Room.CallbackAfterMemberLeave", &by, body);
    }

    fn members(&self, by: &Person, how: &str, places: &[usize]) -> Value {
        let accounts = places.iter().map(|place| self.people[*place].account.as_str());
        let accounts: Vec<&str> = accounts.collect();
        json!({
            "Operator_Account": by.account,
            "RoomId": self.room.id,
            "MemberCount": self.inside.len(),
            "Type": how,
            "MemberList_Account": accounts,
        })
    }

    fn update(&self, script: &mut Script<'_>) {
        let owner = self.people[0].clone();
        // The older word lists' name now and then.
        let command = if script.dice().chance(0.2) {
            "Room.CallbackUpdateRoomInfo"
        } else {
            "Room.CallbackAfterUpdateRoomInfo"
        };
        let body = json!({ "Operator_Account": owner.account, "RoomInfo": {
            "RoomId": self.room.id,
            "RoomName": format!("{}, part 2", self.room.name),
            "IsAudioDisabled": true,
        }});
        script.send(command, &owner, body);
    }

    /// Either all leave and the room is dissolved, or it is dissolved over the heads of those who are still there. Tells when it
    /// is gone at the RTC Engine, too.
    fn end(&mut self, script: &mut Script<'_>) -> UnixMillis {
        if script.dice().chance(0.5) {
            for place in self.inside.clone() {
                let pause = script.dice().millis(200, 2000);
                script.wait(pause);
                self.leave(script, place, "Leave");
            }
        }
        let pause = script.dice().millis(100, 500);
        script.wait(pause);
        let owner = self.people[0].clone();
        let body = json!({ "Operator_Account": owner.account, "RoomId": self.room.id });
        script.send("Room.CallbackAfterDestroyRoom", &owner, body);
        self.engine.dismiss(script)
    }
}
