//! What holds of every computed room.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::rtc::compute::{RtcRoom, compute};
use crate::rtc::mark::{Precision, RtcMark, Track, What};
use crate::rtc::publish::RtcPublishInterval;
use crate::rtc::room_kind::compute_both;
use crate::rtc::session::RtcSession;
use crate::rtc::stay::{RtcStay, StayFlag};
use crate::rtc::tests::samples::*;
use protocol::UnixMillis;

fn what() -> impl Strategy<Value = What> {
    let track = prop_oneof![Just(Track::Camera), Just(Track::Audio), Just(Track::Screen)];
    prop_oneof![
        1 => Just(What::Create),
        1 => Just(What::Dismiss),
        4 => Just(What::Enter),
        4 => Just(What::Exit),
        1 => Just(What::Role),
        3 => track.clone().prop_map(What::Start),
        2 => track.prop_map(What::Stop),
    ]
}

/// Times that meet each other, and the bounds of every rule.
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        3 => 0..12_i64,
        3 => (0..40_i64).prop_map(|at| at * 500),
        2 => (0..20_i64).prop_map(|at| at * 30_000),
        1 => (0..8_i64).prop_map(|at| at * 800_000),
    ]
}

pub(crate) fn one() -> impl Strategy<Value = RtcMark> {
    let user = prop_oneof![8 => (0..3_u8).prop_map(Some), 1 => Just(None)];
    let number = || prop::option::of(1..5_i64);
    let said = (number(), prop::option::of(20..22_i64), number());
    (what(), time(), user, said, any::<bool>(), any::<bool>()).prop_map(
        |(what, at, user, (reason, role, id), is_text, is_coarse)| {
            let mark = RtcMark {
                at: t(at),
                what,
                user: user.filter(|_| what != What::Dismiss).map(|user| format!("u{user}")),
                reason,
                role,
                // Most apps have none.
                unique_id: id.filter(|_| is_coarse),
                precision: if is_coarse { Precision::Seconds } else { Precision::Millis },
                ..dismiss(at)
            };
            if is_text { text(mark) } else { identified(mark) }
        },
    )
}

fn numeric() -> impl Strategy<Value = RtcMark> {
    one().prop_map(|mark| identified(RtcMark { room: key(), ..mark }))
}

/// Marks, and the same shuffled with some of them repeated.
fn shuffled(
    one: impl Strategy<Value = RtcMark>,
) -> impl Strategy<Value = (Vec<RtcMark>, Vec<RtcMark>)> {
    prop::collection::vec(one, 0..24).prop_flat_map(|marks| {
        let repeats = prop::sample::subsequence(marks.clone(), 0..=marks.len());
        let all = (Just(marks.clone()), repeats).prop_map(|(marks, more)| [marks, more].concat());
        (Just(marks), all.prop_shuffle())
    })
}

fn robots() -> BTreeSet<String> {
    BTreeSet::from(["u0".to_owned()])
}

fn check_room(room: &RtcRoom) -> Result<(), TestCaseError> {
    for pair in room.sessions.windows(2) {
        prop_assert!(pair[0].session < pair[1].session, "keys differ and rise");
        prop_assert!(pair[0].end.is_some_and(|end| end <= pair[1].start));
    }
    room.sessions.iter().try_for_each(check_session)
}

fn check_session(session: &RtcSession) -> Result<(), TestCaseError> {
    prop_assert!(session.end.is_none_or(|end| session.start <= end && session.last_at == end));
    prop_assert_eq!(session.end_inferred, session.end.is_some() && session.dismissed_at.is_none());
    prop_assert_eq!(session.start_estimated, session.created_at.is_none());
    prop_assert!(session.created_at.is_none_or(|at| session.start <= at && at <= session.last_at));
    let mut of_user: BTreeMap<&str, Vec<&RtcStay>> = BTreeMap::new();
    for stay in &session.stays {
        check_stay(session, stay)?;
        of_user.entry(&stay.user).or_default().push(stay);
    }
    for stays in of_user.values() {
        for pair in stays.windows(2) {
            let end = pair[0].end;
            prop_assert!(end.is_some_and(|end| end <= pair[1].earliest_start), "stays overlap");
        }
    }
    let ids: BTreeSet<_> = session.stays.iter().map(|stay| stay.id).collect();
    prop_assert_eq!(ids.len(), session.stays.len());
    prop_assert_eq!(session.people, of_user.keys().filter(|user| **user != "u0").count());
    prop_assert!(session.occupied_ms().is_none_or(|ms| ms >= 0));
    check_intervals(session)
}

fn check_stay(session: &RtcSession, stay: &RtcStay) -> Result<(), TestCaseError> {
    let lies_within = |from: UnixMillis, until: Option<UnixMillis>| {
        from <= stay.start && until.is_none_or(|until| stay.end.is_some_and(|end| end <= until))
    };
    prop_assert!(lies_within(session.start, session.end), "{stay:?}");
    prop_assert!(stay.earliest_start >= session.start && stay.earliest_start <= stay.start);
    prop_assert!(stay.end.is_none_or(|end| stay.start <= end));
    prop_assert!(stay.earliest_start == stay.start || stay.has(StayFlag::StartEstimated));
    prop_assert!(stay.presumed_end.is_none_or(|lost| stay.start <= lost && Some(lost) <= stay.end));
    prop_assert!(!stay.has(StayFlag::EndInferred) || stay.exit_reason.is_none());
    for pair in stay.roles.windows(2) {
        prop_assert!(pair[0].until == Some(pair[1].from) && pair[0].role != pair[1].role);
    }
    prop_assert!(stay.roles.first().is_none_or(|first| stay.start <= first.from));
    prop_assert!(stay.roles.last().is_none_or(|last| last.until == stay.end));
    Ok(())
}

fn check_intervals(session: &RtcSession) -> Result<(), TestCaseError> {
    let stays: BTreeMap<_, _> = session.stays.iter().map(|stay| (stay.id, stay)).collect();
    let mut of_track: BTreeMap<_, Vec<&RtcPublishInterval>> = BTreeMap::new();
    for interval in &session.intervals {
        let stay = stays[&interval.stay];
        prop_assert_eq!((&stay.user, stay.is_robot), (&interval.user, interval.is_robot));
        prop_assert!(stay.start <= interval.start, "{stay:?} {interval:?}");
        prop_assert!(interval.end.is_none_or(|end| interval.start <= end));
        let is_within = |end| interval.end.is_some_and(|own| own <= end);
        prop_assert!(stay.end.is_none_or(is_within), "{stay:?} {interval:?}");
        prop_assert_eq!(interval.end.is_some(), interval.ended_by.is_some());
        of_track.entry((interval.stay, interval.track)).or_default().push(interval);
    }
    for intervals in of_track.values() {
        for pair in intervals.windows(2) {
            prop_assert!(pair[0].end.is_some_and(|end| end <= pair[1].start), "{pair:?}");
        }
    }
    let is_open_screen = |of: &&RtcPublishInterval| of.track == Track::Screen && of.end.is_none();
    prop_assert!(session.intervals.iter().filter(is_open_screen).count() <= 1);
    let ids: BTreeSet<_> = session.intervals.iter().map(|interval| interval.id).collect();
    prop_assert_eq!(ids.len(), session.intervals.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn order_and_repeats_of_marks_do_not_matter((marks, shuffled) in shuffled(numeric())) {
        let room = |marks: &[RtcMark]| compute(&key(), marks, &robots());
        prop_assert_eq!(room(&marks), room(&shuffled));
    }

    #[test]
    fn all_lies_within_what_it_belongs_to((marks, _) in shuffled(numeric())) {
        check_room(&compute(&key(), &marks, &robots()))?;
    }

    #[test]
    fn both_kinds_of_an_id_are_computed_likewise((marks, shuffled) in shuffled(one())) {
        let both = |marks: &[RtcMark]| compute_both(app(), ROOM, marks, &robots());
        let found = both(&marks);
        prop_assert_eq!(&found, &both(&shuffled));
        check_room(&found.numeric)?;
        check_room(&found.string)?;
        let is_guess = |session: &RtcSession| session.room_kind_guessed;
        prop_assert!(!found.string.sessions.iter().any(is_guess));
    }

    #[test]
    fn a_session_that_is_closed_equals_one_that_a_create_ended((marks, _) in shuffled(numeric())) {
        let mut room = compute(&key(), &marks, &robots());
        let last = room.sessions.pop().filter(|last| last.end.is_none());
        let Some(mut last) = last else { return Ok(()) };
        let later = create("x", 99_000_000);
        let ended = compute(&key(), &[&marks[..], &[later]].concat(), &robots());
        last.close_without_dismissal();
        prop_assert_eq!(&last, &ended.sessions[ended.sessions.len() - 2]);
    }

    #[test]
    fn what_is_overdue_lies_within_its_bounds_when_closed((marks, _) in shuffled(numeric())) {
        let mut room = compute(&key(), &marks, &robots());
        if let Some(last) = room.sessions.last_mut() {
            let ends = last.end.is_some() || last.overdue_at().is_some();
            last.close_overdue(NOW);
            prop_assert_eq!(last.end.is_some(), ends);
        }
        check_room(&room)?;
        for session in &room.sessions {
            let found = session.findings();
            prop_assert!(found.iter().all(|finding| finding.count > 0));
            prop_assert!(found.is_sorted_by(|one, next| one.kind < next.kind));
        }
    }
}
