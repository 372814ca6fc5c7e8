//! The administrators of a room, within a memory bound.

use std::collections::{BTreeMap, BTreeSet};

use crate::session::bounds::json_bytes;
use crate::session::moment;

/// The bound of their names, in bytes of JSON.
const BYTES_MAX: usize = 64 << 10;
/// Bytes of one entry beside its name: quotes and a comma.
const ACCOUNT_BYTES: usize = 3;

/// A bounded set of administrators. One that is added beyond the bound is left out.
#[derive(Debug, Clone, Default)]
pub struct Admins {
    /// The set before the moment that is being added.
    accounts: BTreeSet<String>,
    bytes: usize,
    /// For each account named at that moment: adds less removes.
    named: BTreeMap<String, i64>,
    named_bytes: usize,
    is_cut: bool,
}

impl Admins {
    /// Counts an add (1) or remove (-1) at the moment that is being added. Their order does not matter.
    pub fn name(&mut self, account: String, by: i64) {
        if !self.named.contains_key(&account) {
            let bytes = self.named_bytes + json_bytes(&account) + ACCOUNT_BYTES;
            // Members of the set are bounded already and need no budget.
            if bytes > BYTES_MAX && !self.accounts.contains(&account) {
                self.is_cut = true;
                return;
            }
            self.named_bytes = bytes;
        }
        let balance = self.named.entry(account).or_default();
        *balance = balance.saturating_add(by);
    }

    /// Ends a moment. Where an account was added as often as removed, the state before decides.
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

    /// Whether an administrator was left out.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Their names, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &String> {
        self.accounts.iter()
    }
}

#[cfg(test)]
mod tests {
    use crate::session::admins::*;

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
