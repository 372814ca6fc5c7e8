//! Calls among several.

use std::time::Duration;

use crate::simulate::people::Person;
use crate::simulate::scenarios::calls::{Action, Call, RING_MAX, soon};
use crate::simulate::scenarios::recordings::CallRecording;
use crate::simulate::script::Script;

/// What a member is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Away,
    Waiting,
    Calling,
}

/// Something that is going to happen to the member at this place, if it still can by then.
type Step = (Duration, Action, usize);

/// A call with its members, the caller first.
struct Members {
    people: Vec<Person>,
    states: Vec<State>,
    /// Whether two ever talked.
    connected: bool,
    last: Action,
}

/// A group call from its first ring to its end.
pub(crate) fn group_call(script: &mut Script<'_>) {
    let max = script.world.options.group_members_max.max(3);
    let size = 3 + script.dice().place(max - 2);
    // Two more may come in later: one who is asked, and one who sees the call in the group.
    let people = script.cast(size + 2);
    if people.len() < size + 2 {
        return;
    }
    let mut states = vec![State::Waiting; size];
    states[0] = State::Calling;
    states.resize(size + 2, State::Away);
    let mut members = Members { people, states, connected: false, last: Action::NotAnswer };
    let steps = plan(script, size);

    let callees = members.people[1..size].to_vec();
    let caller = members.people[0].clone();
    let mut call = Call::start(script, &caller, &callees, true);
    call.enter(script, &caller);
    let recorded = script.is_recorded();
    let mut recording = None;
    for (after, action, place) in steps {
        let changed = members.apply(action, place);
        // It cannot happen any more.
        if changed.is_empty() {
            continue;
        }
        script.at(after);
        members.tell(script, &mut call, &changed, action);
        if recorded && recording.is_none() && members.connected {
            recording = Some(CallRecording::start(script, &mut call));
        }
        if members.are_done() {
            break;
        }
    }
    for place in 0..members.people.len() {
        if !members.are_done() && !members.apply(Action::HangUp, place).is_empty() {
            let pause = script.dice().millis(300, 3000);
            script.wait(pause);
            members.tell(script, &mut call, &[place], Action::HangUp);
        }
    }
    soon(script);
    call.end(script, &caller, members.result());
    if let Some(recording) = recording {
        recording.stop(script, &mut call);
    }
    call.engine.close(script);
}

/// What everybody is going to do; the last step is that the caller hangs up.
fn plan(script: &mut Script<'_>, size: usize) -> Vec<Step> {
    let (median, max) = (script.world.options.talk_median, script.world.options.talk_max);
    let dice = script.dice();
    let length = RING_MAX + dice.about(median, max) + Duration::from_secs(5);
    let mut steps = vec![(RING_MAX, Action::NotAnswer, 0), (length, Action::HangUp, 0)];
    for place in 1..size {
        let answer = dice.seconds(2, 20);
        match dice.number(0, 99) {
            0..=9 => steps.push((answer, Action::Reject, place)),
            10..=19 => {} // Rings out, with all others who do.
            20..=26 => steps.push((answer, Action::CancelInvite, place)),
            27..=34 => {
                steps.push((answer, Action::Accept, place));
                steps.push((dice.part(length, 0.4, 0.9), Action::Offline, place));
            }
            _ => {
                steps.push((answer, Action::Accept, place));
                let until = dice.part(length, 0.6, 1.0);
                steps.push((until, Action::HangUp, place));
                if dice.chance(0.15) {
                    let back = until + dice.seconds(3, 15);
                    steps.push((back, Action::Join, place));
                }
            }
        }
    }
    if dice.chance(0.5) {
        let asked = dice.seconds(8, 25);
        steps.push((asked, Action::Invite, size));
        let then = if dice.chance(0.7) { Action::Accept } else { Action::CancelInvite };
        steps.push((asked + dice.seconds(2, 12), then, size));
    }
    if dice.chance(0.3) {
        steps.push((dice.seconds(20, 35), Action::Join, size + 1));
    }
    steps.sort_by_key(|(after, ..)| *after);
    steps
}

impl Members {
    /// Who changes by this step; nobody where it cannot happen any more.
    fn apply(&mut self, action: Action, place: usize) -> Vec<usize> {
        let (from, to) = match action {
            Action::Accept => (State::Waiting, State::Calling),
            Action::Reject | Action::CancelInvite => (State::Waiting, State::Away),
            Action::HangUp | Action::Offline => (State::Calling, State::Away),
            Action::Join => (State::Away, State::Calling),
            Action::Invite => (State::Away, State::Waiting),
            Action::NotAnswer => {
                // All who were rung at the begin.
                let rung = 0..self.states.len() - 2;
                let out: Vec<usize> =
                    rung.filter(|place| self.states[*place] == State::Waiting).collect();
                for place in &out {
                    self.states[*place] = State::Away;
                }
                return out;
            }
        };
        if self.states[place] != from {
            return Vec::new();
        }
        self.states[place] = to;
        self.connected |= self.calling() > 1;
        vec![place]
    }

    fn calling(&self) -> usize {
        self.states.iter().filter(|state| **state == State::Calling).count()
    }

    /// Whether nobody is left to talk to, or to wait for.
    fn are_done(&self) -> bool {
        let waiting = self.states.contains(&State::Waiting);
        let alone = self.calling() <= 1;
        alone && (self.connected || !waiting || self.states[0] == State::Away)
    }

    fn tell(
        &mut self,
        script: &mut Script<'_>,
        call: &mut Call,
        changed: &[usize],
        action: Action,
    ) {
        for place in changed {
            let account = &self.people[*place].account;
            if !call.everybody.contains(account) {
                call.everybody.push(account.clone());
            }
        }
        let users: Vec<(&Person, bool)> = (self.people.iter().zip(&self.states))
            .filter(|(_, state)| **state != State::Away)
            .map(|(person, state)| (person, *state == State::Calling))
            .collect();
        let changed: Vec<(&Person, Action)> =
            changed.iter().map(|place| (&self.people[*place], action)).collect();
        call.change(script, &users, &changed);
        self.last = action;
    }

    fn result(&self) -> &'static str {
        match self.last {
            Action::Offline if self.connected => "Offline",
            _ if self.connected => "NormalEnd",
            Action::Reject => "Reject",
            Action::HangUp | Action::CancelInvite => "Cancel",
            _ => "NotAnswer",
        }
    }
}
