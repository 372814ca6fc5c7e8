//! The administrators of a room, as many as there is room for.

use std::collections::{BTreeMap, BTreeSet};

use crate::projections::session::bounds::json_bytes;
use crate::projections::session::moment;

/// The most that their names take. In bytes of JSON.
const BYTES_MAX: usize = 64 << 10;
/// What one takes beside its name: quotes and a comma. In bytes.
const ACCOUNT_BYTES: usize = 3;

/// Accounts that are administrators. One for whom there is no room when it becomes one is left out.
#[derive(Debug, Clone, Default)]
pub struct Admins {
    /// As they were before the moment that is added.
    accounts: BTreeSet<String>,
    bytes: usize,
    /// How many times more each account was named than dismissed at that moment.
    named: BTreeMap<String, i64>,
    named_bytes: usize,
    is_cut: bool,
}

impl Admins {
    /// It is named once (1), or dismissed (-1), at the moment that is added; in any order.
    pub fn name(&mut self, account: String, by: i64) {
        if !self.named.contains_key(&account) {
            let bytes = self.named_bytes + json_bytes(&account) + ACCOUNT_BYTES;
            // Who is one takes no room of its own: there are no more of those than fit.
            if bytes > BYTES_MAX && !self.accounts.contains(&account) {
                self.is_cut = true;
                return;
            }
            self.named_bytes = bytes;
        }
        let balance = self.named.entry(account).or_default();
        *balance = balance.saturating_add(by);
    }

    /// All of that moment was added: the state before decides where one was named as often as dismissed.
    pub fn end_moment(&mut self) {
        self.named_bytes = 0;
        for (account, balance) in std::mem::take(&mut self.named) {
            if moment::state_after(self.accounts.contains(&account), balance) {
                self.add(account);
            } else {
                self.remove(&account);
            }
        }
    }

    fn add(&mut self, account: String) {
        let bytes = self.bytes + json_bytes(&account) + ACCOUNT_BYTES;
        if self.accounts.contains(&account) {
            return;
        }
        if bytes > BYTES_MAX {
            self.is_cut = true;
            return;
        }
        self.bytes = bytes;
        self.accounts.insert(account);
    }

    fn remove(&mut self, account: &str) {
        if self.accounts.remove(account) {
            self.bytes -= json_bytes(account) + ACCOUNT_BYTES;
        }
    }

    /// Whether one was left out.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &String> {
        self.accounts.iter()
    }
}

#[cfg(test)]
mod tests {
    use crate::projections::session::admins::*;

    #[test]
    fn a_room_has_no_more_administrators_than_fit() {
        let mut admins = Admins::default();
        let name = |number: usize| format!("{number:0>1000}");
        let mut all = |numbers: std::ops::Range<usize>, by| {
            numbers.for_each(|number| admins.name(name(number), by));
            admins.end_moment();
            (admins.iter().count(), admins.bytes, admins.is_cut())
        };
        assert_eq!(all(0..50, 1), (50, 50 * 1003, false));
        assert_eq!(all(50..100, 1), (65, 65 * 1003, true));
        assert_eq!(all(0..65, -1), (0, 0, true));
        admins.name("ann".into(), 1);
        admins.end_moment();
        assert_eq!(admins.iter().collect::<Vec<_>>(), ["ann"]);
    }
}
