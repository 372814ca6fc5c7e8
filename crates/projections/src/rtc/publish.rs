//! When a user published camera, microphone or screen.

use uuid::Uuid;

use crate::rtc::mark::Track;
use protocol::UnixMillis;

/// What ended an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PublishEnd {
    /// Its stop.
    Stop,
    /// The user's exit, after which no stop comes.
    Exit,
    /// Another device of the user, which replaced this one.
    Replaced,
    /// The user became audience.
    Audience,
    /// Another user's screen: a room has one at a time, so a stop was probably lost.
    OtherScreen,
    /// The end of the session, before which no exit came.
    SessionEnd,
}

impl PublishEnd {
    /// Whether no event says that it ended then.
    #[must_use]
    pub fn is_inferred(self) -> bool {
        matches!(self, Self::Audience | Self::OtherScreen | Self::SessionEnd)
    }

    /// The word of the tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Exit => "exit",
            Self::Replaced => "replaced",
            Self::Audience => "audience",
            Self::OtherScreen => "other_screen",
            Self::SessionEnd => "session_end",
        }
    }
}

/// One interval of publishing, within a stay. A muted microphone is published all the same (M25).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcPublishInterval {
    /// The event that opened it: its start, or a stop without one.
    pub id: Uuid,
    /// The stay: the event that opened it.
    pub stay: Uuid,
    /// Who published.
    pub user: String,
    /// Whether it is a robot.
    pub is_robot: bool,
    /// What was published.
    pub track: Track,
    /// When it began; with `start_unknown` not before this.
    pub start: UnixMillis,
    /// When it ended; `None` while it goes on.
    pub end: Option<UnixMillis>,
    /// What ended it.
    pub ended_by: Option<PublishEnd>,
    /// No start came.
    pub start_unknown: bool,
}

impl RtcPublishInterval {
    /// Whether it ended without an event that says so.
    #[must_use]
    pub fn end_inferred(&self) -> bool {
        self.ended_by.is_some_and(PublishEnd::is_inferred)
    }

    /// Closes it, where it is open.
    pub(crate) fn close(&mut self, at: UnixMillis, by: PublishEnd) {
        if self.end.is_none() {
            (self.end, self.ended_by) = (Some(at), Some(by));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::rtc::compute::compute;
    use crate::rtc::mark::RtcMark;
    use crate::rtc::publish::*;
    use crate::rtc::tests::samples::*;

    /// Track, start and end of an interval, and what ended it.
    type Shown = (Track, i64, Option<i64>, Option<PublishEnd>);

    fn intervals(marks: &[RtcMark]) -> Vec<RtcPublishInterval> {
        session(&[&[create("x", 0), enter("a", 1), enter("b", 2)], marks].concat()).intervals
    }

    fn shown(marks: &[RtcMark]) -> Vec<Shown> {
        let relative = |of: &RtcPublishInterval| {
            (of.track, of.start.0 - T, of.end.map(|end| end.0 - T), of.ended_by)
        };
        intervals(marks).iter().map(relative).collect()
    }

    #[test]
    fn m22_a_track_is_published_from_start_to_stop() {
        let marks = [start(C, "a", 10), start(A, "a", 20), stop(C, "a", 30), start(C, "a", 40)];
        let by = Some(PublishEnd::Stop);
        let expected = [(C, 10, Some(30), by), (A, 20, None, None), (C, 40, None, None)];
        assert_eq!(shown(&marks), expected);
        assert!(intervals(&marks).iter().all(|of| of.user == "a" && !of.end_inferred()));
    }

    #[test]
    fn m22_an_exit_a_dismissal_and_a_replacement_close_all() {
        let begin = [start(C, "a", 10), start(S, "a", 20)];
        for (last, by, is_inferred) in [
            (exit("a", 90), PublishEnd::Exit, false),
            (enter("a", 90), PublishEnd::Replaced, false),
            (dismiss(90), PublishEnd::SessionEnd, true),
        ] {
            let marks = [&begin[..], &[last]].concat();
            assert_eq!(shown(&marks), [(C, 10, Some(90), Some(by)), (S, 20, Some(90), Some(by))]);
            assert!(intervals(&marks).iter().all(|of| of.end_inferred() == is_inferred));
        }
    }

    #[test]
    fn m23_a_start_while_open_changes_nothing() {
        let marks = [start(C, "a", 10), start(C, "a", 20), stop(C, "a", 30)];
        assert_eq!(shown(&marks), [(C, 10, Some(30), Some(PublishEnd::Stop))]);
    }

    #[test]
    fn m23_a_stop_without_a_start_has_an_unknown_start() {
        let found = intervals(&[stop(A, "a", 30), stop(A, "a", 50)]);
        let of = |place: usize| (found[place].start, found[place].end, found[place].start_unknown);
        assert_eq!(of(0), (t(1), Some(t(30)), true));
        assert_eq!(of(1), (t(30), Some(t(50)), true));
    }

    #[test]
    fn m24_a_stop_after_the_exit_opens_nothing() {
        let marks = [create("a", 0), enter("a", 831), exit("a", 898), stop(A, "a", 1383)];
        let found = session(&marks);
        assert_eq!((found.stays.len(), found.intervals.len()), (1, 0));
        assert_eq!((found.stays[0].end, found.stays[0].late_stops), (Some(t(898)), 1));
        let found = session(&[&marks[..2], &[dismiss(898), stop(A, "a", 1383)]].concat());
        assert_eq!((found.stays[0].end, found.stays[0].late_stops), (Some(t(898)), 1));
    }

    #[test]
    fn m25_muting_leaves_the_interval_open() {
        // No event tells of it: only the stop ends what is published.
        let marks = [start(A, "a", 10), stop(A, "a", 900_000)];
        assert_eq!(shown(&marks), [(A, 10, Some(900_000), Some(PublishEnd::Stop))]);
    }

    #[test]
    fn m20_becoming_audience_ends_publishing() {
        let by = Some(PublishEnd::Audience);
        let marks = [start(C, "a", 10), role("a", 50, 21), stop(C, "a", 60)];
        assert_eq!(shown(&marks), [(C, 10, Some(50), by)]);
        assert!(intervals(&marks)[0].end_inferred());
        // A stop of an earlier or equal time says more.
        let marks = [start(C, "a", 10), role("a", 50, 21), stop(C, "a", 50)];
        assert_eq!(shown(&marks), [(C, 10, Some(50), Some(PublishEnd::Stop))]);
        // Of an anchor again, it is the stop of another interval.
        let marks = [start(C, "a", 10), role("a", 50, 21), role("a", 60, 20), stop(C, "a", 90)];
        assert_eq!(shown(&marks)[1..], [(C, 50, Some(90), Some(PublishEnd::Stop))]);
        assert_eq!(shown(&[start(C, "a", 10), role("a", 50, 20)]), [(C, 10, None, None)]);
    }

    #[test]
    fn m26_a_second_screen_closes_the_older_one() {
        let marks = [start(S, "a", 10), start(S, "b", 50)];
        let older = (S, 10, Some(50), Some(PublishEnd::OtherScreen));
        assert_eq!(shown(&marks), [older, (S, 50, None, None)]);
        assert!(intervals(&marks)[0].end_inferred());
        // Its stop shows that it went on.
        let marks = [&marks[..], &[stop(S, "a", 70)]].concat();
        let older = (S, 10, Some(70), Some(PublishEnd::Stop));
        assert_eq!(shown(&marks), [older, (S, 50, None, None)]);
        // Cameras are many.
        let marks = [start(C, "a", 10), start(C, "b", 50)];
        assert_eq!(shown(&marks), [(C, 10, None, None), (C, 50, None, None)]);
    }

    #[test]
    fn m27_a_robot_publishes_too() {
        let recorder = format!("callkit_{}_record_{ROOM}", app());
        let marks = [
            create("a", 0),
            enter("a", 1),
            enter("ai", 2),
            start(A, "ai", 3),
            enter(&recorder, 4),
            start(C, &recorder, 5),
        ];
        let robots = BTreeSet::from(["ai".to_owned()]);
        let found = compute(&key(), &marks, &robots).sessions.remove(0);
        assert!(found.intervals.len() == 2 && found.intervals.iter().all(|of| of.is_robot));
        assert_eq!(found.stays.iter().filter(|stay| stay.is_robot).count(), 2);
        assert_eq!(found.people, 1);
    }
}
