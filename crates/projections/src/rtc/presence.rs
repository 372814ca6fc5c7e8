//! The stays and intervals of one session, built from its marks in order.

use std::collections::{BTreeSet, HashMap};

use crate::rtc::mark::{EnterReason, ExitReason, Precision, RtcMark, RtcRoomKey, Track, What};
use crate::rtc::publish::{PublishEnd, RtcPublishInterval};
use crate::rtc::robot::is_recorder;
use crate::rtc::stay::{RtcStay, StayFlag};
use crate::session::boundaries::EARLY_MS;
use protocol::UnixMillis;

/// How long before an exit by timeout the user was lost. Source: 36057.
pub(crate) const TIMEOUT_MS: i64 = 90_000;
/// For this long the SDK tries to enter again by itself. Source: 36057.
pub(crate) const REENTRY_MS: i64 = 30 * 60_000;
/// For this long after a replacement, an exit may be that of the replaced device (M15). After an exit, it is a repeat.
pub(crate) const REPLACED_MS: i64 = 3000;
/// The role of the audience.
const AUDIENCE: i64 = 21;

struct Stay {
    row: RtcStay,
    /// The last of its marks, and the last of its enters.
    last_at: UnixMillis,
    last_enter_at: Option<UnixMillis>,
    /// The exit's `UniqueId`.
    exit_id: Option<i64>,
    /// The last interval of each track.
    tracks: [Option<usize>; Track::ALL.len()],
}

/// The stays of a session.
pub(crate) struct Stays<'a> {
    room: &'a RtcRoomKey,
    robots: &'a BTreeSet<String>,
    /// When the session began.
    start: UnixMillis,
    /// In the order in which they were opened.
    list: Vec<Stay>,
    intervals: Vec<RtcPublishInterval>,
    /// The stays of each user, in order.
    users: HashMap<&'a str, Vec<usize>>,
    /// How many stays are open.
    inside: usize,
    /// The interval of the last screen shared.
    screen: Option<usize>,
}

impl<'a> Stays<'a> {
    pub(crate) fn new(
        room: &'a RtcRoomKey,
        robots: &'a BTreeSet<String>,
        start: UnixMillis,
    ) -> Self {
        let (list, intervals, users) = (Vec::new(), Vec::new(), HashMap::new());
        Self { room, robots, start, list, intervals, users, inside: 0, screen: None }
    }

    /// Whether nobody is inside.
    pub(crate) fn is_empty(&self) -> bool {
        self.inside == 0
    }

    pub(crate) fn knows(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// Whether the last stay of a user ended without an exit.
    pub(crate) fn waits_for_exit(&self, user: &str) -> bool {
        self.last(user).is_some_and(|last| self.list[last].row.has(StayFlag::EndInferred))
    }

    /// Whether an enter is one of the SDK by itself, soon after a timeout ended the user's last stay (M13).
    pub(crate) fn is_reentry(&self, user: &str, enter: &RtcMark) -> bool {
        let Some(last) = self.last(user).map(|last| &self.list[last].row) else { return false };
        let is_soon = last.end.is_some_and(|end| enter.at.0 - end.0 <= REENTRY_MS);
        let is_by_itself = enter.enter_reason().is_some_and(EnterReason::is_reconnect);
        is_by_itself && is_soon && last.exit_reason == Some(ExitReason::TimedOut)
    }

    /// Marks the user's last stay as a re-entry.
    pub(crate) fn set_reentry(&mut self, user: &str) {
        if let Some(last) = self.last(user) {
            self.list[last].row.flags.insert(StayFlag::Reentry);
        }
    }

    /// Adds one mark of an open session. Call it in order of time.
    pub(crate) fn add(&mut self, mark: &'a RtcMark) {
        let Some(user) = mark.user.as_deref() else { return };
        match mark.what {
            What::Enter => self.enter(user, mark),
            What::Exit => self.exit(user, mark),
            What::Role => self.role(user, mark),
            What::Start(track) => self.publish(user, track, mark),
            What::Stop(track) => self.stop(user, track, mark),
            What::Create | What::Dismiss => {}
        }
    }

    /// Adds a mark that came after the session's end: it changes no time.
    pub(crate) fn add_late(&mut self, mark: &'a RtcMark, end: UnixMillis) {
        let Some(user) = mark.user.as_deref() else { return };
        match (mark.what, self.last(user)) {
            (What::Exit, None) => self.exit_only(user, mark, end),
            (What::Exit, Some(last)) if self.list[last].row.has(StayFlag::EndInferred) => {
                let stay = &mut self.list[last];
                stay.row.flags.remove(&StayFlag::EndInferred);
                stay.left(mark, end);
                for interval in stay.tracks.iter().flatten() {
                    let interval = &mut self.intervals[*interval];
                    if interval.ended_by == Some(PublishEnd::SessionEnd) {
                        interval.ended_by = Some(PublishEnd::Exit);
                    }
                }
            }
            (What::Stop(_), Some(last)) => self.list[last].row.late_stops += 1,
            _ => {}
        }
    }

    /// Closes what is open when the session ends (M17).
    pub(crate) fn close_all(&mut self, at: UnixMillis) {
        for place in 0..self.list.len() {
            if self.list[place].row.end.is_none() {
                self.close(place, at, PublishEnd::SessionEnd);
                self.list[place].row.flags.insert(StayFlag::EndInferred);
            }
        }
    }

    /// Stays and intervals, each in the order in which they were opened.
    pub(crate) fn finish(self) -> (Vec<RtcStay>, Vec<RtcPublishInterval>) {
        (self.list.into_iter().map(|stay| stay.row).collect(), self.intervals)
    }

    fn enter(&mut self, user: &'a str, mark: &'a RtcMark) {
        if let Some(open) = self.open_of(user) {
            let stay = &mut self.list[open];
            if stay.is_continued_by(mark) {
                stay.touch(mark);
                stay.entered(mark);
                return;
            }
            stay.row.flags.insert(StayFlag::Replaced);
            self.close(open, mark.at, PublishEnd::Replaced);
        }
        let is_reentry = self.is_reentry(user, mark);
        let place = self.open(user, mark, mark.at);
        let stay = &mut self.list[place];
        stay.row.earliest_start = mark.at;
        if is_reentry {
            stay.row.flags.insert(StayFlag::Reentry);
        }
        stay.entered(mark);
    }

    fn exit(&mut self, user: &'a str, mark: &'a RtcMark) {
        if let Some(place) = self.paired(user, mark) {
            if self.list[place].row.end.is_none() {
                self.leave(place, mark);
            } else if self.list[place].row.exit_reason.is_none() {
                self.list[place].row.exit_reason = mark.exit_reason();
            }
            return;
        }
        let Some(open) = self.open_of(user) else {
            if !self.last(user).is_some_and(|last| self.list[last].is_left_again_by(mark)) {
                self.exit_only(user, mark, mark.at);
            }
            return;
        };
        if let Some(replaced) = self.replaced_by(user, open, mark) {
            self.list[replaced].row.exit_reason = mark.exit_reason();
            let stay = &mut self.list[open];
            if stay.last_enter_at == Some(mark.at) {
                stay.row.flags.insert(StayFlag::OrderUnknown);
            }
            stay.row.flags.insert(StayFlag::ExitDoubtful);
            return;
        }
        self.leave(open, mark);
    }

    /// The stay with the `UniqueId` of an exit.
    fn paired(&self, user: &str, mark: &RtcMark) -> Option<usize> {
        let id = mark.unique_id?;
        let mut stays = self.users.get(user)?.iter().rev();
        stays.find(|place| self.list[**place].row.unique_id == Some(id)).copied()
    }

    /// The stay that `open` replaced, where an exit so soon after is rather its (M15).
    fn replaced_by(&self, user: &str, open: usize, mark: &RtcMark) -> Option<usize> {
        let [.., before, last] = self.users.get(user)?.as_slice() else { return None };
        let (old, new) = (&self.list[*before].row, &self.list[open].row);
        let is_soon = *last == open && mark.at.0 - new.start.0 <= REPLACED_MS;
        let is_free = !new.has(StayFlag::ExitDoubtful) && old.exit_reason.is_none();
        (is_soon && is_free && old.has(StayFlag::Replaced)).then_some(*before)
    }

    fn leave(&mut self, place: usize, mark: &RtcMark) {
        let stay = &mut self.list[place];
        stay.left(mark, mark.at);
        stay.row.flags.remove(&StayFlag::ExitDoubtful);
        if stay.last_enter_at == Some(mark.at) {
            stay.row.flags.insert(StayFlag::OrderUnknown);
        }
        let known = stay.row.roles.last().map(|last| last.role);
        if known.is_some() && mark.role.is_some() && known != mark.role {
            stay.row.flags.insert(StayFlag::RoleMissed);
        }
        self.close(place, mark.at, PublishEnd::Exit);
    }

    /// A stay of which only the exit is known: it has no certain length (M17).
    fn exit_only(&mut self, user: &'a str, mark: &'a RtcMark, at: UnixMillis) {
        let place = self.open(user, mark, at);
        let stay = &mut self.list[place];
        stay.row.flags.insert(StayFlag::StartEstimated);
        if let Some(role) = mark.role {
            stay.row.set_role(role, at);
        }
        stay.left(mark, at);
        self.close(place, at, PublishEnd::Exit);
    }

    fn role(&mut self, user: &'a str, mark: &'a RtcMark) {
        let place = self.present(user, mark);
        let stay = &mut self.list[place];
        stay.touch(mark);
        let Some(role) = mark.role else { return };
        stay.row.set_role(role, mark.at);
        if role == AUDIENCE {
            for interval in stay.tracks.iter().flatten() {
                self.intervals[*interval].close(mark.at, PublishEnd::Audience);
            }
        }
    }

    fn publish(&mut self, user: &'a str, track: Track, mark: &'a RtcMark) {
        let place = self.present(user, mark);
        self.list[place].touch(mark);
        let last = self.list[place].tracks[track.index()];
        if last.is_some_and(|last| self.intervals[last].end.is_none()) {
            return;
        }
        let new = self.interval(place, track, mark, mark.at);
        if track == Track::Screen
            && let Some(other) = self.screen.replace(new)
        {
            self.intervals[other].close(mark.at, PublishEnd::OtherScreen);
        }
    }

    fn stop(&mut self, user: &'a str, track: Track, mark: &'a RtcMark) {
        if let (None, Some(last)) = (self.open_of(user), self.last(user)) {
            self.list[last].row.late_stops += 1;
            return;
        }
        let place = self.present(user, mark);
        self.list[place].touch(mark);
        let last = self.list[place].tracks[track.index()];
        let role = self.list[place].row.roles.last();
        let is_audience = role.is_some_and(|last| last.role == AUDIENCE);
        match last.map(|last| &mut self.intervals[last]) {
            Some(open) if open.end.is_none() => open.close(mark.at, PublishEnd::Stop),
            // It went on beside the other screen after all.
            Some(last) if last.ended_by == Some(PublishEnd::OtherScreen) => {
                (last.end, last.ended_by) = (Some(mark.at), Some(PublishEnd::Stop));
            }
            Some(last) if last.ended_by == Some(PublishEnd::Audience) && is_audience => {}
            last => {
                let before = last.and_then(|last| last.end);
                let start = before.unwrap_or(self.list[place].row.start);
                let new = self.interval(place, track, mark, start);
                self.intervals[new].start_unknown = true;
                self.intervals[new].close(mark.at, PublishEnd::Stop);
            }
        }
    }

    fn last(&self, user: &str) -> Option<usize> {
        self.users.get(user)?.last().copied()
    }

    fn open_of(&self, user: &str) -> Option<usize> {
        self.last(user).filter(|last| self.list[*last].row.end.is_none())
    }

    /// The open stay of a user, or a new one by the evidence of `mark` (M18).
    fn present(&mut self, user: &'a str, mark: &'a RtcMark) -> usize {
        self.open_of(user).unwrap_or_else(|| {
            let place = self.open(user, mark, mark.at);
            self.list[place].row.flags.insert(StayFlag::StartEstimated);
            place
        })
    }

    fn open(&mut self, user: &'a str, mark: &RtcMark, at: UnixMillis) -> usize {
        let place = self.list.len();
        let before = self.last(user).and_then(|last| self.list[last].row.end);
        let row = RtcStay {
            id: mark.event_id,
            user: user.to_owned(),
            is_robot: self.robots.contains(user) || is_recorder(self.room.app, &self.room.id, user),
            start: at,
            earliest_start: before.unwrap_or(self.start),
            end: None,
            presumed_end: None,
            enter_reason: None,
            exit_reason: None,
            terminal_type: None,
            user_type: None,
            unique_id: None,
            roles: Vec::new(),
            enters: 0,
            late_stops: 0,
            flags: BTreeSet::new(),
        };
        let mut stay =
            Stay { row, last_at: at, last_enter_at: None, exit_id: None, tracks: [None; 3] };
        stay.note_source(mark);
        self.list.push(stay);
        self.users.entry(user).or_default().push(place);
        self.inside += 1;
        place
    }

    fn close(&mut self, place: usize, at: UnixMillis, by: PublishEnd) {
        let stay = &mut self.list[place];
        stay.row.end = Some(at);
        if let Some(role) = stay.row.roles.last_mut() {
            role.until = Some(at);
        }
        for interval in stay.tracks.iter().flatten() {
            self.intervals[*interval].close(at, by);
        }
        self.inside -= 1;
    }

    fn interval(&mut self, place: usize, track: Track, mark: &RtcMark, start: UnixMillis) -> usize {
        let (new, stay) = (self.intervals.len(), &mut self.list[place]);
        stay.tracks[track.index()] = Some(new);
        self.intervals.push(RtcPublishInterval {
            id: mark.event_id,
            stay: stay.row.id,
            user: stay.row.user.clone(),
            is_robot: stay.row.is_robot,
            track,
            start,
            end: None,
            ended_by: None,
            start_unknown: false,
        });
        new
    }
}

impl Stay {
    /// Whether an enter is of the same device: the SDK entered again (M14), it repeats one, as its `UniqueId` says, or it
    /// is the enter whose stay a slightly earlier event opened.
    fn is_continued_by(&self, enter: &RtcMark) -> bool {
        let is_repeat = enter.unique_id.is_some() && enter.unique_id == self.row.unique_id;
        let is_its_own = self.row.enters == 0 && enter.at.0 - self.row.start.0 <= EARLY_MS;
        enter.enter_reason().is_some_and(EnterReason::is_reconnect) || is_repeat || is_its_own
    }

    fn entered(&mut self, mark: &RtcMark) {
        let row = &mut self.row;
        let is_its_own = mark.at.0 - row.start.0 <= EARLY_MS;
        if row.enters == 0 && is_its_own {
            row.flags.remove(&StayFlag::StartEstimated);
            row.earliest_start = row.start;
            row.enter_reason = mark.enter_reason();
        }
        row.enters += 1;
        row.terminal_type = row.terminal_type.or(mark.terminal_type);
        row.user_type = row.user_type.or(mark.user_type);
        row.unique_id = row.unique_id.or(mark.unique_id);
        if mark.enter_reason() == Some(EnterReason::CrossRoom) {
            row.flags.insert(StayFlag::CrossRoom);
        }
        if let Some(role) = mark.role {
            row.set_role(role, mark.at);
        }
        self.last_enter_at = Some(mark.at);
        self.note_source(mark);
    }

    /// Whether an exit repeats the one that ended this stay: soon after it, or by its `UniqueId`.
    fn is_left_again_by(&self, exit: &RtcMark) -> bool {
        let is_soon = self.row.end.is_some_and(|end| exit.at.0 - end.0 <= REPLACED_MS);
        is_soon || exit.unique_id.is_some() && exit.unique_id == self.exit_id
    }

    /// The exit, of a stay that ends at `end`.
    fn left(&mut self, mark: &RtcMark, end: UnixMillis) {
        (self.row.exit_reason, self.exit_id) = (mark.exit_reason(), mark.unique_id);
        if self.row.exit_reason == Some(ExitReason::TimedOut) {
            let lost_at = UnixMillis(mark.at.0 - TIMEOUT_MS);
            self.row.presumed_end = Some(lost_at.max(self.last_at).min(end));
        }
        self.note_source(mark);
    }

    /// A mark that shows the user present.
    fn touch(&mut self, mark: &RtcMark) {
        self.last_at = mark.at;
        self.row.flags.remove(&StayFlag::ExitDoubtful);
    }

    fn note_source(&mut self, mark: &RtcMark) {
        if mark.precision != Precision::Millis {
            self.row.flags.insert(StayFlag::Coarse);
        }
        if mark.is_repaired {
            self.row.flags.insert(StayFlag::Repaired);
        }
    }
}
