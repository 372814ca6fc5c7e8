//! Descriptions of the tables that projections write. Both stores generate their statements from them, and rows of
//! one key are merged by them.

use std::cmp::Ordering;

use serde_json::value::RawValue;
use uuid::Uuid;

use protocol::AppId;
use protocol::UnixMillis;

/// JSON text of a column.
pub type Json = Box<RawValue>;

/// A table of a read model.
#[derive(Debug)]
pub struct Table {
    /// Its name in both stores.
    pub name: &'static str,
    /// The written columns, those of the key first.
    pub columns: &'static [Column],
}

/// A column and its merge rule.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in both stores.
    pub name: &'static str,
    /// The type of its values.
    pub kind: Kind,
    /// How two values of one key merge.
    pub join: Join,
    /// Whether it may hold an account: a text that users or apps choose. Such columns are searched by an erasure.
    pub may_name: bool,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Number,
    /// A text.
    Text,
    /// Yes or no.
    Truth,
    /// A moment.
    Time,
    /// An event's id.
    Id,
    /// A text that is JSON.
    Json,
    /// The store's clock, in slots of 2 s. Written by the store.
    Slot,
}

/// How two values of one key merge. Every rule is commutative and associative, and all but [`Join::Sum`] are
/// idempotent, so the order of events does not matter; sums only count events that are new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Part of the row's key.
    Key,
    /// A fact: determined by the key, so never changed.
    Fact,
    /// The least value.
    Least,
    /// The greatest value; texts compare by their bytes.
    Greatest,
    /// All such columns together, from the row in which they are greatest, compared in their order.
    Last,
    /// The sum. The store appends such rows and adds them up later.
    Sum,
}

/// A column's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value<'a> {
    /// None. Less than any other.
    Null,
    /// Of [`Kind::Number`].
    Number(i64),
    /// Of [`Kind::Truth`].
    Truth(bool),
    /// Of [`Kind::Time`].
    Time(UnixMillis),
    /// Of [`Kind::Id`].
    Id(Uuid),
    /// Of [`Kind::Text`] and [`Kind::Json`].
    Text(&'a str),
}

/// The values of a row, in the order of the table's columns.
pub type Row<'a> = Vec<Value<'a>>;

impl Table {
    /// The columns of the key.
    pub fn keys(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.join == Join::Key)
    }

    /// Whether its rows are facts, which never change.
    #[must_use]
    pub fn holds_facts(&self) -> bool {
        self.columns.iter().all(|column| matches!(column.join, Join::Key | Join::Fact))
    }

    /// Whether rows are only appended, several for one key: updating a sum would make writers wait for each other.
    #[must_use]
    pub fn is_log(&self) -> bool {
        self.columns.iter().any(|column| column.join == Join::Sum)
    }

    /// Merges `other`, of the same key, into `row`.
    pub fn join<'a>(&self, row: &mut Row<'a>, other: &[Value<'a>]) {
        let last = |row: &[Value<'a>]| -> Row<'a> {
            let columns = self.columns.iter().zip(row);
            let last = columns.filter(|(column, _)| column.join == Join::Last);
            last.map(|(_, value)| *value).collect()
        };
        let later = last(other) > last(row);
        for ((column, mine), theirs) in self.columns.iter().zip(row).zip(other) {
            match column.join {
                Join::Least if *mine == Value::Null => *mine = *theirs,
                Join::Least if *theirs == Value::Null => {}
                Join::Least => *mine = (*mine).min(*theirs),
                Join::Greatest => *mine = (*mine).max(*theirs),
                Join::Last if later => *mine = *theirs,
                Join::Sum => *mine = mine.plus(*theirs),
                Join::Key | Join::Fact | Join::Last => {}
            }
        }
    }

    /// The write order of rows: by key, so that two writers cannot deadlock.
    #[must_use]
    pub fn order(&self, one: &[Value<'_>], other: &[Value<'_>]) -> Ordering {
        let keys = self.keys().count();
        one[..keys].cmp(&other[..keys])
    }

    /// One merged row for each key, in the order of the keys.
    #[must_use]
    pub fn merged<'a>(&self, mut rows: Vec<Row<'a>>) -> Vec<Row<'a>> {
        // The sort is stable: of equal keys the first stays first.
        rows.sort_by(|one, other| self.order(one, other));
        rows.dedup_by(|next, row| {
            let same = self.order(next, row) == Ordering::Equal;
            if same {
                self.join(row, next);
            }
            same
        });
        rows
    }
}

impl Column {
    const fn new(name: &'static str, kind: Kind, join: Join) -> Self {
        Self { name, kind, join, may_name: false }
    }

    /// A column of the key.
    #[must_use]
    pub const fn key(name: &'static str, kind: Kind) -> Self {
        Self::new(name, kind, Join::Key)
    }

    /// A column that the key determines.
    #[must_use]
    pub const fn fact(name: &'static str, kind: Kind) -> Self {
        Self::new(name, kind, Join::Fact)
    }

    pub(crate) const fn least(name: &'static str, kind: Kind) -> Self {
        Self::new(name, kind, Join::Least)
    }

    pub(crate) const fn greatest(name: &'static str, kind: Kind) -> Self {
        Self::new(name, kind, Join::Greatest)
    }

    pub(crate) const fn last(name: &'static str, kind: Kind) -> Self {
        Self::new(name, kind, Join::Last)
    }

    pub(crate) const fn sum(name: &'static str) -> Self {
        Self::new(name, Kind::Number, Join::Sum)
    }

    /// The same column, which may hold an account.
    #[must_use]
    pub const fn may_name(self) -> Self {
        Self { may_name: true, ..self }
    }
}

impl Value<'_> {
    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => Self::Number(one.saturating_add(other)),
            (one, Self::Null) => one,
            (_, other) => other,
        }
    }
}

impl From<AppId> for Value<'_> {
    fn from(app: AppId) -> Self {
        Self::Number(app.as_i64())
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

impl From<UnixMillis> for Value<'_> {
    fn from(time: UnixMillis) -> Self {
        Self::Time(time)
    }
}

impl From<Uuid> for Value<'_> {
    fn from(id: Uuid) -> Self {
        Self::Id(id)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Box<RawValue>> for Value<'a> {
    fn from(json: &'a Box<RawValue>) -> Self {
        Self::Text(json.get())
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::TABLES;

    /// Few distinct values, so that equal ones occur.
    fn value(kind: Kind) -> BoxedStrategy<Value<'static>> {
        let some = match kind {
            Kind::Number => (-2..3_i64).prop_map(Value::Number).boxed(),
            Kind::Truth => any::<bool>().prop_map(Value::Truth).boxed(),
            Kind::Time => (0..4_i64).prop_map(|time| Value::Time(UnixMillis(time))).boxed(),
            Kind::Id => (0..3_u128).prop_map(|id| Value::Id(Uuid::from_u128(id))).boxed(),
            Kind::Text | Kind::Json => {
                prop::sample::select(vec!["", "a", "ab", "é"]).prop_map(Value::Text).boxed()
            }
            Kind::Slot => Just(Value::Null).boxed(),
        };
        prop_oneof![Just(Value::Null), some].boxed()
    }

    /// A table whose rows are merged, and three rows of one key.
    fn rows() -> impl Strategy<Value = (&'static Table, [Row<'static>; 3])> {
        let merged: Vec<&'static Table> =
            TABLES.into_iter().filter(|table| !table.holds_facts()).collect();
        prop::sample::select(merged).prop_flat_map(|table| {
            let row = || -> Vec<_> {
                let of = |column: &Column| match column.join {
                    Join::Key => Just(Value::Null).boxed(),
                    _ => value(column.kind),
                };
                table.columns.iter().map(of).collect()
            };
            (Just(table), [row(), row(), row()])
        })
    }

    fn joined(table: &Table, one: &Row<'static>, other: &Row<'static>) -> Row<'static> {
        let mut row = one.clone();
        table.join(&mut row, other);
        row
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn merging_two_rows_is_commutative((table, [one, two, three]) in rows()) {
            prop_assert_eq!(joined(table, &one, &two), joined(table, &two, &one));
            let left = joined(table, &joined(table, &one, &two), &three);
            prop_assert_eq!(left, joined(table, &one, &joined(table, &two, &three)));
        }

        #[test]
        fn merging_a_row_again_changes_only_sums((table, [one, two, _]) in rows()) {
            let once = joined(table, &one, &two);
            let twice = joined(table, &once, &two);
            for ((column, once), twice) in table.columns.iter().zip(once).zip(twice) {
                prop_assert!(column.join == Join::Sum || once == twice, "{}", column.name);
            }
        }
    }
}
