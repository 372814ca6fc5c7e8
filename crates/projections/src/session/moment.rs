//! The order of marks of one moment: enters and leaves, sets and deletes in the same ms.
//!
//! Events arrive in any order and their times are in ms, so two marks of one ms have no order of their own. The state
//! before decides: an account outside entered and then left, one inside left and then entered. The SQL of
//! `store` that orders such marks follows the same rule.

use std::cmp::Ordering;

/// The states that the marks of one moment lead to, in order. `was` is the state before; `on` and `off` are the
/// numbers of marks to `true` and to `false`. They alternate, beginning with a change, while both remain.
pub fn order(was: bool, mut on: usize, mut off: usize) -> impl Iterator<Item = bool> {
    let mut is = was;
    std::iter::from_fn(move || {
        let next = match (on, off) {
            (0, 0) => return None,
            (_, 0) => true,
            (0, _) => false,
            _ => !is,
        };
        if next {
            on -= 1;
        } else {
            off -= 1;
        }
        is = next;
        Some(next)
    })
}

/// The state after a moment: the last of [`order`]. `balance` is the number of marks to `true` less those to `false`.
#[must_use]
pub fn state_after(was: bool, balance: i64) -> bool {
    match balance.cmp(&0) {
        Ordering::Greater => true,
        Ordering::Less => false,
        Ordering::Equal => was,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::session::moment::*;

    #[test]
    fn the_state_before_decides_which_mark_comes_first() {
        let ordered = |was, on, off| order(was, on, off).collect::<Vec<_>>();
        assert_eq!(ordered(false, 1, 1), [true, false]);
        assert_eq!(ordered(true, 1, 1), [false, true]);
        assert_eq!(ordered(false, 2, 1), [true, false, true]);
        assert_eq!(ordered(true, 1, 2), [false, true, false]);
        assert_eq!(ordered(false, 1, 3), [true, false, false, false]);
        assert_eq!(ordered(true, 2, 0), [true, true]);
    }

    proptest! {
        #[test]
        fn the_state_after_is_that_of_the_last_mark(was: bool, on in 0..9_usize, off in 0..9_usize) {
            let all: Vec<bool> = order(was, on, off).collect();
            prop_assert_eq!(all.iter().filter(|on| **on).count(), on);
            prop_assert_eq!(all.len(), on + off);
            let balance = i64::try_from(on).unwrap() - i64::try_from(off).unwrap();
            prop_assert_eq!(state_after(was, balance), all.last().copied().unwrap_or(was));
        }
    }
}
