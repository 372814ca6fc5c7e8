//! Who was in a room, from when until when.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use crate::rtc::mark::{EnterReason, ExitReason};
use protocol::UnixMillis;

/// What is particular about a stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StayFlag {
    /// No enter came: another event proved presence. It began in `earliest_start..=start`.
    StartEstimated,
    /// No exit came: it ended with the session.
    EndInferred,
    /// Another device of the same user replaced it.
    Replaced,
    /// The SDK entered again by itself after a timeout.
    Reentry,
    /// A cross-room link brought the user here, whose own room is another.
    CrossRoom,
    /// An enter and an exit have the same time.
    OrderUnknown,
    /// An exit was taken for that of the device replaced by this one, and nothing shows that this one stayed.
    ExitDoubtful,
    /// The role at the exit is another than the last known one: a change of role was lost.
    RoleMissed,
    /// A time it begins or ends with is not exact to the ms.
    Coarse,
    /// Its enter or its exit is known from the vendor's REST API, not from an event.
    Repaired,
}

impl StayFlag {
    /// The word of the tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StartEstimated => "start_estimated",
            Self::EndInferred => "end_inferred",
            Self::Replaced => "replaced",
            Self::Reentry => "reentry",
            Self::CrossRoom => "cross_room",
            Self::OrderUnknown => "order_unknown",
            Self::ExitDoubtful => "exit_doubtful",
            Self::RoleMissed => "role_missed",
            Self::Coarse => "coarse",
            Self::Repaired => "repaired",
        }
    }
}

/// The role of a user for a part of a stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleInterval {
    /// 20 anchor, 21 audience.
    pub role: i64,
    /// Since when.
    pub from: UnixMillis,
    /// Until when; `None` while it lasts.
    pub until: Option<UnixMillis>,
}

/// One stay of a user in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcStay {
    /// The event that opened it.
    pub id: Uuid,
    /// Who.
    pub user: String,
    /// Whether it is a robot.
    pub is_robot: bool,
    /// When it began, or was first known.
    pub start: UnixMillis,
    /// When it began at the earliest: the same but with [`StayFlag::StartEstimated`].
    pub earliest_start: UnixMillis,
    /// When it ended, as billed; `None` while it lasts.
    pub end: Option<UnixMillis>,
    /// After a timeout: when the user was probably lost.
    pub presumed_end: Option<UnixMillis>,
    /// Why the user entered, by the first enter.
    pub enter_reason: Option<EnterReason>,
    /// Why it ended.
    pub exit_reason: Option<ExitReason>,
    /// 1 Windows, 2 Android, 3 iOS, 4 Linux, 100 another.
    pub terminal_type: Option<i64>,
    /// 1 WebRTC, 2 mini program, 3 native SDK.
    pub user_type: Option<i64>,
    /// The entry's `UniqueId`.
    pub unique_id: Option<i64>,
    /// The roles, in order of time.
    pub roles: Vec<RoleInterval>,
    /// How many enters it has: the first and those after reconnects.
    pub enters: u32,
    /// How many stops came after its exit.
    pub late_stops: u32,
    /// What is particular about it.
    pub flags: BTreeSet<StayFlag>,
}

impl RtcStay {
    /// How long it lasted, as billed; `None` while it lasts.
    #[must_use]
    pub fn duration_ms(&self) -> Option<i64> {
        Some(self.end?.0 - self.start.0)
    }

    /// Whether it is marked so.
    #[must_use]
    pub fn has(&self, flag: StayFlag) -> bool {
        self.flags.contains(&flag)
    }

    /// The user has this role from then on.
    pub(crate) fn set_role(&mut self, role: i64, at: UnixMillis) {
        if let Some(last) = self.roles.last_mut() {
            if last.role == role {
                return;
            }
            last.until = Some(at);
        }
        self.roles.push(RoleInterval { role, from: at, until: None });
    }
}

/// Stays of a user that a reconnecting SDK cut in pieces, seen as one (M13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcVisit {
    /// Who.
    pub user: String,
    /// The start of the first stay.
    pub start: UnixMillis,
    /// The end of the last stay; `None` while it lasts.
    pub end: Option<UnixMillis>,
    /// How many stays it is made of.
    pub stays: usize,
}

/// Joins each re-entry at most `window_ms` after a timeout to the stay before it. The stays of one session, in order.
#[must_use]
pub fn visits(stays: &[RtcStay], window_ms: i64) -> Vec<RtcVisit> {
    let mut visits: Vec<RtcVisit> = Vec::new();
    let mut last_of: HashMap<&str, usize> = HashMap::new();
    for stay in stays {
        let last = last_of.get(stay.user.as_str()).map(|place| &mut visits[*place]);
        let is_near = |end: UnixMillis| stay.start.0 - end.0 <= window_ms;
        match last {
            Some(visit) if stay.has(StayFlag::Reentry) && visit.end.is_some_and(is_near) => {
                visit.end = stay.end;
                visit.stays += 1;
            }
            _ => {
                last_of.insert(&stay.user, visits.len());
                let user = stay.user.clone();
                visits.push(RtcVisit { user, start: stay.start, end: stay.end, stays: 1 });
            }
        }
    }
    visits
}

#[cfg(test)]
mod tests {
    use crate::rtc::mark::{Precision, RtcMark};
    use crate::rtc::stay::*;
    use crate::rtc::tests::samples::*;

    const MINUTE: i64 = 60_000;

    /// The stays of a session that a create at 0 opens.
    fn stays(marks: &[RtcMark]) -> Vec<RtcStay> {
        session(&[&[create("x", 0)], marks].concat()).stays
    }

    fn span(stay: &RtcStay) -> (i64, Option<i64>) {
        (stay.start.0 - T, stay.end.map(|end| end.0 - T))
    }

    fn spans(marks: &[RtcMark]) -> Vec<(i64, Option<i64>)> {
        stays(marks).iter().map(span).collect()
    }

    fn flags(stay: &RtcStay) -> Vec<StayFlag> {
        stay.flags.iter().copied().collect()
    }

    #[test]
    fn m10_a_stay_lasts_from_enter_to_exit() {
        let found = stays(&[enter("a", 1831), enter("b", 1900), exit("a", 4898)]);
        assert_eq!((span(&found[0]), found[0].duration_ms()), ((1831, Some(4898)), Some(3067)));
        assert_eq!((span(&found[1]), found[1].duration_ms()), ((1900, None), None));
        assert_eq!(found[0].earliest_start, found[0].start);
        assert!(found.iter().all(|stay| stay.flags.is_empty()));
        let coarse = RtcMark { precision: Precision::Seconds, ..exit("a", 4000) };
        assert_eq!(flags(&stays(&[enter("a", 1831), coarse])[0]), [StayFlag::Coarse]);
    }

    #[test]
    fn m11_the_reason_of_an_exit_says_why_it_ended() {
        for (number, expected) in [
            (1, ExitReason::Left),
            (2, ExitReason::TimedOut),
            (3, ExitReason::Removed),
            (4, ExitReason::CrossRoomCancelled),
            (5, ExitReason::Killed),
            (9, ExitReason::Other(9)),
        ] {
            let found = stays(&[enter("a", 1), reason(exit("a", 9), number)]);
            assert_eq!(found[0].exit_reason, Some(expected));
        }
    }

    #[test]
    fn m12_a_timeout_presumes_an_earlier_end() {
        let lost = reason(exit("a", 200_000), 2);
        let found = stays(&[enter("a", 1), lost.clone()]);
        assert_eq!(found[0].end, Some(t(200_000)));
        assert_eq!(found[0].presumed_end, Some(t(110_000)));
        // Not before the last that is known of the user.
        let found = stays(&[enter("a", 1), start(C, "a", 150_000), lost.clone()]);
        assert_eq!(found[0].presumed_end, Some(t(150_000)));
        let found = stays(&[enter("a", 199_000), lost]);
        assert_eq!(found[0].presumed_end, Some(t(199_000)));
        assert_eq!(stays(&[enter("a", 1), exit("a", 200_000)])[0].presumed_end, None);
    }

    #[test]
    fn m13_an_enter_by_the_sdk_after_a_timeout_is_a_reentry() {
        let begin = [enter("a", 1), enter("b", 1), reason(exit("a", 100), 2)];
        let reentry = |at, number| {
            let found = stays(&[&begin[..], &[reason(enter("a", at), number)]].concat());
            assert_eq!(found.len(), 3);
            found[2].has(StayFlag::Reentry)
        };
        assert!(reentry(200, 2) && reentry(200, 3) && reentry(100 + 30 * MINUTE, 3));
        assert!(!reentry(200, 1) && !reentry(101 + 30 * MINUTE, 3));
        let left = stays(&[enter("a", 1), exit("a", 100), reason(enter("a", 200), 3)]);
        assert!(!left[1].has(StayFlag::Reentry));
        // Also into the next session: a room that all were lost from is closed.
        for begin in [&[create("a", 10_000)][..], &[]] {
            let again = [begin, &[reason(enter("a", 10_001), 3)]].concat();
            let marks = [create("a", 0), enter("a", 1), reason(exit("a", 100), 2), dismiss(101)];
            let found = room(&[&marks[..], &again].concat()).sessions.remove(1);
            assert_eq!(flags(&found.stays[0]), [StayFlag::Reentry]);
        }
    }

    #[test]
    fn m13_visits_join_reentries_within_a_window() {
        let found = stays(&[
            enter("a", 1),
            enter("b", 2),
            reason(exit("a", 100), 2),
            reason(enter("a", 30_100), 3),
            exit("b", 30_200),
            reason(exit("a", 40_000), 2),
            enter("a", 41_000),
        ]);
        let visit = |user: &str, start, end: Option<i64>, stays| RtcVisit {
            user: user.into(),
            start: t(start),
            end: end.map(t),
            stays,
        };
        let (b, last) = (visit("b", 2, Some(30_200), 1), visit("a", 41_000, None, 1));
        let joined = [visit("a", 1, Some(40_000), 2), b.clone(), last.clone()];
        assert_eq!(visits(&found, 30_000), joined);
        let apart = [visit("a", 1, Some(100), 1), b, visit("a", 30_100, Some(40_000), 1), last];
        assert_eq!(visits(&found, 29_999), apart);
    }

    #[test]
    fn m14_an_enter_by_the_sdk_continues_the_stay() {
        for number in [2, 3] {
            let again = RtcMark { terminal_type: Some(3), ..reason(enter("a", 50), number) };
            let found = stays(&[enter("a", 1), again, exit("a", 90)]);
            assert_eq!((span(&found[0]), found[0].enters), ((1, Some(90)), 2));
            assert_eq!((found.len(), found[0].terminal_type), (1, Some(3)));
            assert_eq!(found[0].enter_reason, Some(EnterReason::Voluntary));
        }
    }

    #[test]
    fn m14_a_voluntary_enter_replaces_the_device_before() {
        let found = stays(&[enter("a", 1), start(C, "a", 9), enter("a", 50), exit("a", 9000)]);
        assert_eq!([span(&found[0]), span(&found[1])], [(1, Some(50)), (50, Some(9000))]);
        assert_eq!([flags(&found[0]), flags(&found[1])], [vec![StayFlag::Replaced], vec![]]);
        assert_eq!((found[0].exit_reason, found[1].exit_reason), (None, Some(ExitReason::Left)));
    }

    #[test]
    fn m14_a_cross_room_link_brings_a_guest() {
        let found = stays(&[reason(enter("a", 1), 4), reason(exit("a", 50), 4)]);
        assert_eq!(flags(&found[0]), [StayFlag::CrossRoom]);
        assert_eq!(found[0].exit_reason, Some(ExitReason::CrossRoomCancelled));
    }

    #[test]
    fn m15_an_exit_soon_after_a_replacement_is_of_the_first_device() {
        let begin = [enter("a", 1), enter("a", 5000), reason(exit("a", 8000), 3)];
        let found = stays(&begin);
        assert_eq!([span(&found[0]), span(&found[1])], [(1, Some(5000)), (5000, None)]);
        assert_eq!(found[0].exit_reason, Some(ExitReason::Removed));
        assert_eq!(flags(&found[1]), [StayFlag::ExitDoubtful]);
        // Anything later shows that the second one stayed.
        let found = stays(&[&begin[..], &[start(C, "a", 9000)]].concat());
        assert_eq!(flags(&found[1]), []);
        let found = stays(&[&begin[..], &[exit("a", 8001)]].concat());
        assert_eq!((flags(&found[1]), span(&found[1])), (vec![], (5000, Some(8001))));
        // A second exit is of the second, also where no reason tells that the first one came.
        let silent = |at| RtcMark { reason: None, ..exit("a", at) };
        let found = stays(&[enter("a", 1), enter("a", 5000), silent(6000), silent(7000)]);
        assert_eq!((span(&found[1]), flags(&found[1])), ((5000, Some(7000)), vec![]));
        // Later it is of the second.
        assert_eq!(
            spans(&[enter("a", 1), enter("a", 5000), exit("a", 8001)]),
            [(1, Some(5000)), (5000, Some(8001))]
        );
    }

    #[test]
    fn m15_an_exit_of_the_same_unique_id_is_of_that_entry() {
        let begin = [unique(enter("a", 1), 7), unique(enter("a", 5000), 8)];
        let found = stays(&[&begin[..], &[unique(exit("a", 60_000), 7)]].concat());
        assert_eq!([span(&found[0]), span(&found[1])], [(1, Some(5000)), (5000, None)]);
        assert_eq!(found[0].exit_reason, Some(ExitReason::Left));
        let found = stays(&[&begin[..], &[unique(exit("a", 5001), 8)]].concat());
        assert_eq!((span(&found[1]), flags(&found[1])), ((5000, Some(5001)), vec![]));
        // One that equals none is paired by time.
        let found = stays(&[&begin[..], &[unique(exit("a", 5001), 9)]].concat());
        assert_eq!((span(&found[1]), found[0].exit_reason), ((5000, None), Some(ExitReason::Left)));
    }

    #[test]
    fn m15_an_entry_and_an_exit_of_one_unique_id_count_once() {
        let begin = [unique(enter("a", 1), 7), unique(enter("a", 5000), 7)];
        let found = stays(&[&begin[..], &[unique(exit("a", 9000), 8)]].concat());
        assert_eq!((found.len(), span(&found[0]), found[0].enters), (1, (1, Some(9000)), 2));
        for id in [7, 8] {
            let ends = [unique(exit("a", 9000), id), unique(exit("a", 20_000), id)];
            assert_eq!(spans(&[&begin[..], &ends].concat()), [(1, Some(9000))]);
        }
    }

    #[test]
    fn m16_at_one_moment_the_enter_comes_first() {
        let found = stays(&[exit("a", 50), enter("a", 50)]);
        assert_eq!((found.len(), span(&found[0])), (1, (50, Some(50))));
        assert_eq!(flags(&found[0]), [StayFlag::OrderUnknown]);
        // Of one who was inside, it is a second device, and the exit is the first one's.
        let found = stays(&[enter("a", 1), exit("a", 50), enter("a", 50)]);
        assert_eq!([span(&found[0]), span(&found[1])], [(1, Some(50)), (50, None)]);
        assert_eq!(flags(&found[1]), [StayFlag::OrderUnknown, StayFlag::ExitDoubtful]);
    }

    #[test]
    fn m17_an_exit_without_an_enter_has_no_certain_length() {
        let found = stays(&[exit("a", 50)]);
        assert_eq!((span(&found[0]), found[0].earliest_start), ((50, Some(50)), t(0)));
        assert_eq!(flags(&found[0]), [StayFlag::StartEstimated]);
        let found = stays(&[enter("a", 1), exit("a", 50), exit("a", 9000)]);
        assert_eq!((span(&found[1]), found[1].earliest_start), ((9000, Some(9000)), t(50)));
        // Within 3 s it is a repeat.
        assert_eq!(spans(&[enter("a", 1), exit("a", 50), exit("a", 3050)]), [(1, Some(50))]);
    }

    #[test]
    fn m17_a_stay_without_an_exit_ends_with_its_session() {
        let found = stays(&[enter("a", 1), dismiss(90)]);
        assert_eq!(
            (span(&found[0]), flags(&found[0])),
            ((1, Some(90)), vec![StayFlag::EndInferred])
        );
        // An exit after the dismissal says why, and changes no time.
        let found = stays(&[enter("a", 1), dismiss(90), reason(exit("a", 99), 3)]);
        assert_eq!((span(&found[0]), flags(&found[0])), ((1, Some(90)), vec![]));
        assert_eq!(found[0].exit_reason, Some(ExitReason::Removed));
    }

    #[test]
    fn m18_any_other_event_proves_presence() {
        for proof in [role("a", 50, 20), start(A, "a", 50), stop(S, "a", 50)] {
            let found = stays(&[proof, exit("a", 90)]);
            assert_eq!((found.len(), span(&found[0])), (1, (50, Some(90))));
            assert_eq!(
                (flags(&found[0]), found[0].earliest_start),
                (vec![StayFlag::StartEstimated], t(0))
            );
        }
        // After an exit, a start shows that an enter was lost.
        let found = stays(&[enter("a", 1), exit("a", 50), start(A, "a", 70)]);
        assert_eq!((span(&found[1]), found[1].earliest_start), ((70, None), t(50)));
        // An enter just after is that of the stay.
        let found = stays(&[start(A, "a", 50), enter("a", 55)]);
        assert_eq!((span(&found[0]), flags(&found[0]), found.len()), ((50, None), vec![], 1));
    }

    #[test]
    fn m19_terminal_and_user_type_are_those_of_the_enter() {
        let enter = RtcMark { terminal_type: Some(2), user_type: Some(3), ..enter("a", 1) };
        let found = stays(&[enter, role("a", 5, 20), exit("a", 9)]);
        assert_eq!((found[0].terminal_type, found[0].user_type), (Some(2), Some(3)));
    }

    #[test]
    fn m20_a_change_of_role_counts_from_then_on() {
        let marks = [with_role(enter("a", 1), 21), role("a", 5, 20), with_role(exit("a", 9), 20)];
        let found = stays(&marks);
        let interval =
            |role, from, until| RoleInterval { role, from: t(from), until: Some(t(until)) };
        assert_eq!(found[0].roles, [interval(21, 1, 5), interval(20, 5, 9)]);
        assert!(found[0].flags.is_empty());
        // Without the change between, the exit shows that one was lost.
        let found = stays(&[marks[0].clone(), marks[2].clone()]);
        assert_eq!(flags(&found[0]), [StayFlag::RoleMissed]);
        assert_eq!(found[0].roles, [interval(21, 1, 9)]);
    }

    #[test]
    fn m21_a_user_in_two_rooms_is_in_both() {
        let marks = [create("a", 0), enter("a", 1), text(create("a", 5)), text(enter("a", 6))];
        let of = |kind| {
            let key = crate::rtc::mark::RtcRoomKey { kind, ..key() };
            let found = crate::rtc::compute::compute(&key, &marks, &BTreeSet::new());
            found.sessions.iter().flat_map(|of| &of.stays).map(span).collect::<Vec<_>>()
        };
        assert_eq!(of(protocol::json::room_id::RoomIdKind::Numeric), [(1, None)]);
        assert_eq!(of(protocol::json::room_id::RoomIdKind::String), [(6, None)]);
    }
}
