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

    /// An event that was in flight is so no more. What becomes of it is said next: nothing where it is done, else [`Order::wait`] or
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
