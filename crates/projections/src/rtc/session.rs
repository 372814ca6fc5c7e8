//! One life of a room: its bounds, its figures and what is missing in it.

use std::collections::BTreeSet;

use crate::rtc::publish::{PublishEnd, RtcPublishInterval};
use crate::rtc::stay::{RtcStay, StayFlag};
use protocol::UnixMillis;

/// A session without a dismissal is over when nobody is inside and nothing was heard of it for this long. A room whose
/// last user is audience goes on for 10 min (36057), so at least 12 min (M8).
pub const IDLE_MS: i64 = 15 * 60_000;

/// One session of a room. Times are those of marks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are columns of a table")]
pub struct RtcSession {
    /// The session's key: the time of its create; without one, `start`. In ms since 1970.
    pub session: i64,
    /// When it began: its create, or the first event where that is earlier or alone.
    pub start: UnixMillis,
    /// No create came: it began at `start` at the latest.
    pub start_estimated: bool,
    /// The time of its create.
    pub created_at: Option<UnixMillis>,
    /// Who created it: the first who entered, which may be a robot.
    pub creator: Option<String>,
    /// The vendor's name of it, `<app>_<room>_<create time in s>`; `None` without a create.
    pub comm_id: Option<String>,
    /// When it ended; `None` while it is open.
    pub end: Option<UnixMillis>,
    /// No dismissal came: it ended with its last event.
    pub end_inferred: bool,
    /// The time of its dismissal.
    pub dismissed_at: Option<UnixMillis>,
    /// The dismissal named a room of the other kind of id (M1).
    pub room_kind_guessed: bool,
    /// Its create or its dismissal is known from the vendor's REST API, not from an event.
    pub is_repaired: bool,
    /// The last event within it.
    pub last_at: UnixMillis,
    /// How many distinct users stayed, robots aside.
    pub people: usize,
    /// How many of them are inside; 0 once it has ended.
    pub people_inside: usize,
    /// How many distinct robots stayed.
    pub robots: usize,
    /// When the first of them entered.
    pub occupied_from: Option<UnixMillis>,
    /// When the last of them left; `None` while one is inside.
    pub occupied_until: Option<UnixMillis>,
    /// Who stayed, in the order of the events that opened each stay.
    pub stays: Vec<RtcStay>,
    /// What was published, in the order of the events that opened each interval.
    pub intervals: Vec<RtcPublishInterval>,
}

impl RtcSession {
    /// The life of the room, from create to dismissal as far as known; `None` while it is open.
    #[must_use]
    pub fn life_ms(&self) -> Option<i64> {
        Some(self.end?.0 - self.start.0)
    }

    /// How long the room was in use: from the first person's enter to the last one's exit. `None` while one is inside.
    #[must_use]
    pub fn occupied_ms(&self) -> Option<i64> {
        Some(self.occupied_until?.0 - self.occupied_from?.0)
    }

    /// From when on the session counts as over although no dismissal came (M8). `None` where it has ended, and while a
    /// stay is open: only the vendor's API could say more then.
    #[must_use]
    pub fn overdue_at(&self) -> Option<UnixMillis> {
        let is_empty = self.stays.iter().all(|stay| stay.end.is_some());
        (self.end.is_none() && is_empty).then_some(UnixMillis(self.last_at.0 + IDLE_MS))
    }

    /// Closes a session that is overdue: it ended with its last event.
    pub fn close_overdue(&mut self, now: UnixMillis) {
        if self.overdue_at().is_some_and(|overdue| overdue < now) {
            (self.end, self.end_inferred) = (Some(self.last_at), true);
        }
    }

    /// Closes it with all stays, since the next session of the room has begun: it ended with its last event.
    pub fn close_without_dismissal(&mut self) {
        let at = self.last_at;
        for stay in self.stays.iter_mut().filter(|stay| stay.end.is_none()) {
            stay.end = Some(at);
            stay.flags.insert(StayFlag::EndInferred);
            if let Some(role) = stay.roles.last_mut() {
                role.until = Some(at);
            }
        }
        for interval in &mut self.intervals {
            interval.close(at, PublishEnd::SessionEnd);
        }
        (self.end, self.end_inferred) = (Some(at), true);
        self.count_people();
    }

    /// Sums up who was inside.
    pub(crate) fn count_people(&mut self) {
        let people = || self.stays.iter().filter(|stay| !stay.is_robot);
        let users: BTreeSet<&str> = people().map(|stay| stay.user.as_str()).collect();
        let inside: BTreeSet<&str> =
            people().filter(|stay| stay.end.is_none()).map(|stay| stay.user.as_str()).collect();
        let robots = self.stays.iter().filter(|stay| stay.is_robot);
        let robots: BTreeSet<&str> = robots.map(|stay| stay.user.as_str()).collect();
        let ends: Option<Vec<UnixMillis>> = people().map(|stay| stay.end).collect();
        let (from, until) =
            (people().map(|stay| stay.start).min(), ends.into_iter().flatten().max());
        (self.people_inside, self.robots) = (inside.len(), robots.len());
        (self.people, self.occupied_from, self.occupied_until) = (users.len(), from, until);
    }

    /// What is missing in it, each kind at most once.
    #[must_use]
    pub fn findings(&self) -> Vec<RtcFinding> {
        let mut found = Vec::new();
        let mut add = |kind, happened_at, count| {
            if count > 0 {
                found.push(RtcFinding { kind, session: self.session, happened_at, count });
            }
        };
        add(RtcAnomaly::RoomWithoutCreate, self.start, usize::from(self.start_estimated));
        let Some(end) = self.end else { return found };
        add(RtcAnomaly::RoomWithoutDismiss, end, usize::from(self.end_inferred));
        let is_open = |stay: &&RtcStay| stay.has(StayFlag::EndInferred);
        add(RtcAnomaly::ExitsMissing, end, self.stays.iter().filter(is_open).count());
        let is_lost = |interval: &&RtcPublishInterval| {
            matches!(interval.ended_by, Some(PublishEnd::OtherScreen | PublishEnd::SessionEnd))
        };
        add(RtcAnomaly::StopsMissing, end, self.intervals.iter().filter(is_lost).count());
        found
    }
}

/// A kind of anomaly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RtcAnomaly {
    /// No create came.
    RoomWithoutCreate,
    /// The session ended, and no dismissal came.
    RoomWithoutDismiss,
    /// Stays without an exit when the session ended.
    ExitsMissing,
    /// Intervals that began, and neither a stop nor an exit ended them.
    StopsMissing,
    /// A dismissal of which nobody knows which room it is of.
    DismissUnattached,
}

impl RtcAnomaly {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::RoomWithoutCreate,
        Self::RoomWithoutDismiss,
        Self::ExitsMissing,
        Self::StopsMissing,
        Self::DismissUnattached,
    ];

    /// The word of the tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoomWithoutCreate => "rtc_room_without_create",
            Self::RoomWithoutDismiss => "rtc_room_without_dismiss",
            Self::ExitsMissing => "rtc_exits_missing",
            Self::StopsMissing => "rtc_stops_missing",
            Self::DismissUnattached => "rtc_dismiss_unattached",
        }
    }
}

/// Something that is missing in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtcFinding {
    /// What.
    pub kind: RtcAnomaly,
    /// The session's key.
    pub session: i64,
    /// When it should have come at the latest.
    pub happened_at: UnixMillis,
    /// How often.
    pub count: usize,
}
