//! Which room a dismissal is of (M1): it comes as text for a numeric room too.

use std::collections::BTreeSet;

use crate::rtc::compute::{RtcRoom, Sweep};
use crate::rtc::mark::{RtcMark, RtcRoomKey, What};
use crate::rtc::order::{MARKS_MAX, Ordered, ordered, turn};
use protocol::AppId;
use protocol::json::room_id::RoomIdKind;

/// The kind of the room that a dismissal is of, `sent` being that of its id and `open` the kinds of rooms with this id
/// that are in session at that time. `None` where that cannot be told.
///
/// No sample shows a number for a room named by text, so a number is taken as sent. A text that no number is written as
/// is one. Of others the one session that is open is meant; where both are, or none, nobody knows.
#[must_use]
pub fn owner_of_dismiss(
    id: &str,
    sent: RoomIdKind,
    open: &BTreeSet<RoomIdKind>,
) -> Option<RoomIdKind> {
    if sent == RoomIdKind::Numeric || !is_numeric(id) {
        return Some(sent);
    }
    open.first().filter(|_| open.len() == 1).copied()
}

/// Whether a numeric room can have this id: 1 to 4294967295, as a number is written.
#[must_use]
pub fn is_numeric(id: &str) -> bool {
    id.parse::<u32>().is_ok_and(|number| number > 0 && number.to_string() == id)
}

/// The two rooms of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BothKinds {
    /// The room named by a number.
    pub numeric: RtcRoom,
    /// The room named by a text.
    pub string: RtcRoom,
    /// Dismissals of which nobody knows which room they are of, in order.
    pub unattached: Vec<RtcMark>,
}

/// Computes both rooms of an id, each as [`compute`](crate::rtc::compute::compute) does, with each dismissal given to
/// the room that is in session at its time.
#[must_use]
pub fn compute_both(
    app: AppId,
    id: &str,
    marks: &[RtcMark],
    robots: &BTreeSet<String>,
) -> BothKinds {
    let key = |kind| RtcRoomKey { app, id: id.to_owned(), kind };
    let keys = [key(RoomIdKind::Numeric), key(RoomIdKind::String)];
    let mut sweeps = [Sweep::new(&keys[0], robots), Sweep::new(&keys[1], robots)];
    let is_of_id = |mark: &&RtcMark| mark.room.app == app && mark.room.id == id;
    let Ordered { mut marks, is_cut } = ordered(marks.iter().filter(is_of_id), MARKS_MAX);
    let mut unattached = Vec::new();
    for moment in marks.chunk_by_mut(|one, next| one.at == next.at) {
        let owner = |mark: &RtcMark, open: &BTreeSet<RoomIdKind>| match mark.what {
            What::Dismiss => owner_of_dismiss(id, mark.room.kind, open),
            _ => Some(mark.room.kind),
        };
        let open_before = open(&sweeps);
        turn(moment, |mark| owner(mark, &open_before).filter(|kind| open_before.contains(kind)));
        for mark in moment {
            match owner(mark, &open(&sweeps)) {
                Some(kind) => sweeps[index(kind)].add(mark),
                None => unattached.push((*mark).clone()),
            }
        }
    }
    let [numeric, string] = sweeps.map(|sweep| sweep.finish(is_cut));
    BothKinds { numeric, string, unattached }
}

fn index(kind: RoomIdKind) -> usize {
    match kind {
        RoomIdKind::Numeric => 0,
        RoomIdKind::String => 1,
    }
}

fn open(sweeps: &[Sweep<'_>; 2]) -> BTreeSet<RoomIdKind> {
    let kinds = [RoomIdKind::Numeric, RoomIdKind::String].into_iter();
    kinds.filter(|kind| sweeps[index(*kind)].is_open()).collect()
}

#[cfg(test)]
mod tests {
    use crate::rtc::room_kind::*;
    use crate::rtc::tests::samples::*;

    const NUMERIC: RoomIdKind = RoomIdKind::Numeric;
    const STRING: RoomIdKind = RoomIdKind::String;

    fn both(marks: &[RtcMark]) -> BothKinds {
        compute_both(app(), ROOM, marks, &BTreeSet::new())
    }

    #[test]
    fn m1_a_dismissal_is_of_the_one_room_that_is_open() {
        let owner = |id, sent, open: &[RoomIdKind]| {
            owner_of_dismiss(id, sent, &open.iter().copied().collect())
        };
        assert_eq!(owner("123", STRING, &[STRING]), Some(STRING));
        assert_eq!(owner("123", STRING, &[NUMERIC]), Some(NUMERIC));
        assert_eq!(owner("123", STRING, &[NUMERIC, STRING]), None);
        assert_eq!(owner("123", STRING, &[]), None);
        for open in [&[][..], &[NUMERIC], &[STRING], &[NUMERIC, STRING]] {
            assert_eq!(owner("123", NUMERIC, open), Some(NUMERIC));
            for id in ["a", "0123", "0", "4294967296", "-1", "+1", "１２", ""] {
                assert_eq!(owner(id, STRING, open), Some(STRING), "{id}");
            }
        }
    }

    #[test]
    fn m1_a_text_dismisses_the_numeric_room_and_is_flagged() {
        let found = both(&[create("a", 0), enter("a", 1), exit("a", 50), text(dismiss(60))]);
        assert_eq!(found.numeric.sessions[0].dismissed_at, Some(t(60)));
        assert!(found.numeric.sessions[0].room_kind_guessed);
        assert_eq!((found.string.sessions.len(), found.unattached.len()), (0, 0));
        let exact = both(&[create("a", 0), dismiss(60)]);
        assert!(!exact.numeric.sessions[0].room_kind_guessed);
    }

    #[test]
    fn m1_with_both_rooms_open_a_dismissal_stays_unattached() {
        let marks = [create("a", 0), text(create("b", 5)), text(dismiss(60))];
        let found = both(&marks);
        assert!(found.numeric.sessions[0].end.is_none());
        assert!(found.string.sessions[0].end.is_none());
        assert_eq!(found.unattached, [marks[2].clone()]);
        // One of them has ended before.
        let found = both(&[create("a", 0), text(create("b", 5)), dismiss(30), text(dismiss(60))]);
        assert_eq!(found.numeric.sessions[0].end, Some(t(30)));
        assert_eq!(found.string.sessions[0].end, Some(t(60)));
        assert!(!found.string.sessions[0].room_kind_guessed);
    }

    #[test]
    fn m9_at_one_moment_each_room_has_an_order_of_its_own() {
        let spans = |room: &RtcRoom| {
            room.sessions.iter().map(|of| (of.start.0 - T, of.end)).collect::<Vec<_>>()
        };
        // The room named by text is in session, the other is created and dismissed at 5.
        let found = both(&[text(create("b", 0)), create("a", 5), dismiss(5)]);
        assert_eq!(spans(&found.numeric), [(5, Some(t(5)))]);
        assert_eq!(spans(&found.string), [(0, None)]);
        // The one in session ends, by text, and begins again.
        let found = both(&[create("a", 0), create("a", 5), text(dismiss(5))]);
        assert_eq!(spans(&found.numeric), [(0, Some(t(5))), (5, None)]);
    }

    #[test]
    fn a_repeated_dismissal_by_text_opens_no_room() {
        let found = both(&[create("a", 0), text(dismiss(60)), text(dismiss(61))]);
        assert_eq!((found.numeric.sessions.len(), found.string.sessions.len()), (1, 0));
        assert_eq!(found.unattached.len(), 1);
    }
}
