//! The order in which marks count, without repeats, and how many of them.

use std::collections::BTreeSet;

use crate::rtc::mark::{RtcMark, What};
use protocol::json::room_id::RoomIdKind;

/// How many marks of a room are considered: the earliest. A show of 50,000 viewers makes about as many.
pub(crate) const MARKS_MAX: usize = 100_000;

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
    let is_cut = marks.len() > max;
    marks.truncate(max);
    Ordered { marks, is_cut }
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
    use crate::rtc::order::*;
    use crate::rtc::samples::*;

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
    fn only_the_earliest_marks_count() {
        let marks = [enter("c", 9), enter("b", 7), enter("a", 5)];
        let found = ordered(marks.iter(), 2);
        assert!(found.is_cut);
        assert_eq!(found.marks, [&marks[2], &marks[1]]);
        assert!(!ordered(marks.iter(), 3).is_cut);
    }
}
