//! The seats of a room, told in the two ways that conferences and live rooms have.

use serde_json::{Value, json};

use crate::simulate::people::Person;
use crate::simulate::script::Script;

/// Who sits where.
#[derive(Debug)]
pub(crate) struct Seats {
    room: String,
    live: bool,
    all: Vec<Seat>,
}

#[derive(Debug, Clone, Default)]
struct Seat {
    member: Option<String>,
    muted: bool,
    locked: bool,
}

impl Seats {
    pub(crate) fn new(room: &str, live: bool, count: usize) -> Self {
        Self { room: room.to_owned(), live, all: vec![Seat::default(); count] }
    }

    /// Takes a free seat, where there is one and the person has none. Says whether it was so.
    pub(crate) fn take(&mut self, script: &mut Script<'_>, person: &Person) -> bool {
        let free = self.all.iter().position(|seat| seat.member.is_none() && !seat.locked);
        let (Some(free), None) = (free, self.of(person)) else { return false };
        self.all[free].member = Some(person.account.clone());
        self.tell(script, person, free);
        true
    }

    /// Leaves the seat, where the person has one. Says whether it was so.
    pub(crate) fn leave(&mut self, script: &mut Script<'_>, person: &Person) -> bool {
        let Some(index) = self.of(person) else { return false };
        self.all[index] = Seat::default();
        self.tell(script, person, index);
        true
    }

    /// Mutes or unmutes the person's seat.
    pub(crate) fn mute(&mut self, script: &mut Script<'_>, person: &Person) {
        if let Some(index) = self.of(person) {
            self.all[index].muted ^= true;
            self.tell(script, person, index);
        }
    }

    /// Locks or unlocks the last seat, where nobody sits there.
    pub(crate) fn lock(&mut self, script: &mut Script<'_>, by: &Person) {
        let last = self.all.len().saturating_sub(1);
        if let Some(seat) = self.all.get_mut(last).filter(|seat| seat.member.is_none()) {
            seat.locked ^= true;
            self.tell(script, by, last);
        }
    }

    fn of(&self, person: &Person) -> Option<usize> {
        let account = Some(person.account.as_str());
        self.all.iter().position(|seat| seat.member.as_deref() == account)
    }

    fn tell(&self, script: &mut Script<'_>, by: &Person, index: usize) {
        let seat = &self.all[index];
        let mut told = json!({ "Index": index });
        match &seat.member {
            Some(member) => told["Member_Account"] = member.as_str().into(),
            // A live room leaves it out.
            None if self.live => {}
            None => told["Member_Account"] = "".into(),
        }
        told["IsTakenDisabled"] = seat.locked.into();
        told["IsVideoDisabled"] = false.into();
        told["IsAudioDisabled"] = seat.muted.into();
        let mut body = Value::Object(serde_json::Map::new());
        if !self.live {
            body["Operator_Account"] = by.account.as_str().into();
        }
        body["RoomId"] = self.room.as_str().into();
        body["SeatList"] = json!([told]);
        script.send("Mic.CallbackAfterSeatInfoChanged", by, body);
    }
}
