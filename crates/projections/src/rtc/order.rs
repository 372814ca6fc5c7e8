//! The order in which marks count, without repeats, and how many of them.

use std::collections::HashSet;

use crate::rtc::mark::{RtcMark, What};

/// How many marks of a room are considered: the earliest. A live room of 50,000 viewers makes about 100,000.
pub(crate) const MARKS_MAX: usize = 200_000;

/// Marks in order, each once.
pub(crate) struct Ordered<'a> {
    pub(crate) marks: Vec<&'a RtcMark>,
    /// Whether later ones were left out.
    pub(crate) is_cut: bool,
}

/// Orders marks, whatever order they come in. An event counts once, and so do an entry and an exit that have a
/// `UniqueId`, which the vendor sends to tell repeats apart.
pub(crate) fn ordered<'a>(marks: impl Iterator<Item = &'a RtcMark>, max: usize) -> Ordered<'a> {
    let mut marks: Vec<&RtcMark> = marks.collect();
    marks.sort_unstable();
    marks.dedup_by_key(|mark| mark.event_id);
    let mut met = HashSet::new();
    marks.retain(|mark| match (mark.what, mark.unique_id) {
        (What::Enter | What::Exit, Some(id)) => {
            met.insert((mark.what, mark.user.as_deref(), &mark.room, id))
        }
        _ => true,
    });
    let is_cut = marks.len() > max;
    marks.truncate(max);
    Ordered { marks, is_cut }
}

/// Orders the marks of one moment, which are in order otherwise, where the moment ends one session and begins the
/// next: what ends comes first. `is_open` is the state before, as in `session::moment`.
pub(crate) fn turn(moment: &mut [&RtcMark], is_open: bool) {
    let has = |what| moment.iter().any(|mark| mark.what == what);
    if is_open && has(What::Create) && has(What::Dismiss) {
        let ends = |what| matches!(what, What::Stop(_) | What::Exit | What::Dismiss);
        moment.sort_by_key(|mark| !ends(mark.what));
    }
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
    fn an_event_and_an_entry_count_once() {
        let marks = [enter("a", 5), enter("a", 5), enter("b", 5)];
        assert_eq!(ordered(marks.iter(), 9).marks.len(), 2);
        let marks = [unique(enter("a", 5), 7), unique(enter("a", 6), 7), unique(exit("a", 6), 7)];
        let found = ordered(marks.iter(), 9).marks;
        assert_eq!(found.iter().map(|mark| mark.at.0 - T).collect::<Vec<_>>(), [5, 6]);
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
