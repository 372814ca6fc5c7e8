//! What is computed from a cut on is what the whole computation gives.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::rtc::cut::{CUT_BEFORE_MS, CutSession, cut};
use crate::rtc::mark::RtcMark;
use crate::rtc::room_kind::compute_both;
use crate::rtc::session::RtcSession;
use crate::rtc::tests::properties::one;
use crate::rtc::tests::samples::*;
use protocol::UnixMillis;
use protocol::json::room_id::RoomIdKind;

const MINUTE: i64 = 60_000;
const KINDS: [RoomIdKind; 2] = [RoomIdKind::Numeric, RoomIdKind::String];

type Sessions = Vec<(RoomIdKind, RtcSession)>;

fn sessions(marks: &[RtcMark]) -> Sessions {
    let both = compute_both(app(), ROOM, marks, &BTreeSet::new());
    let mut all: Sessions =
        both.numeric.sessions.into_iter().map(|of| (RoomIdKind::Numeric, of)).collect();
    all.extend(both.string.sessions.into_iter().map(|of| (RoomIdKind::String, of)));
    all.sort_by_key(|(kind, session)| (*kind, session.session));
    all
}

fn from(marks: &[RtcMark], at: UnixMillis) -> Vec<RtcMark> {
    marks.iter().filter(|mark| mark.at >= at).cloned().collect()
}

/// The sessions that began before a cut, and those computed from it on.
fn joined(before: &Sessions, marks: &[RtcMark], at: UnixMillis) -> Sessions {
    let mut all = before.clone();
    all.retain(|(_, session)| session.start < at);
    all.extend(sessions(&from(marks, at)));
    all.sort_by_key(|(kind, session)| (*kind, session.session));
    all
}

/// Marks over some hours, in which rooms begin and end.
fn marks() -> impl Strategy<Value = Vec<RtcMark>> {
    let base = prop_oneof![
        (0..14_i64).prop_map(|at| at * 30 * MINUTE),
        (0..420_i64).prop_map(|at| at * MINUTE)
    ];
    let one = (one(), base).prop_map(|(mark, base)| {
        let at = UnixMillis(mark.at.0 % (2 * MINUTE) + base + T);
        identified(RtcMark { at, ..mark })
    });
    prop::collection::vec(one, 0..30)
}

/// The cut that is read from settled sessions, of each kind the latest few.
fn settled_cut(settled: &Sessions, until: UnixMillis, few: usize) -> Option<UnixMillis> {
    let (mut latest, mut known_from) = (Vec::new(), None);
    for kind in KINDS {
        let of_kind = settled.iter().filter(|(of, _)| *of == kind).rev();
        let rows: Vec<&RtcSession> = of_kind
            .map(|(_, session)| session)
            .filter(|of| of.session <= until.0)
            .take(few)
            .collect();
        latest.extend(rows.iter().map(|session| CutSession::of(kind, session)));
        if rows.len() == few {
            known_from = known_from.max(rows.last().map(|last| last.start));
        }
    }
    cut(&latest, known_from, until)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn new_marks_need_only_those_since_the_last_cut(
        (marks, new) in marks().prop_flat_map(|marks| {
            let many = marks.len();
            (Just(marks), prop::collection::vec(prop::bool::weighted(0.1), many))
        }),
        few in 1..4_usize,
        closes: bool,
    ) {
        let pick = |is_new: bool| -> Vec<RtcMark> {
            marks.iter().zip(&new).filter(|(_, new)| **new == is_new).map(|(mark, _)| mark.clone()).collect()
        };
        let mut settled = sessions(&pick(false));
        if closes {
            for (_, session) in &mut settled {
                session.close_overdue(NOW);
            }
        }
        let Some(first) = pick(true).iter().map(|mark| mark.at.0).min() else { return Ok(()) };
        let Some(at) = settled_cut(&settled, UnixMillis(first - CUT_BEFORE_MS), few) else { return Ok(()) };
        prop_assert_eq!(joined(&settled, &marks, at), sessions(&marks), "cut at {}", at.0 - T);
    }

    #[test]
    fn marks_can_be_computed_in_portions((marks, portion) in (marks(), 1..30_usize)) {
        let mut sorted = marks.clone();
        sorted.sort_unstable();
        let Some(behind) = sorted.get(portion).map(|mark| mark.at) else { return Ok(()) };
        sorted.retain(|mark| mark.at < behind);
        let (Some(last), before) = (sorted.last(), sessions(&sorted)) else { return Ok(()) };
        let found: Vec<_> = before.iter().map(|(kind, session)| CutSession::of(*kind, session)).collect();
        let Some(at) = cut(&found, None, last.at) else { return Ok(()) };
        prop_assert_eq!(joined(&before, &marks, at), sessions(&marks), "cut at {}", at.0 - T);
    }
}

#[test]
fn a_dismissed_session_is_not_read_again() {
    let day = 24 * 60 * MINUTE;
    let call =
        |at: i64| [create("a", at), enter("a", at + 10), exit("a", at + 9000), dismiss(at + 9001)];
    let settled = sessions(&[call(0), call(day)].concat());
    assert_eq!(settled_cut(&settled, t(2 * day), 25), Some(t(day + 9001 + 30 * MINUTE + 1)));
    assert_eq!(settled_cut(&settled, t(day + 9001), 25), Some(t(day)));
    // Somebody is inside for a day.
    let open = sessions(&[create("a", 0), enter("a", 10), text(create("b", day))]);
    assert_eq!(settled_cut(&open, t(9 * day), 25), Some(t(0)));
}
