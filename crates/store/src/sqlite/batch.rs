//! Multi-row statements for SQLite, since each statement is a hand-over to the connection's thread and back.

use std::iter;

/// Numbers of rows of a statement, the largest first. Few, since each has a statement that stays prepared.
const SIZES: [usize; 3] = [32, 8, 1];

/// Splits `rows` into parts of these [`SIZES`].
pub(crate) fn parts<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rows.len())?;
        let (part, rest) = rows.split_at(size);
        rows = rest;
        Some(part)
    })
}

/// The `values` list: `row` repeated.
pub(crate) fn values(row: &str, rows: usize) -> String {
    vec![format!("({row})"); rows].join(", ")
}

#[cfg(test)]
mod tests {
    use crate::sqlite::batch::*;

    #[test]
    fn parts_are_all_rows_in_their_order_and_of_few_sizes() {
        for count in 0..200 {
            let rows: Vec<usize> = (0..count).collect();
            assert_eq!(parts(&rows).flatten().copied().collect::<Vec<_>>(), rows);
            assert!(parts(&rows).all(|part| SIZES.contains(&part.len())));
        }
        assert_eq!(parts(&[0; 75]).map(<[_]>::len).collect::<Vec<_>>(), [32, 32, 8, 1, 1, 1]);
    }
}
