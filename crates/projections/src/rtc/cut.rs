//! Where a computation may begin instead of at a room's first mark: nothing before matters to what comes then.

use crate::rtc::presence::REENTRY_MS;
use crate::rtc::session::RtcSession;
use protocol::UnixMillis;
use protocol::json::room_id::RoomIdKind;

/// How long before the earliest new mark a computation begins at the latest: longer than any rule looks around.
pub const CUT_BEFORE_MS: i64 = 30 * 60_000;

/// A session, as far as a cut depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutSession {
    /// Of which of the two rooms of one text.
    pub kind: RoomIdKind,
    /// When it began.
    pub start: UnixMillis,
    /// When it ended.
    pub end: Option<UnixMillis>,
    /// Whether a dismissal ended it, after which no mark can continue it.
    pub is_dismissed: bool,
}

impl CutSession {
    /// That of a session.
    #[must_use]
    pub fn of(kind: RoomIdKind, session: &RtcSession) -> Self {
        let is_dismissed = session.dismissed_at.is_some();
        Self { kind, start: session.start, end: session.end, is_dismissed }
    }
}

/// The latest time, not after `until`, from which the marks of a room may be computed without those before: the sessions
/// from then on are the same. All sessions before have ended more than half an hour earlier, by a dismissal, or because
/// the next one of their room had begun.
///
/// `sessions` are the latest ones of both rooms of one text that began by `until`. `known_from` is the time since when
/// they are complete.
#[must_use]
pub fn cut(
    sessions: &[CutSession],
    known_from: Option<UnixMillis>,
    until: UnixMillis,
) -> Option<UnixMillis> {
    let mut sessions = sessions.to_vec();
    sessions.sort_unstable_by_key(|session| session.start);
    let is_known = |at: UnixMillis| known_from.is_none_or(|known| known < at);
    let (mut before, mut found) = (Before::default(), None);
    for begun in sessions.chunk_by(|one, next| one.start == next.start) {
        let at = begun[0].start;
        if at > until {
            return found;
        }
        if is_known(at) && before.is_over(at, begun) {
            found = Some(at);
        }
        for session in begun {
            before.add(session);
        }
    }
    let behind_all = before.until.map(|end| UnixMillis(end.0 + REENTRY_MS + 1));
    behind_all.filter(|at| *at <= until && is_known(*at) && before.is_over(*at, &[])).or(found)
}

/// The sessions before a time.
#[derive(Default)]
struct Before {
    /// The last one of each room.
    last: [Option<CutSession>; 2],
    /// The end of the last to end.
    until: Option<UnixMillis>,
}

impl Before {
    fn add(&mut self, session: &CutSession) {
        self.last[usize::from(session.kind == RoomIdKind::String)] = Some(*session);
        self.until = self.until.max(session.end);
    }

    /// Whether nothing of them matters from a time on, at which some sessions begin.
    fn is_over(&self, at: UnixMillis, begun: &[CutSession]) -> bool {
        let is_closed = |last: &CutSession| {
            last.end.is_some()
                && (last.is_dismissed || begun.iter().any(|begun| begun.kind == last.kind))
        };
        self.last.iter().flatten().all(is_closed)
            && self.until.is_none_or(|until| until.0 + REENTRY_MS < at.0)
    }
}
