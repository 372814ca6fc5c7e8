//! The sessions of a room id, computed from some of its marks.

use std::collections::BTreeSet;

use crate::projections::rtc::cut::{CutSession, cut};
use crate::projections::rtc::mark::{RtcMark, RtcRoomKey};
use crate::projections::rtc::room_kind::compute_both;
use crate::projections::rtc::session::RtcSession;
use crate::store::RtcMarks;
use protocol::UnixMillis;
use protocol::json::room_id::RoomIdKind;

/// From so many marks on, computing would keep other tasks from running.
const MANY: usize = 5000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Portion {
    /// The sessions of both rooms of the id.
    pub(crate) sessions: Vec<(RoomIdKind, RtcSession)>,
    /// The sessions whose latest marks are left out.
    pub(crate) cut: BTreeSet<(RoomIdKind, i64)>,
    /// Dismissals of which nobody knows which room they are of.
    pub(crate) unattached: Vec<RtcMark>,
    /// The time of the last mark.
    last_at: Option<UnixMillis>,
}

impl Portion {
    /// Computes a portion, without keeping other tasks from running.
    pub(crate) async fn of(marks: RtcMarks) -> Self {
        if marks.marks.len() < MANY {
            return Self::compute(&marks);
        }
        match tokio::task::spawn_blocking(move || Self::compute(&marks)).await {
            Ok(portion) => portion,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime stops.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn compute(marks: &RtcMarks) -> Self {
        let RtcMarks { marks, robots, .. } = marks;
        let Some(first) = marks.first() else { return Self::default() };
        let last_at = marks.last().map(|last| last.at);
        let RtcRoomKey { app, id, .. } = &first.room;
        let both = compute_both(*app, id, marks, robots);
        let rooms = [(RoomIdKind::Numeric, both.numeric), (RoomIdKind::String, both.string)];
        let sessions = rooms
            .into_iter()
            .flat_map(|(kind, room)| room.sessions.into_iter().map(move |session| (kind, session)));
        let (sessions, unattached) = (sessions.collect(), both.unattached);
        Self { sessions, cut: BTreeSet::new(), unattached, last_at }
    }

    /// The time of the last mark.
    pub(crate) fn last_at(&self) -> Option<UnixMillis> {
        self.last_at
    }

    /// The last time, behind `from`, before which the sessions are not changed by marks behind this portion.
    pub(crate) fn next_cut(&self, from: UnixMillis) -> Option<UnixMillis> {
        let all = self.sessions.iter().map(|(kind, session)| CutSession::of(*kind, session));
        cut(&all.collect::<Vec<_>>(), None, self.last_at?).filter(|at| *at > from)
    }

    /// Forgets what comes from a time on.
    pub(crate) fn end_before(&mut self, until: UnixMillis) {
        self.sessions.retain(|(_, session)| session.start < until);
        self.unattached.retain(|mark| mark.at < until);
    }

    /// The latest marks of the last session are left out, and those of each that is open. They end with what is known of
    /// them where the room goes on with a create.
    pub(crate) fn cut_off(&mut self, goes_on: bool) {
        let last = self.sessions.iter().max_by_key(|(kind, session)| (session.last_at, *kind));
        self.cut = last.map(|(kind, session)| (*kind, session.session)).into_iter().collect();
        for (kind, session) in self.sessions.iter_mut().filter(|(_, of)| of.end.is_none()) {
            self.cut.insert((*kind, session.session));
            if goes_on {
                session.close_without_dismissal();
            }
        }
    }
}
