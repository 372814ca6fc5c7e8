//! What is known of one life of a room, summed up in the order of time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::value::RawValue;

use crate::clock::UnixMillis;

/// How many points a curve of members has at most: these, the last, and its end.
const POINTS_MAX: usize = 238;

/// How many were inside over time, thinned out where there is too much of it.
///
/// Of each span of time the greatest number is kept. The spans are the shortest power of two of ms that leaves few
/// enough points, so that the curve depends on what it shows alone.
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

/// Who came into a room and left it, summed up.
#[derive(Debug)]
pub struct Presence {
    /// Of the room, as the first mark says.
    pub family: Option<String>,
    /// Whether the last thing known of each account is that it came in.
    accounts: HashMap<Box<str>, bool>,
    inside: i64,
    peak: i64,
    entries: i64,
    enters_missing: i64,
    last_at: Option<UnixMillis>,
    curve: Curve,
}

/// The figures of [`Presence`]; as the columns of `rooms` of the same names.
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
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            family: None,
            accounts: HashMap::new(),
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
    /// Adds one mark. Give them in the order of time and event.
    pub fn add(&mut self, account: &str, at: UnixMillis, enters: bool, counted: Option<i64>) {
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
        self.peak = self.peak.max(self.inside).max(counted.unwrap_or(0));
        self.last_at = Some(at);
        self.curve.add(at, self.inside);
    }

    /// The figures of a life that goes on, or ended at this time.
    #[must_use]
    pub fn figures(self, ended_at: Option<UnixMillis>) -> PresenceFigures {
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
        }
    }
}

/// One change of a room, as [`RoomSum`] takes it; as the columns of `room_changes` of the same names.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct RoomFact {
    pub family: String,
    pub kind: String,
    pub by_account: Option<String>,
    pub account: Option<String>,
    pub name: Option<String>,
    pub owner: Option<String>,
    pub room_type: Option<String>,
    pub max_members: Option<i64>,
    pub max_seats: Option<i64>,
    pub cause: Option<String>,
    pub properties: Option<String>,
    pub statistic: Option<String>,
}

/// What was done to a room itself, summed up: the last that was said of each.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the columns of rooms and lives, which their migration explains")]
pub struct RoomSum {
    /// As the create says; where none came, as the first change does.
    pub family: Option<String>,
    pub name: Option<String>,
    pub owner: Option<String>,
    pub room_type: Option<String>,
    pub created_by: Option<String>,
    pub destroyed_by: Option<String>,
    pub destroy_cause: Option<String>,
    pub max_members: Option<i64>,
    pub max_seats: Option<i64>,
    pub admins: BTreeSet<String>,
    /// Of the first destroy that has one: an object.
    pub statistic: Option<String>,
    properties: BTreeMap<String, Box<RawValue>>,
    is_created: bool,
}

impl RoomSum {
    /// Adds who destroyed it and why, the first that is given.
    pub fn destroyed(&mut self, by: Option<&str>, cause: Option<&str>) {
        self.destroyed_by = self.destroyed_by.take().or_else(|| by.map(str::to_owned));
        self.destroy_cause = self.destroy_cause.take().or_else(|| cause.map(str::to_owned));
    }

    /// Adds one change. Give them in the order of time, event and ordinal.
    pub fn add(&mut self, fact: RoomFact) {
        let last = |of: &mut Option<String>, said: Option<String>| {
            if said.is_some() {
                *of = said;
            }
        };
        match fact.kind.as_str() {
            "create" if !self.is_created => {
                self.is_created = true;
                self.created_by.clone_from(&fact.by_account);
                self.family = Some(fact.family.clone());
            }
            "admin_add" => self.admins.extend(fact.account),
            "admin_delete" => {
                fact.account.iter().for_each(|account| _ = self.admins.remove(account));
            }
            _ => {}
        }
        self.family.get_or_insert(fact.family);
        if self.statistic.is_none() {
            self.statistic = fact.statistic;
        }
        last(&mut self.name, fact.name);
        last(&mut self.owner, fact.owner);
        last(&mut self.room_type, fact.room_type);
        self.max_members = fact.max_members.or(self.max_members);
        self.max_seats = fact.max_seats.or(self.max_seats);
        if let Some(text) = fact.properties
            && let Ok(said) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&text)
        {
            self.properties.extend(said);
        }
    }

    /// The last value of every property, as an object; `None` where there are none.
    #[must_use]
    pub fn properties(&self) -> Option<String> {
        let given = (!self.properties.is_empty()).then_some(&self.properties);
        given.and_then(|properties| serde_json::to_string(properties).ok())
    }

    /// One number of the statistic, as its destroy says.
    #[must_use]
    pub fn total(&self, name: &str) -> Option<i64> {
        let all: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(self.statistic.as_ref()?).ok()?;
        let value = all.get(name)?;
        value.as_i64().or_else(|| value.as_str()?.parse().ok())
    }
}

/// What gifts there were of one sender to the same receivers.
#[derive(Debug, Clone)]
pub struct GiftFact {
    /// Who gave.
    pub sender: Option<String>,
    /// A list of accounts, as JSON.
    pub receivers: Option<String>,
    /// How many.
    pub gifts: i64,
    /// Their coins.
    pub coins: i64,
}

/// Gifts, summed up.
#[derive(Debug, Default)]
pub struct GiftSum {
    gifts: i64,
    coins: i64,
    senders: HashMap<String, (i64, i64)>,
    receivers: HashMap<String, (i64, i64)>,
}

/// The figures of [`GiftSum`]; as the columns of `lives` of the same names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct GiftFigures {
    pub gifts: i64,
    pub gift_coins: i64,
    pub gift_senders: i64,
    pub top_senders: String,
    pub top_receivers: String,
}

/// How many are named in a list of the greatest.
const TOP: usize = 10;

impl GiftSum {
    /// Whether none was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.senders.is_empty() && self.gifts == 0
    }

    /// Adds some, in any order.
    pub fn add(&mut self, fact: GiftFact) {
        let sum = |of: &mut (i64, i64)| {
            *of = (of.0.saturating_add(fact.gifts), of.1.saturating_add(fact.coins));
        };
        self.gifts = self.gifts.saturating_add(fact.gifts);
        self.coins = self.coins.saturating_add(fact.coins);
        if let Some(sender) = fact.sender {
            sum(self.senders.entry(sender).or_default());
        }
        let receivers = fact.receivers.and_then(|text| serde_json::from_str(&text).ok());
        let receivers: BTreeSet<String> = receivers.unwrap_or_default();
        for account in receivers {
            sum(self.receivers.entry(account).or_default());
        }
    }

    /// The figures.
    #[must_use]
    pub fn figures(self) -> GiftFigures {
        GiftFigures {
            gifts: self.gifts,
            gift_coins: self.coins,
            gift_senders: i64::try_from(self.senders.len()).unwrap_or(i64::MAX),
            top_senders: top(self.senders),
            top_receivers: top(self.receivers),
        }
    }
}

/// Those with the most coins first, then the most gifts, then by name.
fn top(of: HashMap<String, (i64, i64)>) -> String {
    let mut all: Vec<_> =
        of.into_iter().map(|(account, (gifts, coins))| (coins, gifts, account)).collect();
    all.sort_by(|a, b| (b.0, b.1).cmp(&(a.0, a.1)).then_with(|| a.2.cmp(&b.2)));
    let shown: Vec<_> = all
        .into_iter()
        .take(TOP)
        .map(|(coins, gifts, account)| serde_json::json!({"account": account, "gifts": gifts, "coins": coins}))
        .collect();
    serde_json::Value::from(shown).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn figures(marks: &[(&str, i64, bool)], ended_at: Option<i64>) -> PresenceFigures {
        let mut presence = Presence::default();
        for (account, at, enters) in marks {
            presence.add(account, UnixMillis(*at), *enters, None);
        }
        presence.figures(ended_at.map(UnixMillis))
    }

    #[test]
    fn who_came_in_twice_is_inside_once_and_who_left_twice_is_missed_once() {
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
        };
        assert_eq!(found, expected);
        let ended = figures(&marks, Some(9));
        assert_eq!((ended.members, ended.leaves_missing), (0, 1));
        assert_eq!(ended.occupancy, "[[1,1],[2,1],[3,2],[4,1],[5,1],[9,0]]");
    }

    #[test]
    fn a_leave_without_an_enter_makes_nobody_fewer() {
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
        fn no_figure_is_negative_and_a_curve_has_240_points_at_most(
            marks in proptest::collection::vec((0..60_u8, 0..5000_i64, any::<bool>()), 0..2000),
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
    fn a_room_is_as_it_was_said_last() {
        let mut sum = RoomSum::default();
        let fact = |kind: &str| RoomFact {
            family: "live".into(),
            kind: kind.into(),
            ..RoomFact::default()
        };
        let text = |text: &str| Some(text.to_owned());
        sum.add(RoomFact {
            name: text("a"),
            properties: text(r#"{"x":1,"y":2}"#),
            ..fact("create")
        });
        sum.add(RoomFact { properties: text(r#"{"y":3}"#), owner: text("o"), ..fact("update") });
        sum.add(RoomFact { account: text("p"), ..fact("admin_add") });
        sum.add(RoomFact { account: text("q"), ..fact("admin_add") });
        sum.add(RoomFact { account: text("p"), ..fact("admin_delete") });
        sum.add(RoomFact { statistic: text(r#"{"total_viewers":"8"}"#), ..fact("destroy") });
        assert_eq!((sum.name.as_deref(), sum.owner.as_deref()), (Some("a"), Some("o")));
        assert_eq!(sum.properties().as_deref(), Some(r#"{"x":1,"y":3}"#));
        assert_eq!(sum.admins.iter().collect::<Vec<_>>(), ["q"]);
        assert_eq!((sum.total("total_viewers"), sum.total("total_gifts")), (Some(8), None));
    }

    #[test]
    fn the_top_lists_name_those_with_the_most_coins() {
        let mut sum = GiftSum::default();
        for (sender, gifts, coins) in [("a", 1, 5), ("b", 3, 9), ("a", 1, 5), ("c", 1, 9)] {
            let receivers = Some(r#"["r","s"]"#.to_owned());
            sum.add(GiftFact { sender: Some(sender.into()), receivers, gifts, coins });
        }
        let found = sum.figures();
        assert_eq!((found.gifts, found.gift_coins, found.gift_senders), (6, 28, 3));
        let top = r#"[{"account":"a","gifts":2,"coins":10},{"account":"b","gifts":3,"coins":9},{"account":"c","gifts":1,"coins":9}]"#;
        assert_eq!(found.top_senders, top);
        assert!(found.top_receivers.starts_with(r#"[{"account":"r","gifts":6,"coins":28}"#));
    }
}
