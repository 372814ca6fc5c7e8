//! Enters and leaves within one session of a room, aggregated in order of time.

use std::collections::HashMap;

use crate::session::bounds::{ACCOUNT_BYTES, ACCOUNTS_BYTES_MAX};
use crate::session::moment;
use protocol::UnixMillis;

/// Maximum number of points of the occupancy curve before the last one and its end.
const POINTS_MAX: usize = 238;

/// The number of members over time, downsampled to a bounded number of points.
///
/// Each span of time keeps its maximum. A span is the shortest power of two in ms that gives few enough points, so
/// the curve depends only on the data.
#[derive(Debug)]
struct Curve {
    width_ms: i64,
    points: Vec<(i64, i64)>,
}

impl Curve {
    fn add(&mut self, at: UnixMillis, members: i64) {
        let width = self.width_ms;
        Self::join(&mut self.points, width, (at.0, members));
        while self.points.len() > POINTS_MAX {
            self.width_ms *= 2;
            let points = std::mem::take(&mut self.points);
            for point in points {
                Self::join(&mut self.points, self.width_ms, point);
            }
        }
    }

    fn join(points: &mut Vec<(i64, i64)>, width: i64, point: (i64, i64)) {
        match points.last_mut() {
            Some(last) if last.0.div_euclid(width) == point.0.div_euclid(width) => {
                if point.1 > last.1 {
                    *last = point;
                }
            }
            _ => points.push(point),
        }
    }
}

/// Presence in a room, aggregated from enters and leaves.
#[derive(Debug)]
pub struct Presence {
    /// The kind of room, from the first mark.
    pub family: Option<String>,
    /// Whether each account is inside, by its last known mark.
    accounts: HashMap<Box<str>, bool>,
    /// Enters and leaves of each account at `last_at`, not yet applied.
    moment: HashMap<Box<str>, (usize, usize)>,
    /// The memory of all these accounts, and whether some were left out.
    bytes: usize,
    is_cut: bool,
    inside: i64,
    peak: i64,
    entries: i64,
    enters_missing: i64,
    last_at: Option<UnixMillis>,
    curve: Curve,
}

/// The figures of [`Presence`]: columns of `room_sessions` of the same names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct PresenceFigures {
    pub members: i64,
    pub members_peak: i64,
    pub visitors: i64,
    pub entries: i64,
    pub leaves_missing: i64,
    pub enters_missing: i64,
    pub occupancy: String,
    pub is_cut: bool,
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            family: None,
            accounts: HashMap::new(),
            moment: HashMap::new(),
            bytes: 0,
            is_cut: false,
            inside: 0,
            peak: 0,
            entries: 0,
            enters_missing: 0,
            last_at: None,
            curve: Curve { width_ms: 1, points: Vec::new() },
        }
    }
}

impl Presence {
    /// Adds one mark. Call it in order of time; marks of one moment may come in any order.
    pub fn add(&mut self, account: &str, at: UnixMillis, enters: bool, counted: Option<i64>) {
        if self.last_at != Some(at) {
            self.end_moment();
            self.last_at = Some(at);
        }
        self.peak = self.peak.max(counted.unwrap_or(0));
        if !self.accounts.contains_key(account) && !self.moment.contains_key(account) {
            let bytes = self.bytes + account.len() + ACCOUNT_BYTES;
            if bytes > ACCOUNTS_BYTES_MAX {
                self.is_cut = true;
                return;
            }
            self.bytes = bytes;
        }
        let marks = self.moment.entry(account.into()).or_default();
        let count = if enters { &mut marks.0 } else { &mut marks.1 };
        *count += 1;
    }

    /// Applies the marks of the last moment.
    ///
    /// Accounts that were inside come first, then those that enter and leave, then those that enter and stay: so replacing
    /// one member by another does not raise the peak, and the result does not depend on names.
    fn end_moment(&mut self) {
        let Some(at) = self.last_at else { return };
        let mut accounts: Vec<_> = std::mem::take(&mut self.moment)
            .into_iter()
            .map(|(account, (enters, leaves))| {
                let was = self.accounts.get(&account).copied().unwrap_or(false);
                (!was, moment::order(was, enters, leaves).last(), enters, leaves, account)
            })
            .collect();
        accounts.sort_unstable();
        for (outside, _, enters, leaves, account) in accounts {
            for enters in moment::order(!outside, enters, leaves) {
                self.step(&account, enters);
                self.curve.add(at, self.inside);
            }
        }
    }

    fn step(&mut self, account: &str, enters: bool) {
        let before = match self.accounts.get_mut(account) {
            Some(was) => std::mem::replace(was, enters),
            None => self.accounts.insert(account.into(), enters).unwrap_or(false),
        };
        match (before, enters) {
            (false, true) => {
                self.inside += 1;
                self.entries += 1;
            }
            (true, false) => self.inside -= 1,
            (false, false) => self.enters_missing += 1,
            (true, true) => {}
        }
        self.peak = self.peak.max(self.inside);
    }

    /// The figures of an open session, or of one that ended at this time.
    #[must_use]
    pub fn figures(mut self, ended_at: Option<UnixMillis>) -> PresenceFigures {
        self.end_moment();
        let mut points = self.curve.points;
        if let (Some(last_at), Some(last)) = (self.last_at, points.last_mut()) {
            if last.0 == last_at.0 {
                last.1 = self.inside;
            } else if last.1 != self.inside {
                points.push((last_at.0, self.inside));
            }
            if let Some(ended_at) = ended_at.filter(|_| self.inside > 0) {
                points.push((ended_at.max(last_at).0, 0));
            }
        }
        let points: Vec<String> = points.iter().map(|(at, n)| format!("[{at},{n}]")).collect();
        PresenceFigures {
            members: if ended_at.is_some() { 0 } else { self.inside },
            members_peak: self.peak,
            visitors: i64::try_from(self.accounts.len()).unwrap_or(i64::MAX),
            entries: self.entries,
            leaves_missing: if ended_at.is_some() { self.inside } else { 0 },
            enters_missing: self.enters_missing,
            occupancy: format!("[{}]", points.join(",")),
            is_cut: self.is_cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::session::presence::*;

    fn figures(marks: &[(&str, i64, bool)], ended_at: Option<i64>) -> PresenceFigures {
        let mut presence = Presence::default();
        for (account, at, enters) in marks {
            presence.add(account, UnixMillis(*at), *enters, None);
        }
        presence.figures(ended_at.map(UnixMillis))
    }

    #[test]
    fn repeated_enters_and_leaves_count_one_presence() {
        let marks =
            [("a", 1, true), ("a", 2, true), ("b", 3, true), ("a", 4, false), ("a", 5, false)];
        let found = figures(&marks, None);
        let expected = PresenceFigures {
            members: 1,
            members_peak: 2,
            visitors: 2,
            entries: 2,
            leaves_missing: 0,
            enters_missing: 1,
            occupancy: "[[1,1],[2,1],[3,2],[4,1],[5,1]]".into(),
            is_cut: false,
        };
        assert_eq!(found, expected);
        let ended = figures(&marks, Some(9));
        assert_eq!((ended.members, ended.leaves_missing), (0, 1));
        assert_eq!(ended.occupancy, "[[1,1],[2,1],[3,2],[4,1],[5,1],[9,0]]");
    }

    #[test]
    fn a_leave_without_an_enter_does_not_reduce_the_count() {
        let found = figures(&[("a", 1, false), ("b", 2, true), ("c", 3, false)], None);
        assert_eq!((found.members, found.enters_missing, found.visitors), (1, 2, 3));
    }

    #[test]
    fn the_vendors_own_count_may_be_the_peak() {
        let mut presence = Presence::default();
        presence.add("a", UnixMillis(1), true, Some(7));
        assert_eq!(presence.figures(None).members_peak, 7);
    }

    proptest! {
        #[test]
        fn no_count_is_negative_and_a_curve_has_at_most_240_points(
            marks in proptest::collection::vec((0..60_u8, 1..5000_i64, any::<bool>()), 0..2000),
            ended in any::<bool>(),
        ) {
            let mut at = 0;
            let mut presence = Presence::default();
            for (account, later, enters) in marks {
                at += later;
                presence.add(&account.to_string(), UnixMillis(at), enters, None);
            }
            let found = presence.figures(ended.then_some(UnixMillis(at)));
            let points: Vec<(i64, i64)> = serde_json::from_str(&found.occupancy).unwrap();
            prop_assert!(points.len() <= 240);
            prop_assert!(points.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            prop_assert!(points.iter().all(|point| point.1 >= 0));
            prop_assert!(points.iter().all(|point| point.1 <= found.members_peak));
            prop_assert_eq!(points.last().map_or(0, |point| point.1), found.members);
            prop_assert!(found.entries >= found.members && found.leaves_missing >= 0);
        }
    }

    #[test]
    fn at_one_moment_the_state_before_decides_on_presence() {
        let found = figures(
            &[("a", 1, true), ("a", 5, false), ("b", 5, true), ("c", 5, true), ("c", 5, false)],
            None,
        );
        // Two accounts swap, and a third enters and leaves.
        assert_eq!(
            (found.members, found.members_peak, found.entries, found.enters_missing),
            (1, 1, 3, 0)
        );
        let found = figures(&[("a", 1, true), ("a", 5, true), ("a", 5, false)], None);
        assert_eq!((found.members, found.entries, found.enters_missing), (1, 2, 0));
        let found = figures(&[("a", 5, true), ("a", 5, false), ("a", 5, false)], None);
        assert_eq!((found.members, found.entries, found.enters_missing), (0, 1, 1));
    }

    proptest! {
        #[test]
        fn presence_does_not_depend_on_account_names_or_mark_order(
            (marks, shuffled) in proptest::collection::vec((0..4_u8, 0..3_i64, any::<bool>()), 0..12)
                .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            let figures_of = |marks: &[(u8, i64, bool)], name: fn(u8) -> String| {
                let mut named: Vec<_> =
                    marks.iter().map(|(account, at, enters)| (name(*account), *at, *enters)).collect();
                named.sort_by_key(|mark| mark.1);
                let named: Vec<_> =
                    named.iter().map(|(account, at, enters)| (account.as_str(), *at, *enters)).collect();
                figures(&named, None)
            };
            let found = figures_of(&marks, |account| account.to_string());
            prop_assert_eq!(&found, &figures_of(&shuffled, |account| account.to_string()));
            prop_assert_eq!(&found, &figures_of(&shuffled, |account| (9 - account).to_string()));
        }
    }
}
