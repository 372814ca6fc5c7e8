//! The changes and gifts of one session of a room, aggregated in order of time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::value::RawValue;

use crate::session::admins::Admins;
use crate::session::bounds::{ACCOUNT_BYTES, ACCOUNTS_BYTES_MAX};
use protocol::UnixMillis;

/// One change of a room, input of [`RoomSum`]: columns of `room_changes` of the same names.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct RoomFact {
    pub at: UnixMillis,
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

/// Aggregated changes of a room: the last value of each property.
#[derive(Debug, Clone, Default)]
#[expect(
    missing_docs,
    reason = "the columns of room sessions and live sessions, which their migration explains"
)]
pub struct RoomSum {
    /// From the create; without one, from the first change.
    pub family: Option<String>,
    pub name: Option<String>,
    pub owner: Option<String>,
    pub room_type: Option<String>,
    pub created_by: Option<String>,
    pub destroyed_by: Option<String>,
    pub destroy_cause: Option<String>,
    pub max_members: Option<i64>,
    pub max_seats: Option<i64>,
    /// From the first destroy that has one: an object.
    pub statistic: Option<String>,
    properties: BTreeMap<String, Box<RawValue>>,
    /// Names of the properties that were truncated.
    properties_cut: BTreeSet<String>,
    is_created: bool,
    admins: Admins,
    /// The rank of the change that set each property at that moment.
    said: BTreeMap<String, u8>,
    at: Option<UnixMillis>,
}

/// The order of changes of one moment: create first, destroy last. A change of owner ranks behind others, as it names
/// the owner most reliably.
fn rank(kind: &str) -> u8 {
    match kind {
        "create" => 0,
        "owner" => 2,
        "destroy" => 3,
        _ => 1,
    }
}

impl RoomSum {
    /// Sets who destroyed it and why, where not known yet.
    pub fn destroyed(&mut self, by: Option<&str>, cause: Option<&str>) {
        self.destroyed_by = self.destroyed_by.take().or_else(|| by.map(str::to_owned));
        self.destroy_cause = self.destroy_cause.take().or_else(|| cause.map(str::to_owned));
    }

    /// Adds one change. Call it in order of time, event and ordinal.
    pub fn add(&mut self, fact: RoomFact) {
        if self.at != Some(fact.at) {
            self.admins.end_moment();
            self.said.clear();
            self.at = Some(fact.at);
        }
        let rank = rank(&fact.kind);
        if fact.kind == "create" && !self.is_created {
            self.is_created = true;
            self.created_by.clone_from(&fact.by_account);
            self.family = Some(fact.family.clone());
        }
        let named = match fact.kind.as_str() {
            "admin_add" => 1,
            "admin_delete" => -1,
            _ => 0,
        };
        if let Some(account) = fact.account.filter(|_| named != 0) {
            self.admins.name(account, named);
        }
        self.family.get_or_insert(fact.family);
        if self.statistic.is_none() {
            self.statistic = fact.statistic;
        }
        let said = &mut self.said;
        last(said, rank, "name", &mut self.name, fact.name);
        last(said, rank, "owner", &mut self.owner, fact.owner);
        last(said, rank, "room_type", &mut self.room_type, fact.room_type);
        last(said, rank, "max_members", &mut self.max_members, fact.max_members);
        last(said, rank, "max_seats", &mut self.max_seats, fact.max_seats);
        if let Some(text) = fact.properties
            && let Ok(mut properties) =
                serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&text)
        {
            let cut = properties.remove(CUT);
            let cut =
                cut.and_then(|list| serde_json::from_str::<BTreeSet<String>>(list.get()).ok());
            let cut = cut.unwrap_or_default();
            for (name, value) in properties {
                if !is_last(said, rank, &name) {
                    continue;
                }
                if cut.contains(&name) {
                    self.properties_cut.insert(name.clone());
                } else {
                    self.properties_cut.remove(&name);
                }
                self.properties.insert(name, value);
            }
        }
    }

    /// The administrators at the end.
    #[must_use]
    pub fn admins(&self) -> Admins {
        let mut admins = self.admins.clone();
        admins.end_moment();
        admins
    }

    /// Whether a property was truncated.
    #[must_use]
    pub fn has_cut_properties(&self) -> bool {
        !self.properties_cut.is_empty()
    }

    /// The last value of each property, as an object; `None` where there are none.
    #[must_use]
    pub fn properties(&self) -> Option<String> {
        if self.properties.is_empty() {
            return None;
        }
        let cut = serde_json::value::to_raw_value(&self.properties_cut).ok();
        let cut = cut.filter(|_| self.has_cut_properties());
        let mut properties: BTreeMap<&str, &RawValue> =
            self.properties.iter().map(|(name, value)| (name.as_str(), &**value)).collect();
        properties.extend(cut.as_deref().map(|list| (CUT, list)));
        serde_json::to_string(&properties).ok()
    }

    /// A number of the destroy event's statistic; `None` where it has none of that name.
    #[must_use]
    pub fn total(&self, name: &str) -> Option<i64> {
        let all: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(self.statistic.as_ref()?).ok()?;
        let value = all.get(name)?;
        value.as_i64().or_else(|| value.as_str()?.parse().ok())
    }
}

/// The property that lists the names of truncated ones.
const CUT: &str = "cut";

/// Sets a value, unless a change of higher rank set it at the same moment.
fn last<T>(
    said: &mut BTreeMap<String, u8>,
    rank: u8,
    name: &str,
    of: &mut Option<T>,
    value: Option<T>,
) {
    if value.is_some() && is_last(said, rank, name) {
        *of = value;
    }
}

fn is_last(said: &mut BTreeMap<String, u8>, rank: u8, name: &str) -> bool {
    match said.get_mut(name) {
        Some(by) if *by > rank => false,
        Some(by) => {
            *by = rank;
            true
        }
        None => said.insert(name.to_owned(), rank).is_none(),
    }
}

/// Gifts of one sender to the same receivers.
#[derive(Debug, Clone)]
pub struct GiftFact {
    /// The sender.
    pub sender: Option<String>,
    /// The receivers: a list of accounts, as JSON.
    pub receivers: Option<String>,
    /// The number of gifts.
    pub gifts: i64,
    /// Their value in coins.
    pub coins: i64,
}

/// Number and coins of the gifts of one event, where `each` is the value of a single one. A missing count is 1.
#[must_use]
pub fn worth(count: Option<i64>, each: Option<i64>) -> (i64, i64) {
    let gifts = count.unwrap_or(1).max(0);
    (gifts, gifts.saturating_mul(each.unwrap_or(0).max(0)))
}

/// Aggregated gifts of a session.
#[derive(Debug, Default)]
pub struct GiftSum {
    gifts: i64,
    coins: i64,
    senders: HashMap<String, (i64, i64)>,
    receivers: HashMap<String, (i64, i64)>,
    /// The memory of these accounts, and whether some were left out.
    bytes: usize,
    is_cut: bool,
}

/// The figures of [`GiftSum`]: columns of `live_sessions` of the same names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct GiftFigures {
    pub gifts: i64,
    pub gift_coins: i64,
    pub gift_senders: i64,
    pub top_senders: String,
    pub top_receivers: String,
    pub is_cut: bool,
}

/// The length of a list of top accounts.
const TOP: usize = 10;

impl GiftSum {
    /// Whether it has no gifts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.senders.is_empty() && self.gifts == 0
    }

    /// Adds gifts, in any order.
    pub fn add(&mut self, fact: GiftFact) {
        let (mut bytes, mut is_cut) = (self.bytes, self.is_cut);
        let mut sum = |of: &mut HashMap<String, (i64, i64)>, account: String| {
            if !of.contains_key(&account) {
                let more = bytes + account.len() + ACCOUNT_BYTES;
                if more > ACCOUNTS_BYTES_MAX {
                    is_cut = true;
                    return;
                }
                bytes = more;
            }
            let of = of.entry(account).or_default();
            *of = (of.0.saturating_add(fact.gifts), of.1.saturating_add(fact.coins));
        };
        self.gifts = self.gifts.saturating_add(fact.gifts);
        self.coins = self.coins.saturating_add(fact.coins);
        if let Some(sender) = fact.sender {
            sum(&mut self.senders, sender);
        }
        let receivers = fact.receivers.and_then(|text| serde_json::from_str(&text).ok());
        let receivers: BTreeSet<String> = receivers.unwrap_or_default();
        for account in receivers {
            sum(&mut self.receivers, account);
        }
        (self.bytes, self.is_cut) = (bytes, is_cut);
    }

    /// The aggregated figures.
    #[must_use]
    pub fn figures(self) -> GiftFigures {
        GiftFigures {
            gifts: self.gifts,
            gift_coins: self.coins,
            gift_senders: i64::try_from(self.senders.len()).unwrap_or(i64::MAX),
            top_senders: top(self.senders),
            top_receivers: top(self.receivers),
            is_cut: self.is_cut,
        }
    }
}

/// Sorted by coins, then by gifts, both descending, then by name.
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
    use crate::session::statistics::*;

    #[test]
    fn a_rooms_latest_statistics_count() {
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
        assert_eq!(sum.admins().iter().collect::<Vec<_>>(), ["q"]);
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
