//! Live shows: one room, one or several sessions, with viewers, gifts, messages, seats and battles.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::simulate::people::Person;
use crate::simulate::rooms::{Family, Room};
use crate::simulate::rtc::stay::{Exit, Role};
use crate::simulate::scenarios::battles::{Battle, DISMISSED, Turn};
use crate::simulate::scenarios::recordings::ShowRecording;
use crate::simulate::scenarios::rooms::sessions;
use crate::simulate::scenarios::seats::Seats;
use crate::simulate::scenarios::stage::Stage;
use crate::simulate::scenarios::tasks::CloudTask;
use crate::simulate::script::Script;
use crate::time::UnixMillis;

/// Something that is going to happen in a show, if it still can by then. The numbers are viewers.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Comes in, with so many of the next ones.
    Enter(usize, usize),
    /// Goes for this cause, or comes back for it.
    Gone(usize, &'static str),
    Recover(usize),
    Gift,
    Message,
    Follow(usize),
    Unfollow(usize),
    TakeSeat(usize),
    Mute(usize),
    LeaveSeat(usize),
    Update,
    SetMetadata,
    DelMetadata,
    AddAdmin(usize),
    DelAdmin(usize),
    ChangeOwner(usize),
    Battle(Turn),
}

/// A show that is under way.
struct Show {
    stage: Stage,
    /// Everybody who ever comes, the host aside.
    viewers: Vec<Person>,
    online: BTreeSet<usize>,
    seats: Seats,
    battle: Option<Battle>,
}

/// The sessions of one room, one after the other.
pub(crate) fn show(script: &mut Script<'_>) {
    sessions(script, Family::Show, (10, 120), one_session);
}

fn one_session(script: &mut Script<'_>, room: &Room) -> UnixMillis {
    let median = script.world.options.show_length;
    let length = script.dice().part(median, 0.6, 1.4);
    let viewers = script.world.options.viewers;
    let viewers = viewers - script.dice().place(viewers / 2 + 1);
    let viewers = script.cast(viewers);
    let host = Person::host(room.number);
    let mut steps = plan(script, viewers.len(), length);
    let mut battle = None;
    if script.dice().chance(0.5) {
        let (planned, turns) = Battle::plan(script, length);
        steps.extend(turns.into_iter().map(|(after, turn)| (after, Step::Battle(turn))));
        battle = Some(planned);
    }
    steps.sort_by_key(|(after, _)| *after);

    let seats = Seats::new(&room.id, true, 4);
    let stage = Stage::open(script, room.clone(), host);
    let mut show = Show { stage, viewers, online: BTreeSet::new(), seats, battle };
    let recorded = script.is_recorded();
    let recording = recorded.then(|| ShowRecording::start(script, &mut show.stage));
    let tasks = CloudTask::of_show(script, &room.id);
    for (after, step) in steps {
        script.at(after);
        show.take(script, step);
    }
    script.at(length);
    for task in tasks {
        task.stop(script, &[]);
    }
    // The recorder says that it was.
    let dismissed = recording.is_some() || script.media().chance(DISMISSED);
    let closed = show.end(script, dismissed);
    if let Some(recording) = recording {
        recording.stop(script);
    }
    closed
}

/// What the viewers and the host are going to do within `length`.
fn plan(script: &mut Script<'_>, viewers: usize, length: Duration) -> Vec<(Duration, Step)> {
    let mut steps = Vec::new();
    let mut place = 0;
    while place < viewers {
        // Some come in the same moment.
        let party = if script.dice().chance(0.2) { (viewers - place).min(3) } else { 1 };
        // Most come early.
        let come = script.dice().part(length, 0.0, 0.9);
        let come = script.dice().part(come, 0.2, 1.0);
        steps.push((come, Step::Enter(place, party)));
        for viewer in place..place + party {
            visit(script, viewer, come, length, &mut steps);
        }
        place += party;
    }
    let dice = script.dice();
    for _ in 0..viewers {
        steps.push((dice.part(length, 0.05, 1.0), Step::Message));
        if dice.chance(0.6) {
            steps.push((dice.part(length, 0.1, 1.0), Step::Gift));
        }
    }
    if dice.chance(0.6) {
        steps.push((dice.part(length, 0.05, 0.4), Step::SetMetadata));
        steps.push((dice.part(length, 0.5, 0.9), Step::DelMetadata));
    }
    if dice.chance(0.4) && viewers > 0 {
        let admin = dice.place(viewers);
        steps.push((dice.part(length, 0.1, 0.4), Step::AddAdmin(admin)));
        steps.push((dice.part(length, 0.5, 0.9), Step::DelAdmin(admin)));
    }
    if dice.chance(0.1) && viewers > 0 {
        steps.push((dice.part(length, 0.5, 0.9), Step::ChangeOwner(dice.place(viewers))));
    }
    if dice.chance(0.4) {
        steps.push((dice.part(length, 0.1, 0.9), Step::Update));
    }
    // What would happen after the end does not.
    steps.retain(|(after, _)| *after < length);
    steps
}

/// What one viewer does, from coming in at `come`.
fn visit(
    script: &mut Script<'_>,
    viewer: usize,
    come: Duration,
    length: Duration,
    steps: &mut Vec<(Duration, Step)>,
) {
    let rest = length.saturating_sub(come);
    let dice = script.dice();
    let gone = come + dice.part(rest, 0.1, 1.3);
    match dice.number(0, 19) {
        0 => steps.push((gone, Step::Gone(viewer, "Kicked"))),
        1 | 2 => {
            steps.push((gone, Step::Gone(viewer, "HeartbeatInterrupt")));
            if dice.chance(0.6) {
                let back = gone + dice.seconds(10, 60).min(rest);
                steps.push((back, Step::Recover(viewer)));
                steps.push((back + dice.part(rest, 0.1, 0.6), Step::Gone(viewer, "Leave")));
            }
        }
        3 => {
            steps.push((gone, Step::Gone(viewer, "Leave")));
            steps.push((gone + dice.part(rest, 0.05, 0.3), Step::Enter(viewer, 1)));
        }
        _ => steps.push((gone, Step::Gone(viewer, "Leave"))),
    }
    if dice.chance(0.12) {
        let at = come + dice.part(rest, 0.1, 0.6);
        steps.push((at, Step::Follow(viewer)));
        if dice.chance(0.2) {
            steps.push((at + dice.part(rest, 0.05, 0.3), Step::Unfollow(viewer)));
        }
    }
    if dice.chance(0.05) {
        let sits = come + dice.part(rest, 0.05, 0.3);
        steps.push((sits, Step::TakeSeat(viewer)));
        steps.push((sits + dice.part(rest, 0.0, 0.2), Step::Mute(viewer)));
        steps.push((sits + dice.part(rest, 0.1, 0.5), Step::LeaveSeat(viewer)));
    }
}

impl Show {
    fn take(&mut self, script: &mut Script<'_>, step: Step) {
        match step {
            Step::Enter(viewer, party) => self.enter(script, viewer, party),
            Step::Gone(viewer, cause) => self.gone(script, viewer, cause),
            Step::Recover(viewer) => {
                if self.online.insert(viewer) {
                    self.stage.presence(script, &[&self.viewers[viewer]], "HeartbeatRecover");
                }
            }
            Step::Gift | Step::Message => self.cheer(script, step),
            Step::Follow(viewer) | Step::Unfollow(viewer) => self.follow(script, viewer, step),
            Step::TakeSeat(viewer) if self.online.contains(&viewer) => {
                let viewer = &self.viewers[viewer];
                if self.seats.take(script, viewer) {
                    self.stage.engine.change_role(script, viewer, Role::Anchor);
                }
            }
            Step::TakeSeat(_) => {}
            Step::Mute(viewer) => self.seats.mute(script, &self.viewers[viewer]),
            Step::LeaveSeat(viewer) => {
                let viewer = &self.viewers[viewer];
                if self.seats.leave(script, viewer) {
                    self.stage.engine.change_role(script, viewer, Role::Audience);
                }
            }
            Step::ChangeOwner(viewer) => self.change_owner(script, viewer),
            Step::Battle(turn) => {
                if let Some(battle) = &mut self.battle {
                    battle.take(script, turn, &mut self.stage);
                }
            }
            Step::Update
            | Step::SetMetadata
            | Step::DelMetadata
            | Step::AddAdmin(_)
            | Step::DelAdmin(_) => self.manage(script, step),
        }
    }

    fn enter(&mut self, script: &mut Script<'_>, viewer: usize, party: usize) {
        let new = (viewer..viewer + party).filter(|viewer| self.online.insert(*viewer));
        let new: Vec<&Person> = new.map(|viewer| &self.viewers[viewer]).collect();
        self.stage.presence(script, &new, "Enter");
    }

    fn gone(&mut self, script: &mut Script<'_>, viewer: usize, cause: &'static str) {
        if self.online.remove(&viewer) {
            let viewer = &self.viewers[viewer];
            self.seats.leave(script, viewer);
            self.stage.presence(script, &[viewer], cause);
        }
    }

    /// Somebody who is there gives a gift, or writes.
    fn cheer(&mut self, script: &mut Script<'_>, step: Step) {
        let place = script.dice().place(self.online.len());
        let Some(viewer) = self.online.iter().nth(place) else { return };
        let from = &self.viewers[*viewer];
        match step {
            Step::Gift => self.stage.gift(script, from),
            _ => self.stage.message(script, from),
        }
    }

    fn follow(&self, script: &mut Script<'_>, viewer: usize, step: Step) {
        let (from, host) = (&self.viewers[viewer], &self.stage.host.account);
        if matches!(step, Step::Follow(_)) {
            let list = json!([{ "To_Account": host }]);
            let body = json!({ "From_Account": from.account, "FollowList": list });
            script.send("Follow.CallbackAfterFollowAdd", from, body);
        } else {
            let body = json!({ "From_Account": from.account, "To_Account": [host] });
            script.send("Follow.CallbackAfterFollowDelete", from, body);
        }
    }

    fn change_owner(&mut self, script: &mut Script<'_>, viewer: usize) {
        if !self.online.contains(&viewer) {
            return;
        }
        let (old, new) = (self.stage.owner.clone(), self.viewers[viewer].clone());
        let body = json!({
            "CurrentOwner_Account": new.account,
            "OriginalOwner_Account": old.account,
        });
        self.stage.act(script, "Live.CallbackAfterChangeOwner", &old, body);
        self.stage.owner = new;
    }

    fn manage(&self, script: &mut Script<'_>, step: Step) {
        let (command, more) = match step {
            Step::AddAdmin(viewer) | Step::DelAdmin(viewer) => {
                let admin = &self.viewers[viewer].account;
                let how = if matches!(step, Step::AddAdmin(_)) { "add" } else { "delete" };
                let more = json!({ "Admin_Account": [admin], "opType": how });
                ("Live.CallbackAfterModifyAdmin", more)
            }
            Step::SetMetadata => {
                let song = script.dice().word(&["Take Two", "Blue Harbour", "Night Bus", "Encore"]);
                let votes = script.dice().number(0, 99);
                let poll = format!("{{\"open\":true,\"votes\":{votes}}}");
                let list = [("song", song), ("poll", &poll)];
                let list = list.map(|(key, value)| json!({ "Key": key, "Value": value }));
                ("Live.CallbackAfterSetMetadata", json!({ "Metadata": list }))
            }
            Step::DelMetadata => ("Live.CallbackAfterDelMetadata", json!({ "Keys": ["poll"] })),
            _ => {
                let owner = &self.stage.owner;
                let body = json!({ "Operator_Account": owner.account, "RoomInfo": {
                    "RoomId": self.stage.room.id,
                    "RoomName": format!("{}, second set", self.stage.room.name),
                    "ActivityStatus": 2,
                }});
                return script.send("Live.CallbackAfterUpdateRoomInfo", owner, body);
            }
        };
        self.stage.act(script, command, &self.stage.owner, more);
    }

    /// The host ends it over the viewers' heads, of whom the kit tells nothing any more; or all go, the host first, and the vendor
    /// ends it. Tells when the room is gone at the RTC Engine.
    fn end(&mut self, script: &mut Script<'_>, dismissed: bool) -> UnixMillis {
        if let Some(battle) = &mut self.battle {
            battle.take(script, Turn::Part, &mut self.stage);
        }
        let by_system = script.dice().chance(0.2);
        if by_system {
            let exit = if script.media().chance(0.5) { Exit::Lost } else { Exit::Left };
            let host = self.stage.host.account.clone();
            self.stage.engine.leave(script, &host, exit);
            for viewer in self.online.clone() {
                let pause = script.dice().millis(50, 500);
                script.wait(pause);
                self.gone(script, viewer, "Leave");
            }
            let pause = script.dice().seconds(5, 30);
            script.wait(pause);
        }
        self.stage.close(script, by_system, dismissed)
    }
}
