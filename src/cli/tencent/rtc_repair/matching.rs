//! Which of the vendor's moments the store has.

use std::collections::BTreeSet;

/// The moments of `wanted` without a known one at most `tolerance` away, in order. Each known moment stands for one of `wanted`, the
/// nearest first: of two exits within a minute, of which one is known, the other is missing. All in s.
pub(crate) fn unmatched(wanted: &BTreeSet<i64>, known: &BTreeSet<i64>, tolerance: u64) -> Vec<i64> {
    let mut pairs: Vec<(u64, i64, i64)> = wanted
        .iter()
        .flat_map(|one| {
            let near = known.range(
                one.saturating_sub_unsigned(tolerance)..=one.saturating_add_unsigned(tolerance),
            );
            near.map(move |other| (one.abs_diff(*other), *one, *other))
        })
        .collect();
    pairs.sort_unstable();
    let (mut matched, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for (_, one, other) in pairs {
        if !matched.contains(&one) && taken.insert(other) {
            matched.insert(one);
        }
    }
    wanted.difference(&matched).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(wanted: &[i64], known: &[i64], tolerance: u64) -> Vec<i64> {
        let set = |list: &[i64]| list.iter().copied().collect();
        unmatched(&set(wanted), &set(known), tolerance)
    }

    #[test]
    fn a_moment_within_the_tolerance_is_known() {
        assert_eq!(missing(&[100, 200], &[98, 203], 2), [200]);
        assert_eq!(missing(&[100], &[102], 2), [] as [i64; 0]);
        assert_eq!(missing(&[100], &[], 2), [100]);
        assert_eq!(missing(&[], &[100], 2), [] as [i64; 0]);
    }

    #[test]
    fn one_known_moment_stands_for_one_only() {
        assert_eq!(missing(&[60, 121], &[121], 100), [60]);
        // The exit by timeout of the first, and the exit of the second.
        assert_eq!(missing(&[1000, 1040], &[1040, 1098], 100), [] as [i64; 0]);
        assert_eq!(missing(&[1, 2, 3], &[2], 100), [1, 3]);
    }
}
