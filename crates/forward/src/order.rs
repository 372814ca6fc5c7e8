//! Which events may be sent now, so that those of one call or room go one after the other.
//!
//! Each subject (a call, else a room) has a line: events that wait, in the order in which they were stored, whether one of them is
//! in flight, and holds: events that failed and keep later ones back until a moment. An event without a subject has nobody to wait
//! for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use protocol::UnixMillis;

use crate::event_columns::Subject;

/// An event's place in the order of storing. Positions of one feed differ; the id tells events apart whose position is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its position in the feed.
    pub position: i64,
    /// Its id.
    pub id: Uuid,
}

/// Lines of events, one for each subject.
#[derive(Debug, Default)]
pub struct Order {
    lines: HashMap<Subject, Line>,
    /// The events that may be sent: heads of lines, and those without a subject.
    ready: BTreeSet<Place>,
    /// When holds end.
    ends: BTreeSet<(UnixMillis, Subject, Place)>,
}

#[derive(Debug, Default)]
struct Line {
    waiting: BTreeSet<Place>,
    in_flight: bool,
    /// Events that failed, and until when they keep later ones back.
    holds: BTreeMap<Place, UnixMillis>,
}

/// No moment ends such a hold, only the event itself.
pub const UNTIL_DONE: UnixMillis = UnixMillis(i64::MAX);

impl Order {
    /// An event waits: it is new, or has come back.
    pub fn wait(&mut self, place: Place, subject: Option<Subject>) {
        let Some(subject) = subject else {
            self.ready.insert(place);
            return;
        };
        self.change(subject, |line| {
            line.waiting.insert(place);
        });
    }

    /// The first event that waits and may be sent.
    #[must_use]
    pub fn first_ready(&self) -> Option<Place> {
        self.ready.first().copied()
    }

    /// Whether an event that failed may be tried again: none of its subject is in flight, and none before it waits or holds it back.
    #[must_use]
    pub fn may_retry(&self, place: Place, subject: Option<Subject>) -> bool {
        let Some(line) = subject.and_then(|subject| self.lines.get(&subject)) else { return true };
        let is_first = line.waiting.first().is_none_or(|first| *first > place);
        !line.in_flight && is_first && line.is_free(place)
    }

    /// Whether an event of the subject is in flight.
    #[must_use]
    pub fn is_in_flight(&self, subject: Option<Subject>) -> bool {
        let line = subject.and_then(|subject| self.lines.get(&subject));
        line.is_some_and(|line| line.in_flight)
    }

    /// Whether the event holds back later ones of its subject.
    #[must_use]
    pub fn holds(&self, place: Place, subject: Option<Subject>) -> bool {
        let line = subject.and_then(|subject| self.lines.get(&subject));
        line.is_some_and(|line| line.holds.contains_key(&place))
    }

    /// An event is sent.
    pub fn sent(&mut self, place: Place, subject: Option<Subject>) {
        let Some(subject) = subject else {
            self.ready.remove(&place);
            return;
        };
        self.change(subject, |line| {
            line.waiting.remove(&place);
            line.in_flight = true;
        });
    }

    /// An event is no longer in flight. Where it is not done, call next [`Order::wait`] or
    /// [`Order::hold`].
    pub fn ended(&mut self, subject: Option<Subject>) {
        if let Some(subject) = subject {
            self.change(subject, |line| line.in_flight = false);
        }
    }

    /// An event holds back later ones of its subject until this moment, or [`UNTIL_DONE`].
    pub fn hold(&mut self, place: Place, subject: Option<Subject>, until: UnixMillis) {
        let Some(subject) = subject else { return };
        self.free(place, Some(subject));
        self.ends.insert((until, subject, place));
        self.change(subject, |line| {
            line.holds.insert(place, until);
        });
    }

    /// An event holds back none any more, and does not wait.
    pub fn free(&mut self, place: Place, subject: Option<Subject>) {
        let Some(subject) = subject else {
            self.ready.remove(&place);
            return;
        };
        let mut until = None;
        self.change(subject, |line| {
            line.waiting.remove(&place);
            until = line.holds.remove(&place);
        });
        if let Some(until) = until {
            self.ends.remove(&(until, subject, place));
        }
    }

    /// Ends the holds whose moment has come.
    pub fn advance(&mut self, now: UnixMillis) {
        while let Some(&(until, subject, place)) = self.ends.first() {
            if until > now {
                break;
            }
            self.ends.pop_first();
            self.change(subject, |line| {
                line.holds.remove(&place);
            });
        }
    }

    /// When the next hold ends by itself.
    #[must_use]
    pub fn next_end(&self) -> Option<UnixMillis> {
        self.ends.first().map(|(until, ..)| *until).filter(|until| *until != UNTIL_DONE)
    }

    /// Changes a line, and which of its events is ready.
    fn change(&mut self, subject: Subject, change: impl FnOnce(&mut Line)) {
        let line = self.lines.entry(subject).or_default();
        let before = line.ready();
        change(line);
        let after = line.ready();
        if before != after {
            if let Some(before) = before {
                self.ready.remove(&before);
            }
            self.ready.extend(after);
        }
        if line.is_empty() {
            self.lines.remove(&subject);
        }
    }
}

impl Line {
    /// The event that may be sent: the first that waits, where none is in flight and none before it holds it back.
    fn ready(&self) -> Option<Place> {
        let first = self.waiting.first().copied();
        first.filter(|first| !self.in_flight && self.is_free(*first))
    }

    fn is_free(&self, place: Place) -> bool {
        self.holds.first_key_value().is_none_or(|(hold, _)| *hold >= place)
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.in_flight && self.holds.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(position: i64) -> Place {
        Place { position, id: Uuid::from_u128(position.unsigned_abs().into()) }
    }

    #[test]
    fn events_of_one_subject_go_one_after_the_other() {
        let (mut order, subject) = (Order::default(), Some(Subject(7)));
        for position in [3, 1, 2] {
            order.wait(place(position), subject);
        }
        order.wait(place(4), None);
        assert_eq!(order.first_ready(), Some(place(1)));
        order.sent(place(1), subject);
        assert_eq!(order.first_ready(), Some(place(4)), "its subject is in flight");
        order.sent(place(4), None);
        assert_eq!(order.first_ready(), None);
        order.ended(subject);
        assert_eq!(order.first_ready(), Some(place(2)));
        order.wait(place(1), subject);
        assert_eq!(order.first_ready(), Some(place(1)), "it came back");
    }

    #[test]
    fn an_event_that_failed_holds_later_ones_back_until_a_moment() {
        let (mut order, subject) = (Order::default(), Some(Subject(7)));
        order.wait(place(1), subject);
        order.wait(place(2), subject);
        order.sent(place(1), subject);
        order.ended(subject);
        order.hold(place(1), subject, UnixMillis(60_000));
        assert_eq!(order.first_ready(), None);
        assert!(order.may_retry(place(1), subject) && order.holds(place(1), subject));
        assert_eq!(order.next_end(), Some(UnixMillis(60_000)));
        order.advance(UnixMillis(59_999));
        assert_eq!(order.first_ready(), None);
        order.advance(UnixMillis(60_000));
        assert_eq!((order.first_ready(), order.next_end()), (Some(place(2)), None));
        assert!(!order.may_retry(place(3), subject), "an earlier one waits");
        order.hold(place(1), subject, UNTIL_DONE);
        assert_eq!((order.first_ready(), order.next_end()), (None, None));
        order.free(place(1), subject);
        assert_eq!(order.first_ready(), Some(place(2)));
    }

    /// Where an event is.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Is {
        Waiting,
        InFlight,
        Failing(i64),
        Done,
    }

    proptest! {
        #[test]
        fn what_is_ready_is_what_the_rule_says(
            subjects in prop::collection::vec(prop::option::of(0..3_i64), 1..20),
            steps in prop::collection::vec((any::<prop::sample::Index>(), 0..5_u8, 1..50_i64), 0..80),
        ) {
            let mut order = Order::default();
            let mut now = 0;
            let subject = |number: usize| subjects[number].map(Subject);
            let at = |number: usize| place(i64::try_from(number).unwrap());
            let mut all: Vec<Is> = vec![Is::Waiting; subjects.len()];
            for number in 0..subjects.len() {
                order.wait(at(number), subject(number));
            }
            for (index, step, ms) in steps {
                let number = index.index(all.len());
                let may_be_sent = |all: &[Is], number: usize| {
                    let mates = (0..all.len()).filter(|other| {
                        *other != number && subjects[number].is_some() && subjects[*other] == subjects[number]
                    });
                    mates.into_iter().all(|mate| match all[mate] {
                        Is::InFlight => false,
                        Is::Waiting => mate > number,
                        Is::Failing(until) => mate > number || until <= now,
                        Is::Done => true,
                    })
                };
                let is_ready = |number: &usize| all[*number] == Is::Waiting && may_be_sent(&all, *number);
                let want = (0..all.len()).find(is_ready);
                prop_assert_eq!(order.first_ready(), want.map(at));
                match (all[number], step) {
                    (Is::Waiting, _) if may_be_sent(&all, number) => {
                        order.sent(at(number), subject(number));
                        all[number] = Is::InFlight;
                    }
                    (Is::Failing(_), 0..=2) => {
                        let may = may_be_sent(&all, number);
                        prop_assert_eq!(order.may_retry(at(number), subject(number)), may);
                        if may {
                            order.free(at(number), subject(number));
                            order.sent(at(number), subject(number));
                            all[number] = Is::InFlight;
                        }
                    }
                    (Is::InFlight, 0 | 1) => {
                        order.ended(subject(number));
                        all[number] = Is::Done;
                    }
                    (Is::InFlight, 2) => {
                        order.ended(subject(number));
                        order.wait(at(number), subject(number));
                        all[number] = Is::Waiting;
                    }
                    (Is::InFlight, 3) => {
                        order.ended(subject(number));
                        order.hold(at(number), subject(number), UnixMillis(now + ms));
                        all[number] = Is::Failing(now + ms);
                    }
                    _ => {
                        now += ms;
                        order.advance(UnixMillis(now));
                    }
                }
            }
        }
    }
}
