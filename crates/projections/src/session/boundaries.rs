//! The boundaries of a room's sessions. A room id is reused: each span from a create to a destroy is one session.
//!
//! A session is a range of time, so a late create moves no row of the facts within it.

use protocol::UnixMillis;

/// Grace period: for this long after a destroy, facts of a room belong to the session that ended. In ms.
pub const GRACE_MS: i64 = 60_000;
/// For this long before a create, facts of a room belong to the session it begins, unless they are in another. In ms.
pub const EARLY_MS: i64 = 5000;
/// For this long after a create, another one with the same create time is a repeat. In ms.
pub const AGAIN_MS: i64 = 60_000;

/// A create or a destroy of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundary {
    /// The event's time.
    pub at: UnixMillis,
    /// Create or destroy.
    pub creates: bool,
    /// The room's create time, as the event has it.
    pub created_at: Option<UnixMillis>,
}

/// One session of a room. It holds the facts in `from_at..until_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionBounds {
    /// The session's key: the time of its create, in ms since 1970; without a create, `from_at`.
    pub session: i64,
    /// The first moment of it, inclusive.
    pub from_at: UnixMillis,
    /// The end of it, exclusive; `None` while it is open.
    pub until_at: Option<UnixMillis>,
    /// The time of its create event; `None` where none came.
    pub created_at: Option<UnixMillis>,
    /// The time of its destroy event; `None` where none came.
    pub destroyed_at: Option<UnixMillis>,
    /// The create time that the create event names.
    named: Option<UnixMillis>,
}

impl SessionBounds {
    fn created(by: &Boundary, from_at: UnixMillis) -> Self {
        let (session, created_at) = (by.at.0, Some(by.at));
        Self {
            session,
            from_at,
            until_at: None,
            created_at,
            destroyed_at: None,
            named: by.created_at,
        }
    }

    /// A session without a create event.
    fn implicit(from_at: UnixMillis) -> Self {
        let session = from_at.0;
        Self { session, from_at, until_at: None, created_at: None, destroyed_at: None, named: None }
    }

    fn destroyed(self, at: UnixMillis) -> Self {
        Self { destroyed_at: Some(at), until_at: Some(UnixMillis(at.0 + GRACE_MS)), ..self }
    }

    fn replaced(self, at: UnixMillis) -> Self {
        Self { until_at: Some(at), ..self }
    }

    /// Whether it has no known end.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.until_at.is_none()
    }

    /// Whether it holds facts of this time.
    #[must_use]
    pub fn holds(&self, at: UnixMillis) -> bool {
        self.from_at <= at && self.until_at.is_none_or(|until| at < until)
    }

    /// Whether a create within this session repeats the one that began it.
    fn is_begun_again_by(&self, create: &Boundary) -> bool {
        self.created_at.is_some_and(|begun| {
            let named_alike = self.named.is_some() && self.named == create.created_at;
            create.at == begun || named_alike && create.at.0 - begun.0 <= AGAIN_MS
        })
    }
}

/// Computes the sessions of a room from its boundaries, ordered by time. The order of `boundaries` does not matter.
///
/// `has_fact` tells whether the room has any other fact within a range. It is called for the ranges outside of
/// sessions, which do not depend on its results.
pub fn cut(
    boundaries: &[Boundary],
    has_fact: impl FnMut(UnixMillis, Option<UnixMillis>) -> bool,
) -> Vec<SessionBounds> {
    let mut boundaries = boundaries.to_vec();
    boundaries.sort_by_key(|of| (of.at, of.created_at));
    let mut cutter = Cutter { sessions: Vec::new(), open: None, free: UnixMillis(0), has_fact };
    for moment in boundaries.chunk_by(|a, b| a.at == b.at) {
        let at = moment[0].at;
        let create = moment.iter().find(|of| of.creates);
        let creates = moment.iter().filter(|of| of.creates).count();
        let destroys = moment.len() - creates;
        // Boundaries of one moment are ordered by the state before, as in `moment`. A session is keyed by its create,
        // so one moment has one session at most.
        let was_open = cutter.open.is_some();
        if destroys > 0 && was_open {
            cutter.destroy(at);
        }
        if let Some(create) = create {
            cutter.create(create);
        }
        let ends = if was_open { creates > 0 && destroys > creates } else { destroys >= creates };
        if destroys > 0 && ends {
            cutter.destroy(at);
        }
    }
    cutter.finish()
}

struct Cutter<F> {
    sessions: Vec<SessionBounds>,
    open: Option<SessionBounds>,
    /// The beginning of the current range without a session, while none is open.
    free: UnixMillis,
    has_fact: F,
}

impl<F: FnMut(UnixMillis, Option<UnixMillis>) -> bool> Cutter<F> {
    fn create(&mut self, create: &Boundary) {
        let at = create.at;
        if let Some(session) = self.open {
            if session.is_begun_again_by(create) {
                return;
            }
            self.sessions.push(session.replaced(at));
            self.open = Some(SessionBounds::created(create, at));
            return;
        }
        let early = UnixMillis(at.0 - EARLY_MS).max(self.free).min(at);
        let from_at = if self.free < early && (self.has_fact)(self.free, Some(early)) {
            self.sessions.push(SessionBounds::implicit(self.free).replaced(at));
            at
        } else {
            early
        };
        if let Some(before) = self.sessions.last_mut() {
            before.until_at = before.until_at.map(|until| until.min(from_at));
        }
        self.open = Some(SessionBounds::created(create, from_at));
    }

    fn destroy(&mut self, at: UnixMillis) {
        let session = match self.open.take() {
            Some(session) => session,
            // A repeated destroy.
            None if at < self.free => return,
            None => SessionBounds::implicit(self.free),
        };
        self.sessions.push(session.destroyed(at));
        self.free = UnixMillis(at.0 + GRACE_MS);
    }

    fn finish(mut self) -> Vec<SessionBounds> {
        let free = self.free;
        let last = self
            .open
            .or_else(|| (self.has_fact)(free, None).then(|| SessionBounds::implicit(free)));
        self.sessions.extend(last);
        self.sessions
    }
}

/// The ranges that [`cut`] passes to `has_fact`.
#[must_use]
pub fn gaps(boundaries: &[Boundary]) -> Vec<(UnixMillis, Option<UnixMillis>)> {
    let mut gaps = Vec::new();
    cut(boundaries, |from, until| {
        gaps.push((from, until));
        false
    });
    gaps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::session::boundaries::*;

    const T: i64 = 1_740_464_128_000;

    fn create(at: i64) -> Boundary {
        Boundary { at: UnixMillis(T + at), creates: true, created_at: None }
    }

    fn destroy(at: i64) -> Boundary {
        Boundary { at: UnixMillis(T + at), creates: false, created_at: None }
    }

    /// Key, range, create and destroy of each session, relative to `T`; 0 is the beginning of time.
    type Shown = (i64, i64, Option<i64>, Option<i64>, Option<i64>);

    fn sessions(boundaries: &[Boundary], facts: &[i64]) -> Vec<Shown> {
        let facts: Vec<UnixMillis> = facts.iter().map(|at| UnixMillis(T + at)).collect();
        let relative = |at: i64| if at == 0 { 0 } else { at - T };
        let optional = |at: Option<UnixMillis>| at.map(|at| relative(at.0));
        cut(boundaries, |from, until| is_there(&facts, from, until))
            .into_iter()
            .map(|session| {
                let range = (relative(session.from_at.0), optional(session.until_at));
                let known = (optional(session.created_at), optional(session.destroyed_at));
                (relative(session.session), range.0, range.1, known.0, known.1)
            })
            .collect()
    }

    fn is_there(facts: &[UnixMillis], from: UnixMillis, until: Option<UnixMillis>) -> bool {
        facts.iter().any(|at| *at >= from && until.is_none_or(|until| *at < until))
    }

    #[test]
    fn a_session_lasts_from_create_to_a_minute_after_destroy() {
        let expected = vec![(100_000, 95_000, Some(260_000), Some(100_000), Some(200_000))];
        assert_eq!(sessions(&[create(100_000), destroy(200_000)], &[98_000, 259_999]), expected);
        assert_eq!(
            sessions(&[create(100_000)], &[]),
            [(100_000, 95_000, None, Some(100_000), None)]
        );
    }

    #[test]
    fn a_create_ends_the_session_before() {
        let expected = vec![
            (100_000, 95_000, Some(200_000), Some(100_000), None),
            (200_000, 200_000, None, Some(200_000), None),
        ];
        assert_eq!(sessions(&[create(200_000), create(100_000)], &[]), expected);
    }

    #[test]
    fn a_create_soon_after_a_destroy_ends_its_grace() {
        let expected = vec![
            (10_000, 5000, Some(23_000), Some(10_000), Some(20_000)),
            (23_000, 23_000, None, Some(23_000), None),
        ];
        assert_eq!(sessions(&[create(10_000), destroy(20_000), create(23_000)], &[]), expected);
    }

    #[test]
    fn a_second_destroy_after_a_minute_is_a_session_of_its_own() {
        let one = sessions(&[create(10_000), destroy(20_000), destroy(79_999)], &[]);
        assert_eq!(one, [(10_000, 5000, Some(80_000), Some(10_000), Some(20_000))]);
        let two = sessions(&[create(10_000), destroy(20_000), destroy(80_000)], &[]);
        assert_eq!(two[1..], [(80_000, 80_000, Some(140_000), None, Some(80_000))]);
    }

    #[test]
    fn events_in_no_session_form_one_without_a_create() {
        assert_eq!(sessions(&[], &[]), []);
        assert_eq!(sessions(&[], &[5]), [(0, 0, None, None, None)]);
        assert_eq!(sessions(&[destroy(9)], &[]), [(0, 0, Some(60_009), None, Some(9))]);
        let expected = vec![
            (10_000, 5000, Some(80_000), Some(10_000), Some(20_000)),
            (80_000, 80_000, Some(200_000), None, None),
            (200_000, 200_000, None, Some(200_000), None),
        ];
        let boundaries = [create(10_000), destroy(20_000), create(200_000)];
        assert_eq!(sessions(&boundaries, &[90_000]), expected);
        // Just before the create it belongs to the session that begins.
        assert_eq!(sessions(&boundaries, &[196_000]).len(), 2);
    }

    #[test]
    fn a_repeated_create_begins_no_other_session() {
        let named = |at, named| Boundary { created_at: Some(UnixMillis(named)), ..create(at) };
        assert_eq!(sessions(&[named(0, T), named(59_000, T)], &[]).len(), 1);
        assert_eq!(sessions(&[named(0, T), named(61_000, T)], &[]).len(), 2);
        assert_eq!(sessions(&[named(0, T), named(5000, T + 5000)], &[]).len(), 2);
        assert_eq!(sessions(&[create(0), create(0)], &[]).len(), 1);
    }

    #[test]
    fn at_one_moment_the_state_before_decides_on_begin_and_end() {
        // Without an open session the order is create, destroy; within one it is destroy, create.
        let ended = (10_000, 5000, Some(70_000), Some(10_000), Some(10_000));
        assert_eq!(sessions(&[destroy(10_000), create(10_000)], &[]), [ended]);
        let before = (1000, -4000, Some(10_000), Some(1000), Some(10_000));
        let open = (10_000, 10_000, None, Some(10_000), None);
        assert_eq!(sessions(&[create(1000), destroy(10_000), create(10_000)], &[]), [before, open]);
        // Within the grace period no session is open either.
        let again = (10_000, 10_000, Some(70_000), Some(10_000), Some(10_000));
        let soon = [create(1000), destroy(9000), destroy(10_000), create(10_000)];
        assert_eq!(sessions(&soon, &[])[1..], [again]);
        // Three boundaries of one moment.
        let twice = [create(10_000), destroy(10_000), create(10_000)];
        assert_eq!(sessions(&twice, &[]), [(10_000, 5000, None, Some(10_000), None)]);
        let twice = [create(1000), destroy(10_000), create(10_000), destroy(10_000)];
        assert_eq!(sessions(&twice, &[])[1..], [again]);
    }

    fn any_boundary() -> impl Strategy<Value = Boundary> {
        let at = prop_oneof![0..400_000_i64, (0..8_i64).prop_map(|at| at * 30_000)];
        (at, any::<bool>(), proptest::option::of(0..3_i64)).prop_map(|(at, creates, named)| {
            let at = UnixMillis(T + at);
            Boundary { at, creates, created_at: named.map(UnixMillis) }
        })
    }

    proptest! {
        #[test]
        fn sessions_are_disjoint_and_every_fact_is_of_exactly_one(
            boundaries in proptest::collection::vec(any_boundary(), 0..12),
            facts in proptest::collection::vec(-70_000..500_000_i64, 0..12),
        ) {
            let mut facts: Vec<UnixMillis> = facts.into_iter().map(|at| UnixMillis(T + at)).collect();
            let sessions = cut(&boundaries, |from, until| is_there(&facts, from, until));
            facts.extend(boundaries.iter().map(|boundary| boundary.at));
            for fact in &facts {
                let of = sessions.iter().filter(|session| session.holds(*fact)).count();
                prop_assert_eq!(of, 1, "{:?} in {:?}", fact, sessions);
            }
            for pair in sessions.windows(2) {
                prop_assert!(pair[0].session < pair[1].session, "{sessions:?}");
                prop_assert!(pair[0].until_at.is_some_and(|until| until <= pair[1].from_at), "{sessions:?}");
            }
            for session in &sessions {
                prop_assert!(session.until_at.is_none_or(|until| session.from_at < until), "{session:?}");
                prop_assert!(facts.iter().any(|fact| session.holds(*fact)), "{session:?} holds nothing");
            }
        }

        #[test]
        fn session_boundaries_do_not_depend_on_the_order_of_marks(
            (boundaries, shuffled) in proptest::collection::vec(any_boundary(), 0..12)
                .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
            facts in proptest::collection::vec(0..500_000_i64, 0..12),
        ) {
            prop_assert_eq!(sessions(&boundaries, &facts), sessions(&shuffled, &facts));
        }

        #[test]
        fn the_queried_gaps_do_not_depend_on_the_answers(
            boundaries in proptest::collection::vec(any_boundary(), 0..12),
        ) {
            let mut asked = Vec::new();
            cut(&boundaries, |from, until| { asked.push((from, until)); true });
            prop_assert_eq!(asked, gaps(&boundaries));
        }
    }
}
