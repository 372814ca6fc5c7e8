//! From the marks of a room to its sessions.

use std::collections::BTreeSet;

use crate::rtc::mark::{RtcMark, RtcRoomKey, What};
use crate::rtc::order::{MARKS_MAX, Ordered, ordered, turn};
use crate::rtc::presence::Stays;
use crate::rtc::session::{IDLE_MS, RtcSession};
use crate::session::boundaries::EARLY_MS;
use protocol::UnixMillis;
use protocol::json::room_id::RoomIdKind;

/// For this long after a dismissal, exits, stops, starts and roles belong to the session that ended: an exit by timeout
/// comes about 98 s after the loss. Later ones show a session whose create and enter were lost.
pub const AFTER_MS: i64 = 120_000;

/// What is known of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcRoom {
    /// Its sessions, in order of time. Only the last may be open.
    pub sessions: Vec<RtcSession>,
    /// Whether its latest marks were left out because there are too many.
    pub is_cut: bool,
}

/// Computes the sessions of a room. Neither the order of the marks nor repeats matter. `robots` are the app's accounts
/// that are known to be robots.
///
/// Marks of other rooms are not considered, but for a dismissal with the id of a numeric room as text: it is taken as one
/// of this room. [`compute_both`](crate::rtc::room_kind::compute_both) decides whether it is.
#[must_use]
pub fn compute(room: &RtcRoomKey, marks: &[RtcMark], robots: &BTreeSet<String>) -> RtcRoom {
    let is_of_room = |mark: &&RtcMark| {
        let is_guess = mark.what == What::Dismiss && room.kind == RoomIdKind::Numeric;
        let is_kind = mark.room.kind == room.kind || is_guess;
        mark.room.app == room.app && mark.room.id == room.id && is_kind
    };
    let Ordered { mut marks, is_cut } = ordered(marks.iter().filter(is_of_room), MARKS_MAX);
    let mut sweep = Sweep::new(room, robots);
    for moment in marks.chunk_by_mut(|one, next| one.at == next.at) {
        turn(moment, |_| sweep.is_open().then_some(room.kind));
        for mark in moment {
            sweep.add(mark);
        }
    }
    sweep.finish(is_cut)
}

/// A session under way.
struct Draft<'a> {
    row: RtcSession,
    stays: Stays<'a>,
}

/// A pass over the marks of a room in order of time.
pub(crate) struct Sweep<'a> {
    room: &'a RtcRoomKey,
    robots: &'a BTreeSet<String>,
    drafts: Vec<Draft<'a>>,
}

impl<'a> Sweep<'a> {
    pub(crate) fn new(room: &'a RtcRoomKey, robots: &'a BTreeSet<String>) -> Self {
        Self { room, robots, drafts: Vec::new() }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.drafts.last().is_some_and(|last| last.row.end.is_none())
    }

    pub(crate) fn add(&mut self, mark: &'a RtcMark) {
        match mark.what {
            What::Create => self.create(mark),
            What::Dismiss => self.dismiss(mark),
            _ => self.event(mark),
        }
    }

    pub(crate) fn finish(self, is_cut: bool) -> RtcRoom {
        let sessions = self.drafts.into_iter().map(|draft| {
            let (stays, intervals) = draft.stays.finish();
            let mut session = RtcSession { stays, intervals, ..draft.row };
            session.count_people();
            session
        });
        RtcRoom { sessions: sessions.collect(), is_cut }
    }

    fn create(&mut self, mark: &'a RtcMark) {
        let room = self.room;
        if let Some(open) = self.drafts.last_mut().filter(|last| last.row.end.is_none()) {
            let row = &mut open.row;
            match row.created_at {
                // A repeat: the vendor's name of the session is the same.
                Some(created_at) if created_at.as_secs() == mark.at.as_secs() => {
                    row.last_at = mark.at;
                    return;
                }
                None if mark.at.0 - row.start.0 <= EARLY_MS => return open.created(room, mark),
                _ => open.close_without_dismissal(),
            }
        }
        self.begin(mark).created(room, mark);
    }

    fn dismiss(&mut self, mark: &'a RtcMark) {
        if self.drafts.last().is_some_and(|last| last.dismissed_before(mark.at)) {
            return;
        }
        if !self.is_open() {
            self.begin(mark);
        }
        let is_guessed = mark.room.kind != self.room.kind;
        let Some(open) = self.drafts.last_mut() else { return };
        open.stays.close_all(mark.at);
        let row = &mut open.row;
        (row.end, row.dismissed_at) = (Some(mark.at), Some(mark.at));
        (row.last_at, row.room_kind_guessed) = (mark.at, is_guessed);
        row.is_repaired |= mark.is_repaired;
    }

    fn event(&mut self, mark: &'a RtcMark) {
        if self.is_of_the_session_before(mark) {
            let before = self.drafts.len() - 2;
            return self.drafts[before].add_late(mark);
        }
        let is_enter = mark.what == What::Enter;
        match self.drafts.last_mut() {
            Some(open) if open.row.end.is_none() => {
                if !(is_enter && open.is_overdue(mark.at)) {
                    let is_first = mark.user.as_deref().is_some_and(|user| !open.stays.knows(user));
                    open.add(mark);
                    if is_enter && is_first {
                        self.note_reentry(mark);
                    }
                    return;
                }
                open.close_without_dismissal();
            }
            Some(ended) if !is_enter && ended.dismissed_before(mark.at) => {
                return ended.add_late(mark);
            }
            _ => {}
        }
        self.begin(mark).add(mark);
        self.note_reentry(mark);
    }

    /// Marks an enter of the SDK by itself after a timeout that ended the session before: a room that everybody was lost
    /// from is closed.
    fn note_reentry(&mut self, mark: &RtcMark) {
        let Some(user) = mark.user.as_deref() else { return };
        if let [.., before, last] = self.drafts.as_mut_slice()
            && before.stays.is_reentry(user, mark)
        {
            last.stays.set_reentry(user);
        }
    }

    /// Whether a mark is the exit that a stay of the session before still waits for.
    fn is_of_the_session_before(&self, mark: &RtcMark) -> bool {
        let [.., before, last] = self.drafts.as_slice() else { return false };
        mark.what == What::Exit
            && before.dismissed_before(mark.at)
            && mark
                .user
                .as_deref()
                .is_some_and(|user| !last.stays.knows(user) && before.stays.waits_for_exit(user))
    }

    /// Begins a session without a create.
    fn begin(&mut self, mark: &RtcMark) -> &mut Draft<'a> {
        let row = RtcSession {
            session: mark.at.0,
            start: mark.at,
            start_estimated: true,
            created_at: None,
            creator: None,
            comm_id: None,
            end: None,
            end_inferred: false,
            dismissed_at: None,
            room_kind_guessed: false,
            is_repaired: false,
            last_at: mark.at,
            people: 0,
            people_inside: 0,
            robots: 0,
            occupied_from: None,
            occupied_until: None,
            stays: Vec::new(),
            intervals: Vec::new(),
        };
        let stays = Stays::new(self.room, self.robots, mark.at);
        let place = self.drafts.len();
        self.drafts.push(Draft { row, stays });
        &mut self.drafts[place]
    }
}

impl<'a> Draft<'a> {
    fn created(&mut self, room: &RtcRoomKey, mark: &RtcMark) {
        let row = &mut self.row;
        (row.session, row.created_at, row.start_estimated) = (mark.at.0, Some(mark.at), false);
        row.comm_id = Some(format!("{}_{}_{}", room.app, room.id, mark.at.as_secs()));
        (row.creator, row.last_at) = (mark.user.clone(), mark.at);
        row.is_repaired |= mark.is_repaired;
    }

    fn add(&mut self, mark: &'a RtcMark) {
        self.row.last_at = mark.at;
        self.stays.add(mark);
    }

    fn add_late(&mut self, mark: &'a RtcMark) {
        if let Some(end) = self.row.end {
            self.stays.add_late(mark, end);
        }
    }

    fn close_without_dismissal(&mut self) {
        self.stays.close_all(self.row.last_at);
        (self.row.end, self.row.end_inferred) = (Some(self.row.last_at), true);
    }

    /// Whether it was dismissed a short while before.
    fn dismissed_before(&self, at: UnixMillis) -> bool {
        self.row.dismissed_at.is_some_and(|dismissed| at.0 - dismissed.0 <= AFTER_MS)
    }

    fn is_overdue(&self, at: UnixMillis) -> bool {
        self.stays.is_empty() && at.0 - self.row.last_at.0 > IDLE_MS
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Command, Delivery};

    use crate::rtc::mark::mark;
    use crate::rtc::session::RtcAnomaly;
    use crate::rtc::stay::StayFlag;
    use crate::rtc::tests::samples::*;

    use super::*;

    const SECOND: i64 = 1000;
    const MINUTE: i64 = 60_000;

    /// Start and end of each session.
    fn spans(marks: &[RtcMark]) -> Vec<(i64, Option<i64>)> {
        let sessions = room(marks).sessions;
        sessions.iter().map(|of| (of.start.0 - T, of.end.map(|end| end.0 - T))).collect()
    }

    fn kinds(session: &RtcSession) -> Vec<RtcAnomaly> {
        session.findings().iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn m4_a_create_opens_a_session_and_is_no_entry() {
        let found = session(&[create("a", 166)]);
        assert_eq!((found.start, found.created_at), (t(166), Some(t(166))));
        assert_eq!((found.creator.as_deref(), found.start_estimated), (Some("a"), false));
        assert_eq!(found.comm_id.as_deref(), Some("1400000001_12345_1687770730"));
        assert_eq!((found.people, found.stays.len(), found.end), (0, 0, None));
        let found = session(&[create("a", 0), enter("a", 1700)]);
        assert_eq!((found.people, found.stays[0].start), (1, t(1700)));
        assert_eq!(found.findings(), []);
    }

    #[test]
    fn m4_an_event_just_before_the_create_is_of_its_session() {
        let found = session(&[enter("a", 0), create("a", 5000)]);
        assert_eq!((found.start, found.created_at), (t(0), Some(t(5000))));
        assert_eq!((found.session, found.start_estimated), (T + 5000, false));
        assert_eq!(spans(&[enter("a", 0), create("a", 5001)]), [(0, Some(0)), (5001, None)]);
    }

    #[test]
    fn m5_the_first_event_of_an_unknown_room_opens_a_session() {
        for first in [enter("a", 7), exit("a", 7), role("a", 7, 20), start(A, "a", 7), dismiss(7)] {
            let found = session(&[first]);
            assert_eq!((found.start, found.start_estimated), (t(7), true));
            assert_eq!((found.comm_id.as_ref(), found.created_at), (None, None));
            assert_eq!(kinds(&found), [RtcAnomaly::RoomWithoutCreate]);
        }
    }

    #[test]
    fn m6_a_dismissal_closes_the_session_and_all_in_it() {
        let marks = [create("a", 0), enter("a", 10), start(C, "a", 20), dismiss(90)];
        let found = session(&marks);
        assert_eq!((found.end, found.dismissed_at), (Some(t(90)), Some(t(90))));
        assert_eq!(found.stays[0].end, Some(t(90)));
        assert_eq!(found.intervals[0].end, Some(t(90)));
        assert_eq!(kinds(&found), [RtcAnomaly::ExitsMissing, RtcAnomaly::StopsMissing]);
    }

    #[test]
    fn m6_life_and_occupied_time_are_two_figures() {
        let marks = [
            create("a", 0),
            enter("robot", SECOND),
            enter("a", 2 * SECOND),
            enter("b", 3 * SECOND),
            exit("a", 50 * SECOND),
            exit("b", 60 * SECOND),
            exit("robot", 9 * MINUTE),
            dismiss(11 * MINUTE),
        ];
        let robots = BTreeSet::from(["robot".to_owned()]);
        let found = compute(&key(), &marks, &robots).sessions.remove(0);
        assert_eq!((found.life_ms(), found.occupied_ms()), (Some(11 * MINUTE), Some(58 * SECOND)));
        assert_eq!((found.people, found.stays.len()), (2, 3));
        // While somebody is inside there is no such time yet.
        let found = compute(&key(), &marks[..5], &robots).sessions.remove(0);
        assert_eq!((found.life_ms(), found.occupied_ms()), (None, None));
        assert_eq!(found.occupied_from, Some(t(2 * SECOND)));
    }

    #[test]
    fn m7_an_enter_before_the_dismissal_is_of_the_same_session() {
        let marks = [create("a", 0), enter("a", 1), exit("a", 5), enter("b", 400), dismiss(500)];
        assert_eq!(session(&marks).people, 2);
    }

    #[test]
    fn m7_a_create_or_an_enter_after_the_dismissal_opens_the_next() {
        for next in [create("b", 501), enter("b", 501)] {
            let marks = [create("a", 0), dismiss(500), next];
            assert_eq!(spans(&marks), [(0, Some(500)), (501, None)]);
        }
        let marks = [create("a", 0), dismiss(500), enter("b", 501)];
        assert!(room(&marks).sessions[1].start_estimated);
    }

    #[test]
    fn m7_other_events_soon_after_the_dismissal_open_none() {
        let begin = [create("a", 0), enter("a", 1), dismiss(500)];
        for (late, sessions) in [
            (exit("a", 500 + AFTER_MS), 1),
            (exit("a", 501 + AFTER_MS), 2),
            (start(C, "a", 600), 1),
            (stop(C, "a", 600), 1),
            (dismiss(600), 1),
            (role("a", 501 + AFTER_MS, 20), 2),
        ] {
            let found = room(&[&begin[..], &[late]].concat()).sessions;
            assert_eq!(found.len(), sessions);
            assert_eq!(found[0].end, Some(t(500)));
            assert_eq!(found[0].stays[0].end, Some(t(500)));
        }
    }

    #[test]
    fn an_exit_may_come_when_the_next_session_has_begun() {
        let marks = [create("a", 0), enter("a", 1), dismiss(500), create("b", 600), exit("a", 700)];
        let found = room(&marks).sessions;
        assert_eq!((found[0].stays.len(), found[1].stays.len()), (1, 0));
        assert!(!found[0].stays[0].has(StayFlag::EndInferred));
        assert_eq!(kinds(&found[0]), []);
    }

    #[test]
    fn m8_a_create_ends_a_session_whose_dismissal_was_lost() {
        let marks = [create("a", 0), enter("a", 10), start(C, "a", 20), create("b", 90_000)];
        let found = room(&marks).sessions;
        assert_eq!((found[0].end, found[0].end_inferred), (Some(t(20)), true));
        assert_eq!(found[0].stays[0].end, Some(t(20)));
        assert_eq!((found[1].start, found[1].end), (t(90_000), None));
        assert!(kinds(&found[0]).contains(&RtcAnomaly::RoomWithoutDismiss));
        // The same second: the vendor's name of the session is the same.
        assert_eq!(spans(&[create("a", 0), create("a", 999)]), [(0, None)]);
        assert_eq!(spans(&[create("a", 0), create("a", 1000)]), [(0, Some(0)), (1000, None)]);
    }

    #[test]
    fn m8_an_empty_room_is_over_after_15_minutes() {
        let begin = [create("a", 0), enter("a", 10), exit("a", 20)];
        let with = |next: RtcMark| spans(&[&begin[..], &[next]].concat());
        assert_eq!(with(enter("b", 20 + IDLE_MS)), [(0, None)]);
        let next = 21 + IDLE_MS;
        assert_eq!(with(enter("b", next)), [(0, Some(20)), (next, None)]);
        // A dismissal ends it however late it comes.
        assert_eq!(with(dismiss(next)), [(0, Some(next))]);

        let mut open = session(&begin);
        assert_eq!(open.overdue_at(), Some(t(20 + IDLE_MS)));
        open.close_overdue(t(20 + IDLE_MS));
        assert_eq!(open.end, None);
        open.close_overdue(t(next));
        assert_eq!((open.end, open.end_inferred), (Some(t(20)), true));
    }

    #[test]
    fn m8_no_session_is_over_while_somebody_is_inside() {
        let day = 24 * 60 * MINUTE;
        let marks = [create("a", 0), enter("a", 10), enter("b", day)];
        let mut found = session(&marks);
        assert_eq!(found.overdue_at(), None);
        found.close_overdue(t(9 * day));
        assert_eq!(found.end, None);
    }

    #[test]
    fn m9_creates_and_dismissals_are_ordered_by_their_time() {
        let marks = [dismiss(500), create("a", 0)];
        assert_eq!(spans(&marks), [(0, Some(500))]);
        assert_eq!(spans(&[dismiss(5), create("a", 5)]), [(5, Some(5))]);
        // At one moment the state before decides.
        let marks = [create("a", 0), enter("a", 0), dismiss(5), create("a", 5), exit("a", 5)];
        let found = room(&[&marks[..], &[enter("b", 5)]].concat()).sessions;
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].end, found[0].stays[0].end), (Some(t(5)), Some(t(5))));
        assert_eq!((found[1].start, found[1].people), (t(5), 1));
    }

    #[test]
    fn the_vendors_samples_make_one_session() {
        let marks: Vec<RtcMark> = Command::all()
            .filter_map(|command| mark(&Delivery::sample(command, app()).event(NOW)?))
            .collect();
        let key = RtcRoomKey { app: app(), ..marks[0].room.clone() };
        let found = compute(&key, &marks, &BTreeSet::new()).sessions.remove(0);
        assert!(found.room_kind_guessed);
        assert_eq!((found.creator.as_deref(), found.people), (Some("test"), 1));
        assert_eq!(found.comm_id.as_deref(), Some("1400000001_12345_1687770730"));
    }

    #[test]
    fn what_is_known_from_the_rest_api_is_flagged() {
        let repaired = |mark: RtcMark| identified(RtcMark { is_repaired: true, ..mark });
        let found = session(&[repaired(create("a", 0)), enter("a", 10), exit("a", 20)]);
        assert!(found.is_repaired && !found.stays[0].has(StayFlag::Repaired));
        let marks = [create("a", 0), enter("a", 10), enter("b", 11), repaired(exit("a", 20))];
        let found = session(&[&marks[..], &[repaired(dismiss(30))]].concat());
        assert!(found.is_repaired && found.stays[0].has(StayFlag::Repaired));
        assert!(!found.stays[1].has(StayFlag::Repaired));
        assert!(!session(&marks).is_repaired);
    }

    #[test]
    fn marks_beyond_the_bound_are_left_out_and_said_to_be() {
        let many = i64::try_from(MARKS_MAX).unwrap();
        let marks: Vec<RtcMark> = (0..=many).map(|at| create("a", at)).collect();
        let found = room(&marks);
        assert!(found.is_cut);
        assert_eq!(found.sessions.last().unwrap().last_at, t(many - 1));
        assert!(!room(&marks[1..]).is_cut);
    }
}
