//! Plans what is settled of rooms, some at once: their sessions around the day of which new facts are known.

use crate::projections::session::boundaries;
use crate::projections::session::boundaries::{EARLY_MS, SessionBounds};
use crate::sessions::compute::{Outcome, Round, SessionInput, SessionRows, compute, findings};
use crate::store::{
    Finding, Live, OpenAnomaly, Queued, Room, SettledSession, Settlement, SettlerConnection, Span,
    StoreError, Window,
};
use protocol::UnixMillis;

/// How many rooms, or sessions of them, are read at once.
pub(crate) const AT_ONCE: usize = 32;
/// How many sessions of a room are computed at most where it is settled beside others.
const QUICK_SESSIONS: usize = 32;
/// How much is computed before it is written. In bytes.
const PORTION_BYTES: usize = 1 << 20;

/// What settling a room comes to.
pub(crate) struct Plan {
    /// What is to be written, of more than a portion the rest.
    pub(crate) settlement: Settlement,
    /// Sessions that were looked at.
    pub(crate) looked_at: Vec<i64>,
    /// Sessions that are there.
    pub(crate) rooms_before: Vec<i64>,
    /// Those that are there as sessions of a live room.
    pub(crate) live_sessions_before: Vec<i64>,
    /// Sessions that are new or changed.
    pub(crate) rooms_changed: Vec<i64>,
    /// Those of a live room that are.
    pub(crate) live_sessions_changed: Vec<i64>,
    /// Those that are none of a live room any more.
    pub(crate) live_sessions_gone: Vec<i64>,
    /// What is missing and new or changed: kind and session.
    pub(crate) found: Vec<(&'static str, i64)>,
    /// How much is missing no more.
    pub(crate) resolved: usize,
    known: Vec<OpenAnomaly>,
}

impl Plan {
    /// Whether such a gap of a session is listed already.
    pub(crate) fn knows(&self, kind: &str, session: i64) -> bool {
        self.known.iter().any(|known| known.kind == kind && known.session == session)
    }
}

/// What may be missing in a session.
const KINDS: [&str; 4] =
    ["room_without_create", "room_without_destroy", "leaves_missing", "enters_missing"];

/// The result of settling some rooms.
#[derive(Default)]
pub(crate) struct SettleReport {
    /// The kinds of the gaps that are new.
    pub(crate) found: Vec<&'static str>,
    /// The places of the rooms that were not settled, since there is much of them.
    pub(crate) too_much: Vec<usize>,
}

/// Settles the sessions of rooms that facts of a day may have changed: of each room one day.
pub(crate) async fn settle(
    store: &mut SettlerConnection,
    queued: &[Queued],
    round: &Round,
) -> Result<SettleReport, StoreError> {
    let plans = plan(store, queued, round, true).await?;
    let done = queued.iter().zip(&plans);
    let done = done.filter_map(|(queued, plan)| Some((queued, &plan.as_ref()?.settlement)));
    store.write(done, round.now).await?;
    let mut settled = SettleReport::default();
    for (place, plan) in plans.iter().enumerate() {
        let Some(plan) = plan else {
            settled.too_much.push(place);
            continue;
        };
        let is_new = |(kind, session): &&(&'static str, i64)| !plan.knows(kind, *session);
        settled.found.extend(plan.found.iter().filter(is_new).map(|(kind, _)| *kind));
    }
    Ok(settled)
}

/// Computes the sessions of rooms that facts of a day may have changed, and compares them with those that are there. Of more
/// than a portion what comes first is written, where `writes` says so, and forgotten. `None` for a room of which there is
/// much, where the round is not a deep one.
pub(crate) async fn plan(
    store: &mut SettlerConnection,
    queued: &[Queued],
    round: &Round,
    writes: bool,
) -> Result<Vec<Option<Plan>>, StoreError> {
    let found = store.windows(queued, round.boundaries_per_day_max, round.deep).await?;
    let (places, windows): (Vec<usize>, Vec<Window>) =
        found.into_iter().enumerate().filter_map(|(place, of)| Some((place, of?))).unzip();
    let rooms: Vec<&Queued> = places.iter().map(|place| &queued[*place]).collect();
    let all_sessions = sessions_of(store, &rooms, &windows).await?;
    let keyed = || rooms.iter().map(|queued| &queued.room).zip(&windows);
    let settled = store.settled(keyed()).await?;
    let ranges = keyed().map(|(room, window)| (room, (window.session_first, window.session_last)));
    let known = store.known(&KINDS, ranges).await?;
    let mut drafts: Vec<Draft<'_>> = rooms
        .iter()
        .zip(settled)
        .zip(known)
        .map(|((queued, settled), known)| Draft::new(queued, round, settled, known))
        .collect();
    let mut touched = Vec::new();
    for (place, (sessions, window)) in all_sessions.iter().zip(&windows).enumerate() {
        let of_room = drafts[place].touched(place, sessions, window);
        if of_room.len() > QUICK_SESSIONS && !round.deep {
            drafts[place].is_too_much = true;
        } else {
            touched.extend(of_room);
        }
    }
    for touched in touched.chunks(AT_ONCE) {
        let computed = compute(store, touched, round).await?;
        let before = store.rows(touched.iter().map(|of| (of.room, of.session.session))).await?;
        for ((touched, computed), before) in touched.iter().zip(computed).zip(before) {
            drafts[touched.place].take(touched, before, computed);
        }
        if drafts.iter().map(|draft| draft.settlement.bytes()).sum::<usize>() > PORTION_BYTES {
            let portions: Vec<_> = drafts.iter_mut().map(|of| (of.queued, of.portion())).collect();
            if writes {
                store.write(portions.iter().map(|(queued, of)| (*queued, of)), round.now).await?;
            }
        }
    }
    let mut plans: Vec<Option<Plan>> = queued.iter().map(|_| None).collect();
    for ((place, draft), sessions) in places.into_iter().zip(drafts).zip(&all_sessions) {
        plans[place] = draft.finish(sessions);
    }
    Ok(plans)
}

/// A plan that is being made.
struct Draft<'a> {
    queued: &'a Queued,
    settlement: Settlement,
    looked_at: Vec<i64>,
    rooms_changed: Vec<i64>,
    live_sessions_changed: Vec<i64>,
    live_sessions_gone: Vec<i64>,
    found: Vec<(&'static str, i64)>,
    resolved: usize,
    rooms_before: Vec<SettledSession>,
    live_sessions_before: Vec<i64>,
    known: Vec<OpenAnomaly>,
    /// Up to which slot the day may leave the queue when all is written.
    done: Option<i64>,
    /// What is out of order mostly comes within seconds, so what is missing is listed when it was quiet for a while.
    quiet: bool,
    is_too_much: bool,
}

impl<'a> Draft<'a> {
    fn new(
        queued: &'a Queued,
        round: &Round,
        (rooms_before, live_sessions_before): (Vec<SettledSession>, Vec<i64>),
        known: Vec<OpenAnomaly>,
    ) -> Self {
        Self {
            queued,
            settlement: Settlement::default(),
            looked_at: Vec::new(),
            rooms_changed: Vec::new(),
            live_sessions_changed: Vec::new(),
            live_sessions_gone: Vec::new(),
            found: Vec::new(),
            resolved: 0,
            rooms_before,
            live_sessions_before,
            known,
            done: (queued.slot_first <= round.slot_old).then_some(round.slot_old),
            quiet: queued.slot_last <= round.slot_old,
            is_too_much: false,
        }
    }

    /// The sessions that facts of the day may have changed.
    fn touched(
        &self,
        place: usize,
        sessions: &[SessionBounds],
        window: &Window,
    ) -> Vec<SessionInput<'a>> {
        let (day_begin, day_end) = Window::day(self.queued.day);
        let mut touched = Vec::new();
        for (index, session) in sessions.iter().enumerate() {
            let place_before =
                self.rooms_before.binary_search_by_key(&session.session, |row| row.session);
            let before = place_before.ok().map(|place| &self.rooms_before[place]);
            let is_touched =
                session.from_at < day_end && session.until_at.is_none_or(|until| until > day_begin);
            if is_touched || before.is_none_or(|row| !is_cut_so(row, session)) {
                // What does not count falls into a session, or behind it.
                let next = sessions.get(index + 1).map(|next| next.from_at);
                let is_of_it =
                    |at: &UnixMillis| *at >= session.from_at && next.is_none_or(|next| *at < next);
                touched.push(SessionInput {
                    place,
                    room: &self.queued.room,
                    session: *session,
                    was_open: before.is_some_and(|row| row.state == "open"),
                    has_left_out: window.left_out.iter().any(is_of_it),
                });
            }
        }
        touched
    }

    fn take(
        &mut self,
        touched: &SessionInput<'_>,
        (room_before, live_before): (Option<Room>, Option<Live>),
        outcome: Outcome,
    ) {
        let session = touched.session.session;
        self.looked_at.push(session);
        let SessionRows { row, live } = match outcome {
            Outcome::Done(computed) => *computed,
            Outcome::Gone => return,
            Outcome::TooMuch => {
                self.is_too_much = true;
                return;
            }
        };
        match live {
            Some(row) if live_before.as_ref() != Some(&row) => {
                self.live_sessions_changed.push(session);
                self.settlement.sessions.push(row);
            }
            None if live_before.is_some() => {
                self.live_sessions_gone.push(session);
                self.settlement.live_sessions_gone.push(session);
            }
            _ => {}
        }
        self.compare(&findings(&row), session);
        if room_before.as_ref() != Some(&row) {
            self.rooms_changed.push(session);
            self.settlement.rooms.push(row);
        }
    }

    /// Adds what of a session's findings is new, changed, or no longer so.
    fn compare(&mut self, found: &[Finding], session: i64) {
        let of_session = || self.known.iter().filter(|known| known.session == session);
        let resolved =
            of_session().filter(|known| !found.iter().any(|found| found.kind == known.kind));
        let resolved: Vec<_> = resolved.map(|known| (known.kind.clone(), session)).collect();
        let is_known = |found: &Finding| {
            of_session().any(|known| {
                known.kind == found.kind
                    && known.happened_at == found.happened_at
                    && known.detail == found.detail
            })
        };
        let new: Vec<Finding> =
            found.iter().filter(|found| self.quiet && !is_known(found)).cloned().collect();
        self.resolved += resolved.len();
        self.settlement.resolved.extend(resolved);
        self.found.extend(new.iter().map(|found| (found.kind, session)));
        self.settlement.found.extend(new);
    }

    /// What there is to write by now.
    fn portion(&mut self) -> Settlement {
        std::mem::take(&mut self.settlement)
    }

    /// With what is there and no longer should be; `None` where there is too much of it.
    fn finish(self, sessions: &[SessionBounds]) -> Option<Plan> {
        if self.is_too_much {
            return None;
        }
        let Self {
            mut settlement,
            looked_at,
            known,
            live_sessions_before,
            mut live_sessions_gone,
            ..
        } = self;
        let is_gone =
            |session: &i64| sessions.binary_search_by_key(session, |is| is.session).is_err();
        let rooms_before: Vec<i64> = self.rooms_before.iter().map(|row| row.session).collect();
        settlement.rooms_gone.extend(rooms_before.iter().copied().filter(is_gone));
        let gone: Vec<i64> = live_sessions_before.iter().copied().filter(is_gone).collect();
        live_sessions_gone.extend(&gone);
        settlement.live_sessions_gone.extend(gone);
        let resolved = known.iter().filter(|known| is_gone(&known.session));
        let before = settlement.resolved.len();
        settlement.resolved.extend(resolved.map(|known| (known.kind.clone(), known.session)));
        let resolved = self.resolved + settlement.resolved.len() - before;
        settlement.done = self.done;
        Some(Plan {
            settlement,
            looked_at,
            rooms_before,
            live_sessions_before,
            rooms_changed: self.rooms_changed,
            live_sessions_changed: self.live_sessions_changed,
            live_sessions_gone,
            found: self.found,
            resolved,
            known,
        })
    }
}

/// The sessions of each room that are told for certain.
async fn sessions_of(
    store: &mut SettlerConnection,
    rooms: &[&Queued],
    windows: &[Window],
) -> Result<Vec<Vec<SessionBounds>>, StoreError> {
    let matters = |window: &Window, (from, until): (UnixMillis, Option<UnixMillis>)| {
        until.is_none_or(|until| until.0 + EARLY_MS >= window.session_first)
            && from.0 <= window.session_last
    };
    let mut asked = Vec::new();
    for (queued, window) in rooms.iter().zip(windows) {
        let gaps = boundaries::gaps(&window.boundaries).into_iter();
        let gaps = gaps.filter(|gap| matters(window, *gap));
        asked.extend(gaps.map(|(from, until)| Span { room: &queued.room, from, until }));
    }
    let mut answers = Vec::with_capacity(asked.len());
    for asked in asked.chunks(AT_ONCE) {
        answers.extend(store.have_facts(asked).await?);
    }
    let mut answers = answers.into_iter();
    let sessions = windows.iter().map(|window| {
        let has_fact = |from, until| matters(window, (from, until)) && answers.next() == Some(true);
        let mut all = boundaries::cut(&window.boundaries, has_fact);
        all.retain(|session| {
            (window.session_first..=window.session_last).contains(&session.session)
        });
        all
    });
    Ok(sessions.collect())
}

fn is_cut_so(row: &SettledSession, session: &SessionBounds) -> bool {
    row.from_at == session.from_at
        && row.until_at == session.until_at
        && row.created_at == session.created_at
        && row.destroyed_at == session.destroyed_at
}
