//! A room as the media server has it: created by the first who enters, gone some time after the last has left.

use std::time::Duration;

use serde_json::{Value, json};

use crate::simulate::people::Person;
use crate::simulate::rtc::event::EngineEvent;
use crate::simulate::rtc::plan;
use crate::simulate::rtc::plan::{Publishing, given_up, plan, reason_of_return};
use crate::simulate::rtc::stay::{Deed, Exit, Gone, Role, Stay};
use crate::simulate::script::Script;
use crate::time::UnixMillis;

/// How long an empty room lives whose last user was no audience.
const CLOSING: Duration = Duration::from_millis(20);

/// A room of the RTC Engine.
#[derive(Debug)]
pub(crate) struct EngineRoom {
    id: Value,
    /// Whether there are roles: then an empty room is kept for a while if the last user was audience.
    has_roles: bool,
    is_open: bool,
    /// When it was created last.
    created: UnixMillis,
    /// Those of the room's present life, each user once.
    stays: Vec<Stay>,
    /// Until when somebody shares a screen.
    shared: UnixMillis,
    /// When it was closed last.
    closed: UnixMillis,
}

/// How somebody comes in.
#[derive(Debug, Clone, Copy)]
struct Entry {
    reason: u8,
    role: Role,
    publishing: Publishing,
    at: UnixMillis,
}

impl EngineRoom {
    /// That of a call, in which everybody counts as anchor. A number names it where it is one that is allowed.
    pub(crate) fn of_call(id: &str) -> Self {
        Self::new(id.parse::<u32>().map_or_else(|_| id.into(), Value::from), false)
    }

    /// That of a conference: named by a text, and without roles.
    pub(crate) fn of_conference(id: &str) -> Self {
        Self::new(id.into(), false)
    }

    /// That of a live show: named by a text, with anchors and audience.
    pub(crate) fn of_show(id: &str) -> Self {
        Self::new(id.into(), true)
    }

    fn new(id: Value, has_roles: bool) -> Self {
        let never = UnixMillis::default();
        let (created, shared, closed) = (never, never, never);
        Self { id, has_roles, is_open: false, created, stays: Vec::new(), shared, closed }
    }

    /// Somebody comes in, in a moment.
    pub(crate) fn enter(
        &mut self,
        script: &mut Script<'_>,
        person: &Person,
        role: Role,
        publishing: Publishing,
    ) {
        let at = script.shortly(100, 700);
        let entry = Entry { reason: plan::ENTERED, role, publishing, at };
        self.come(script, person, entry);
    }

    /// A robot that records comes in, at once.
    pub(crate) fn enter_robot(&mut self, script: &mut Script<'_>, robot: &Person) {
        let role = if self.has_roles { Role::Audience } else { Role::Anchor };
        let (publishing, at) = (Publishing::Nothing, script.now());
        self.come(script, robot, Entry { reason: plan::ENTERED, role, publishing, at });
    }

    /// The anchor of another room comes in, as the two rooms are linked.
    pub(crate) fn link(&mut self, script: &mut Script<'_>, person: &Person) {
        let at = script.shortly(100, 700);
        let (role, publishing) = (Role::Anchor, Publishing::Nothing);
        self.come(script, person, Entry { reason: plan::LINKED, role, publishing, at });
    }

    /// The client of somebody who was lost has found the way back.
    pub(crate) fn recover(&mut self, script: &mut Script<'_>, person: &Person) {
        let reason = reason_of_return(script);
        let stay = self.stays.iter().find(|stay| stay.person.account == person.account);
        let role = stay.map_or(Role::Audience, |stay| stay.role);
        let publishing = if role == Role::Anchor { Publishing::Voice } else { Publishing::Nothing };
        let at = script.shortly(20, 200);
        self.come(script, person, Entry { reason, role, publishing, at });
    }

    fn come(&mut self, script: &mut Script<'_>, person: &Person, entry: Entry) {
        let mut at = entry.at;
        self.close_if_over(script, at);
        let known = self.stays.iter().position(|stay| stay.person.account == person.account);
        if let Some(place) = known {
            match self.stays[place].gone {
                None => return,
                Some(gone) if gone.exit == Exit::Lost && gone.told > at => {
                    return self.return_in_time(script, place, gone, entry);
                }
                Some(gone) => {
                    // Until then the room takes the user to be leaving still.
                    at = at.max(script.later(gone.told, Duration::ZERO));
                    let stay = self.stays.remove(place);
                    self.tell_stay(script, &stay);
                }
            }
        }
        if self.is_open {
            // Whoever decided to come first created it.
            at = at.max(script.later(self.created, Duration::ZERO));
        } else {
            at = at.max(script.later(self.closed, Duration::ZERO));
            (self.is_open, self.created) = (true, at);
            self.tell(script, at, 101, json!({ "UserId": person.account }));
            let pause = script.media().millis(30, 400);
            at = script.later(at, pause);
        }
        let deeds = plan(script, at, entry.publishing, &mut self.shared);
        let stay = Stay { person: person.clone(), role: entry.role, last: at, deeds, gone: None };
        self.tell(script, at, 103, stay.info(103, entry.reason));
        self.stays.push(stay);
    }

    /// Somebody who was lost is back before the media server gave up: for it, the stay goes on.
    fn return_in_time(&mut self, script: &mut Script<'_>, place: usize, gone: Gone, entry: Entry) {
        let at = entry.at.max(script.later(gone.real, Duration::ZERO));
        let deeds = plan(script, at, entry.publishing, &mut self.shared);
        let stay = &mut self.stays[place];
        stay.deeds.retain(|deed| deed.until < gone.real);
        stay.deeds.extend(deeds);
        (stay.gone, stay.last) = (None, at);
        let info = stay.info(103, entry.reason);
        self.tell(script, at, 103, info);
    }

    /// A user becomes anchor or audience.
    pub(crate) fn change_role(&mut self, script: &mut Script<'_>, person: &Person, role: Role) {
        let Some(place) = self.present(&person.account) else { return };
        if self.stays[place].role == role {
            return;
        }
        let earliest = script.later(self.stays[place].last, Duration::ZERO);
        let mut at = script.shortly(20, 150).max(earliest);
        if role == Role::Audience {
            // The stops come first, where they come at all.
            let told = script.media().chance(0.5);
            for (start, stop) in [(203, 204), (201, 202)] {
                let stay = &self.stays[place];
                if told && stay.is_on(start, at) {
                    let info = stay.info(stop, 0);
                    self.tell(script, at, stop, info);
                    at = script.later(at, Duration::from_millis(5));
                }
            }
        }
        // What was done until now was done in the old role; an audience does no more.
        let stay = &mut self.stays[place];
        let deeds = std::mem::take(&mut stay.deeds);
        let (done, planned) = deeds.into_iter().partition(|deed| deed.until < at);
        let done: Vec<Deed> = done;
        let infos = done.iter().map(|deed| (*deed, stay.info(deed.number, deed.reason)));
        let infos: Vec<(Deed, Value)> = infos.collect();
        (stay.role, stay.last) = (role, at);
        if role == Role::Anchor {
            stay.deeds = planned;
            let with_video = script.media().chance(0.4);
            let publishing = if with_video { Publishing::Video } else { Publishing::Voice };
            stay.deeds.extend(plan(script, at, publishing, &mut self.shared));
        }
        let info = stay.info(105, 0);
        for (deed, info) in infos {
            self.tell(script, deed.at, deed.number, info);
        }
        self.tell(script, at, 105, info);
    }

    /// Somebody goes.
    pub(crate) fn leave(&mut self, script: &mut Script<'_>, account: &str, exit: Exit) {
        let Some(place) = self.present(account) else { return };
        let earliest = script.later(self.stays[place].last, Duration::ZERO);
        let real = match exit {
            // The kit's own event is the first to tell.
            Exit::Lost => script.now().max(earliest),
            _ => script.shortly(20, 250).max(earliest),
        };
        let told = if exit == Exit::Lost { given_up(script, real) } else { real };
        self.stays[place].gone = Some(Gone { real, told, exit });
    }

    /// Puts out all who are still in, and closes the room. Tells when that was.
    pub(crate) fn dismiss(&mut self, script: &mut Script<'_>) -> UnixMillis {
        let now = script.now();
        self.close_if_over(script, now);
        if !self.is_open {
            return self.closed;
        }
        let settled = |stay: &Stay| match stay.gone {
            Some(gone) if gone.exit != Exit::Lost => gone.told,
            _ => stay.last,
        };
        let last = self.stays.iter().map(settled).max().unwrap_or(now);
        let mut at = script.shortly(20, 120).max(script.later(last, Duration::ZERO));
        for stay in self.stays.iter_mut().filter(|stay| stay.holds_at(at)) {
            let real = stay.gone.map_or(at, |gone| gone.real.min(at));
            stay.gone = Some(Gone { real, told: at, exit: Exit::Removed });
        }
        self.tell_stays(script);
        at = script.later(at, CLOSING);
        self.tell_closed(script, at);
        self.closed
    }

    /// All who are still in go, and the room is closed when its time has come. Tells when that is.
    pub(crate) fn close(&mut self, script: &mut Script<'_>) -> UnixMillis {
        let present = self.stays.iter().filter(|stay| stay.gone.is_none());
        let present: Vec<(String, Role)> =
            present.map(|stay| (stay.person.account.clone(), stay.role)).collect();
        for (account, role) in present {
            self.leave(script, &account, Exit::Left);
            // Viewers stay a little longer than those whom they watch.
            let pause = script.media().millis(300, 3000);
            if let (Role::Audience, Some(stay)) = (role, self.stay_mut(&account)) {
                let Some(gone) = &mut stay.gone else { continue };
                gone.told = script.later(gone.told, pause);
                gone.real = gone.told;
            }
        }
        self.close_if_over(script, UnixMillis(i64::MAX));
        self.closed
    }

    /// Closes the room if all have been gone long enough before `at`.
    fn close_if_over(&mut self, script: &mut Script<'_>, at: UnixMillis) {
        let gone = |stay: &Stay| stay.gone.map(|gone| (gone.told, stay.role));
        let Some(all) = self.stays.iter().map(gone).collect::<Option<Vec<_>>>() else { return };
        let Some((last, role)) = all.into_iter().max_by_key(|(told, _)| *told) else { return };
        let is_kept = self.has_roles && role == Role::Audience;
        let kept = if is_kept { script.world.options.room_kept } else { CLOSING };
        let over = script.later(last, kept);
        if over < at {
            self.tell_stays(script);
            self.tell_closed(script, over);
        }
    }

    fn tell_closed(&mut self, script: &mut Script<'_>, at: UnixMillis) {
        // The vendor's sample has a text here for a room that has a number elsewhere.
        let as_text = self.id.is_number() && script.media().chance(0.2);
        let id = if as_text { self.id.to_string().into() } else { self.id.clone() };
        script.tell(EngineEvent::new(at, 102, id, Value::Null));
        (self.is_open, self.closed) = (false, at);
    }

    fn tell_stays(&mut self, script: &mut Script<'_>) {
        for stay in std::mem::take(&mut self.stays) {
            self.tell_stay(script, &stay);
        }
    }

    /// Tells what a user did in a stay that is over, and its end. Going is not told as the end of what was published.
    fn tell_stay(&self, script: &mut Script<'_>, stay: &Stay) {
        let Some(gone) = stay.gone else { return };
        for deed in stay.deeds.iter().filter(|deed| deed.until < gone.real) {
            self.tell(script, deed.at, deed.number, stay.info(deed.number, deed.reason));
        }
        self.tell(script, gone.told, 104, stay.info(104, gone.exit as u8));
    }

    fn tell(&self, script: &mut Script<'_>, at: UnixMillis, number: u16, info: Value) {
        script.tell(EngineEvent::new(at, number, self.id.clone(), info));
    }

    /// The place of the stay of somebody who has not gone.
    fn present(&self, account: &str) -> Option<usize> {
        let is_it = |stay: &Stay| stay.gone.is_none() && stay.person.account == account;
        self.stays.iter().position(is_it)
    }

    fn stay_mut(&mut self, account: &str) -> Option<&mut Stay> {
        self.stays.iter_mut().find(|stay| stay.person.account == account)
    }
}
