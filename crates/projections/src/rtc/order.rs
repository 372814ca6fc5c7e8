//! The order in which marks count, without repeats, and how many of them.

use std::collections::BTreeSet;

use crate::rtc::mark::{RtcMark, What};
use protocol::json::room_id::RoomIdKind;

/// How many marks of a room are considered: the earliest. A show of 50,000 viewers makes about as many.
pub const MARKS_MAX: usize = 100_000;

/// A repaired mark is the same as a real one of the same kind and account that is no further away: its time is exact to
/// the second.
const SAME_MS: i64 = 2000;

/// Marks in order, each once.
pub(crate) struct Ordered<'a> {
    pub(crate) marks: Vec<&'a RtcMark>,
    /// Whether later ones were left out.
    pub(crate) is_cut: bool,
}

/// Orders marks, whatever order they come in. An event counts once.
pub(crate) fn ordered<'a>(marks: impl Iterator<Item = &'a RtcMark>, max: usize) -> Ordered<'a> {
    let mut marks: Vec<&RtcMark> = marks.collect();
    marks.sort_unstable();
    marks.dedup_by_key(|mark| mark.event_id);
    drop_needless_repairs(&mut marks);
    let is_cut = marks.len() > max;
    marks.truncate(max);
    Ordered { marks, is_cut }
}

/// Drops each repaired mark beside which a real one says the same: its event was not lost after all, or came later.
fn drop_needless_repairs(marks: &mut Vec<&RtcMark>) {
    type Said<'a> = (What, Option<&'a str>, i64);
    fn said(mark: &RtcMark) -> Said<'_> {
        (mark.what, mark.user.as_deref(), mark.at.0)
    }
    if !marks.iter().any(|mark| mark.is_repaired) {
        return;
    }
    let real: BTreeSet<Said<'_>> =
        marks.iter().filter(|mark| !mark.is_repaired).map(|mark| said(mark)).collect();
    marks.retain(|mark| {
        let (what, user, at) = said(mark);
        let near = (what, user, at - SAME_MS)..=(what, user, at + SAME_MS);
        !mark.is_repaired || real.range(near).next().is_none()
    });
}

/// Orders the marks of one moment, which are in order otherwise, where the moment ends one session of a room and begins
/// the next: what ends comes first. The state before decides, as in `session::moment`: `open_room` is the kind of the
/// room that a mark is of, where that room is in session.
pub(crate) fn turn(moment: &mut [&RtcMark], open_room: impl Fn(&RtcMark) -> Option<RoomIdKind>) {
    let rooms_with = |what: What| -> BTreeSet<RoomIdKind> {
        let marks = moment.iter().filter(|mark| mark.what == what);
        marks.filter_map(|mark| open_room(mark)).collect()
    };
    let turning = &rooms_with(What::Create) & &rooms_with(What::Dismiss);
    if turning.is_empty() {
        return;
    }
    let ends = |what| matches!(what, What::Stop(_) | What::Exit | What::Dismiss);
    let is_first = |mark: &RtcMark| {
        ends(mark.what) && open_room(mark).is_some_and(|kind| turning.contains(&kind))
    };
    moment.sort_by_key(|mark| !is_first(mark));
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::rtc::order::*;
    use crate::rtc::tests::samples::*;

    #[test]
    fn marks_of_one_moment_have_the_order_of_their_kinds() {
        let marks = [dismiss(5), exit("a", 5), role("a", 5, 21), stop(A, "a", 5), create("a", 5)];
        let found = ordered(marks.iter(), 9).marks;
        let expected = [What::Create, What::Stop(A), What::Role, What::Exit, What::Dismiss];
        assert_eq!(found.iter().map(|mark| mark.what).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_event_counts_once() {
        let marks = [enter("a", 5), enter("a", 5), enter("b", 5)];
        assert_eq!(ordered(marks.iter(), 9).marks.len(), 2);
    }

    #[test]
    fn a_repaired_mark_beside_a_real_one_is_dropped() {
        let repaired =
            |mark: RtcMark| RtcMark { event_id: Uuid::from_u128(7), is_repaired: true, ..mark };
        let kept = |marks: &[RtcMark]| {
            ordered(marks.iter(), 9).marks.iter().filter(|mark| mark.is_repaired).count()
        };
        for (at, expected) in [(8000, 0), (12_000, 0), (7999, 1), (12_001, 1)] {
            assert_eq!(kept(&[enter("a", 10_000), repaired(enter("a", at))]), expected, "{at}");
        }
        // Of another account, of another kind, and a dismissal as text of a numeric room.
        assert_eq!(kept(&[enter("a", 10_000), repaired(enter("b", 10_000))]), 1);
        assert_eq!(kept(&[enter("a", 10_000), repaired(exit("a", 10_000))]), 1);
        assert_eq!(kept(&[text(dismiss(10_000)), repaired(dismiss(9000))]), 0);
        // Two repairs do not drop each other.
        assert_eq!(kept(&[repaired(enter("a", 5))]), 1);
    }

    #[test]
    fn only_the_earliest_marks_count() {
        let marks = [enter("c", 9), enter("b", 7), enter("a", 5)];
        let found = ordered(marks.iter(), 2);
        assert!(found.is_cut);
        assert_eq!(found.marks, [&marks[2], &marks[1]]);
        assert!(!ordered(marks.iter(), 3).is_cut);
    }
}
