//! Positions of stored events, in the order of storing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Number of events in a row of the feed, at most.
pub(crate) const ROW_EVENTS_MAX: usize = 500;
/// Number of positions of a row.
const ROW_POSITIONS: i64 = 512;

/// The position of a stored event: it grows in the order of storing, with gaps. After one, a reader goes on with the events
/// of greater positions.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(i64);

impl Position {
    /// Of the event at this place, from 0, of a row.
    pub(crate) fn of(row: i64, place: usize) -> Self {
        let place = i64::try_from(place).unwrap_or(i64::MAX).min(ROW_POSITIONS - 1);
        Self(row.saturating_mul(ROW_POSITIONS).saturating_add(place))
    }

    /// Behind every event of a row.
    pub(crate) fn behind(row: i64) -> Self {
        Self::of(row, usize::MAX)
    }

    /// The row it is in.
    pub(crate) fn row(self) -> i64 {
        self.0 / ROW_POSITIONS
    }

    /// Whether it is behind every event of its row.
    pub(crate) fn is_behind_row(self) -> bool {
        self.0 % ROW_POSITIONS == ROW_POSITIONS - 1
    }

    /// The one of this number.
    #[must_use]
    pub fn of_number(number: i64) -> Self {
        Self(number)
    }

    /// As a number.
    #[must_use]
    pub fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is a number from 0 on")]
pub struct PositionError;

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_number).map(Self).ok_or(PositionError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_grow_with_rows_and_places() {
        let places = [(0, usize::MAX), (1, 0), (1, 1), (1, 499), (1, usize::MAX), (2, 0)];
        let positions = places.map(|(row, place)| Position::of(row, place));
        assert!(positions.is_sorted_by(|one, other| one < other), "{positions:?}");
        assert_eq!(positions.map(Position::row), [0, 1, 1, 1, 1, 2]);
        assert!(positions.map(Position::is_behind_row) == [true, false, false, false, true, false]);
    }

    #[test]
    fn a_position_is_read_from_its_digits_only() {
        assert_eq!("512".parse(), Ok(Position::of(1, 0)));
        assert_eq!(Position::of(1, 3).to_string().parse(), Ok(Position::of(1, 3)));
        for text in ["", "-1", "+1", " 1", "1.0", "x", "9223372036854775808"] {
            assert_eq!(text.parse::<Position>(), Err(PositionError), "{text}");
        }
    }
}
